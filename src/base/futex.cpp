// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/futex.hpp"

#include "base/check.hpp"

#include <cerrno>
#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <ctime>
#include <unistd.h>

namespace errand::detail {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);

bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline) noexcept {
  timespec at{};
  timespec* until = nullptr;
  if (deadline != INT64_MAX) {
    if (deadline < 0) deadline = 0;
    at.tv_sec = static_cast<time_t>(deadline / 1'000'000'000);
    at.tv_nsec = static_cast<long>(deadline % 1'000'000'000);
    until = &at;
  }
  int const saved = errno;
  long const rc = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, until, nullptr, FUTEX_BITSET_MATCH_ANY);
  int const error = rc < 0 ? errno : 0;
  errno = saved;
  if (error == ETIMEDOUT) return false;
  if (error != 0 && error != EAGAIN && error != EINTR) fatal_os("futex wait", error);
  return true;
}

void futex_wake(std::atomic<std::uint32_t>* word, int count) noexcept {
  int const saved = errno;
  // EFAULT is possible and harmless: the sleeper saw the word change by itself and its stack is gone.
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
  errno = saved;
}

std::int64_t now() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace errand::detail
