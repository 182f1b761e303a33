// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/transfer.hpp"

#include "base/fork.hpp"
#include "io/helper_threads.hpp"
#include "io/ring.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/uio.h>
#include <system_error>

namespace errand::detail {

namespace {

// What the process uses, once it has asked. Any thread may ask, and all get the same answer.
enum class choice : std::uint8_t { not_asked, ring_forced, threads, ring_if_any };
constinit std::atomic<choice> chosen{choice::not_asked};

// The child may have another environment, or a filter of system calls.
[[gnu::init_priority(101)]] in_forked_child const renewal{
    []() noexcept { chosen.store(choice::not_asked, std::memory_order_relaxed); }};

choice from_environment() {
  char const* const text = std::getenv("ERRAND_IO");
  std::string_view const said = text != nullptr ? text : "";
  if (said.empty()) return choice::ring_if_any;
  if (said == "ring") return choice::ring_forced;
  if (said == "threads") return choice::threads;
  throw std::invalid_argument{"errand: ERRAND_IO=" + std::string{said} + ": it must be ring or threads"};
}

// Errors that will not go away, unlike a lack of memory or of descriptors.
bool for_good(int error) noexcept { return error == EPERM || error == ENOSYS || error == EINVAL || error == EACCES; }

}  // namespace

std::unique_ptr<transfer> transfer::make(unsigned depth, kind which) {
  if (depth == 0 || depth > most_depth) throw std::invalid_argument{"errand: a transfer's depth is from 1 to 64"};
  if (which == kind::threads) return make_helped_transfer(depth);
  int error = 0;
  auto made = make_ring_transfer(depth, error);
  if (made == nullptr) throw std::system_error{error, std::generic_category(), "errand: io_uring"};
  return made;
}

std::unique_ptr<transfer> transfer::make(unsigned depth) {
  auto use = chosen.load(std::memory_order_relaxed);
  if (use == choice::not_asked) {
    use = from_environment();
    chosen.store(use, std::memory_order_relaxed);
  }
  if (use == choice::ring_forced) return make(depth, kind::ring);
  if (use == choice::ring_if_any && depth != 0 && depth <= most_depth) {
    int error = 0;
    if (auto made = make_ring_transfer(depth, error); made != nullptr) return made;
    if (for_good(error)) chosen.store(choice::threads, std::memory_order_relaxed);
  }
  return make(depth, kind::threads);
}

bool must_be_repeated(transfer_piece const& piece, std::int64_t result) noexcept {
  if (result == -EINTR || result == -ECANCELED) return true;  // canceled: the thread that had handed it over is gone
  if (result != -EAGAIN || (piece.flags & RWF_NOWAIT) != 0) return false;
  // A descriptor that does not block; or the kernel lacks memory, and the descriptor is always ready.
  pollfd one{piece.fd, static_cast<short>(piece.way == transfer_piece::direction::read ? POLLIN : POLLOUT), 0};
  (void)::poll(&one, 1, 100);
  return true;
}

std::int64_t carry_out(transfer_piece const& piece) noexcept {
  iovec const whole{piece.data, piece.size};
  iovec const* const memory = piece.parts != nullptr ? piece.parts : &whole;
  int const count = piece.parts != nullptr ? static_cast<int>(piece.count) : 1;
  auto const offset = static_cast<off64_t>(piece.offset);
  for (;;) {
    auto const n = piece.way == transfer_piece::direction::read
                       ? ::preadv64v2(piece.fd, memory, count, offset, piece.flags)
                       : ::pwritev64v2(piece.fd, memory, count, offset, piece.flags);
    std::int64_t const result = n >= 0 ? n : -errno;
    if (!must_be_repeated(piece, result)) return result;
  }
}

}  // namespace errand::detail
