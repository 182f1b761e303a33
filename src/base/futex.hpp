// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sleeping on a word of memory and waking who sleeps there: the one system call by which errand's threads block.
// Called by everything that lets a thread sleep (worker, foreign waiter, timekeeper, lock).
#pragma once

#include <atomic>
#include <cstdint>

namespace errand::detail {

/// Sleeps while *word is `expected`, until woken or until `deadline` (nanoseconds of CLOCK_MONOTONIC; INT64_MAX: never).
/// May return early; the caller looks again. Returns false only when the deadline has passed.
bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline = INT64_MAX) noexcept;

/// Wakes at most `count` of those who sleep on the word. The word may be gone already: its address only names a queue.
void futex_wake(std::atomic<std::uint32_t>* word, int count = 1) noexcept;

/// Nanoseconds of CLOCK_MONOTONIC, which is std::chrono::steady_clock.
[[nodiscard]] std::int64_t now() noexcept;

/// Tells the processor that this is a spin loop.
inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace errand::detail
