// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A lock of four bytes for sections of a few dozen instructions: spins briefly, then sleeps. Not recursive, not fair.
// Used with std::lock_guard. Never held across a switch of stacks or a call of user code.
#pragma once

#include "base/futex.hpp"

namespace errand::detail {

class small_lock {
 public:
  void lock() noexcept {
    std::uint32_t expected = open;
    if (!word_.compare_exchange_strong(expected, taken, std::memory_order_acquire, std::memory_order_relaxed))  // (L1)
      lock_slow();
  }
  void unlock() noexcept {
    // (L2) release: publishes the section to the next (L1).
    if (word_.exchange(open, std::memory_order_release) == contended) futex_wake(&word_);
  }

  /// In the child of a fork, where there is one thread: opens the lock if a thread held it that the child does not have.
  /// True if so: what it guards may be half changed.
  [[nodiscard]] bool break_open() noexcept { return word_.exchange(open, std::memory_order_relaxed) != open; }

 private:
  void lock_slow() noexcept {
    for (int spins = 0; spins < 64; ++spins) {
      cpu_relax();
      std::uint32_t expected = open;
      if (word_.load(std::memory_order_relaxed) == open &&
          word_.compare_exchange_weak(expected, taken, std::memory_order_acquire, std::memory_order_relaxed))  // (L1)
        return;
    }
    // (L1) acquire: sees what the last holder wrote; pairs with (L2) in unlock().
    while (word_.exchange(contended, std::memory_order_acquire) != open) futex_wait(word_, contended);
  }
  // After U. Drepper, "Futexes are tricky" (2011), mutex 2.
  static constexpr std::uint32_t open = 0, taken = 1, contended = 2;
  std::atomic<std::uint32_t> word_{open};
};

}  // namespace errand::detail
