// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What other threads can find out about a thread: how much processor time it has had, and whether the kernel has put it to
// sleep. Both cost the thread itself nothing. The monitor finds blocked workers by it. Where the system does not tell,
// nothing counts as blocked.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>

namespace errand::detail {

class thread_probe {
 public:
  /// By the thread itself: from now on this is about it.
  void adopt() noexcept;

  /// Nanoseconds that it has run; exact. Two equal answers: it has carried out nothing in between. -1: not known.
  [[nodiscard]] std::int64_t time_run() const noexcept;
  /// As the kernel says: 'R' runs or would like to, 'S' sleeps, 'D' waits for a device; '?' is not known. Some microseconds.
  [[nodiscard]] char state() const noexcept;
  /// The kernel's number of it; 0 before adopt().
  [[nodiscard]] int number() const noexcept { return number_.load(std::memory_order_relaxed); }

 private:
  // Two that do not belong together, seen while another thread adopts, name no time or state of a thread that sleeps.
  std::atomic<int> number_{0};
  std::atomic<clockid_t> clock_{};
};

}  // namespace errand::detail
