// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several pieces of files on their way at a time, for one thread that hands them over and waits for whichever ends first.
// By a ring of its own where the kernel allows io_uring, found out by trying; else by helper threads that block in pread and
// pwrite. ERRAND_IO=ring or =threads forces one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

struct iovec;

namespace errand::detail {

class transfer;

/// Bytes between memory and a place in a file. Whoever hands it over keeps it, and its memory, until it has come back.
struct transfer_piece {
  enum class direction : std::uint8_t { read, write };
  int fd = -1;
  direction way = direction::read;
  int flags = 0;              // RWF_…
  std::byte* data = nullptr;
  std::size_t size = 0;
  iovec const* parts = nullptr;  // if there are any, these are its memory, in their order, and not `data`. At most IOV_MAX
  unsigned count = 0;         // of parts
  std::uint64_t offset = 0;   // UINT64_MAX: where the descriptor stands, as for a pipe
  std::int64_t result = 0;    // afterwards: how many bytes, which may be fewer; or minus an errno. Never EINTR, nor EAGAIN but
                              // for what RWF_NOWAIT asked
  transfer_piece* next = nullptr;  // the transfer's own, as is `owner`, meanwhile
  transfer* owner = nullptr;
};

/// One thread uses it at a time.
class transfer {
 public:
  enum class kind : std::uint8_t { ring, threads };
  static constexpr unsigned most_depth = 64;

  /// What ERRAND_IO says, else a ring if one can be had (EPERM, ENOSYS, ENOMEM: threads; asked once for the process). Recycled
  /// from thread to thread: to make one is cheap, but for the first. `depth`: how many pieces at most are under way, to 64.
  /// Throws std::bad_alloc, std::system_error (ERRAND_IO=ring and none can be had), std::invalid_argument (ERRAND_IO says
  /// something else).
  [[nodiscard]] static std::unique_ptr<transfer> make(unsigned depth);
  /// The same of one kind, for tests and benchmarks.
  [[nodiscard]] static std::unique_ptr<transfer> make(unsigned depth, kind which);

  /// Waits for what is under way. In the child of a fork, where the parent's goes on without it, it does nothing.
  virtual ~transfer() = default;
  transfer(transfer const&) = delete;
  transfer& operator=(transfer const&) = delete;

  [[nodiscard]] virtual kind which() const noexcept = 0;
  /// Hands it over. At most `depth` at a time. Does not wait for it; but what can be had at once may be done at once.
  virtual void submit(transfer_piece& piece) noexcept = 0;
  /// The next that has ended, in whatever order. Blocks the thread. There must be one under way.
  [[nodiscard]] virtual transfer_piece& wait() noexcept = 0;
  /// The same, but null if another thread calls wake() meanwhile, or has done so since this answered null the last time.
  [[nodiscard]] virtual transfer_piece* wait_or_woken() noexcept = 0;
  /// By any thread that sees to it that the transfer is still there. Never waits.
  virtual void wake() noexcept = 0;
  [[nodiscard]] virtual unsigned under_way() const noexcept = 0;

 protected:
  transfer() = default;
};

/// Carries out a piece on the calling thread: what its result shall be. A descriptor that would block is waited for.
[[nodiscard]] std::int64_t carry_out(transfer_piece const& piece) noexcept;

/// For who gets a piece's result from elsewhere: it is to be handed over again. Waits until the descriptor may be ready.
[[nodiscard]] bool must_be_repeated(transfer_piece const& piece, std::int64_t result) noexcept;

}  // namespace errand::detail
