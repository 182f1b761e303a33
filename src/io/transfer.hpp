// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several pieces of files on their way at a time, for one thread that hands them over and waits for whichever ends first.
// By a ring of its own where the kernel allows io_uring, found out by trying; else by helper threads that block in pread and
// pwrite. ERRAND_IO=ring or =threads forces one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace errand::detail {

/// Bytes between memory and a place in a file. Whoever hands it over keeps it, and its memory, until it has come back.
struct transfer_piece {
  enum class direction : std::uint8_t { read, write };
  int fd = -1;
  direction way = direction::read;
  int flags = 0;              // RWF_…
  std::byte* data = nullptr;
  std::size_t size = 0;
  std::uint64_t offset = 0;
  std::int64_t result = 0;    // afterwards: how many bytes, which may be fewer; or minus an errno. Never EINTR or EAGAIN
  transfer_piece* next = nullptr;  // the transfer's own, meanwhile
};

/// One thread uses it.
class transfer {
 public:
  enum class kind : std::uint8_t { ring, threads };

  /// What ERRAND_IO says, else a ring if one can be had (EPERM, ENOSYS, ENOMEM: threads; asked once for the process). Recycled
  /// from thread to thread: to make one is cheap, but for the first. `depth`: how many pieces at most are under way, to 64.
  /// Throws std::bad_alloc, std::system_error (neither can be had), std::invalid_argument (ERRAND_IO says something else).
  [[nodiscard]] static std::unique_ptr<transfer> make(unsigned depth);
  /// The same of one kind, for tests and benchmarks.
  [[nodiscard]] static std::unique_ptr<transfer> make(unsigned depth, kind which);

  /// Waits for what is under way.
  virtual ~transfer() = default;

  [[nodiscard]] virtual kind which() const noexcept = 0;
  /// Hands it over. At most `depth` at a time. Does not wait for it; but what can be had at once may be done at once.
  virtual void submit(transfer_piece& piece) noexcept = 0;
  /// The next that has ended, in whatever order. Blocks the thread. There must be one under way.
  [[nodiscard]] virtual transfer_piece& wait() noexcept = 0;
  [[nodiscard]] virtual unsigned under_way() const noexcept = 0;
};

}  // namespace errand::detail
