// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a rival without a future of its own tells the main thread that its task has ended: one word, by std::atomic's wait,
// which is a futex behind a short spin.
#pragma once

#include <atomic>

namespace microbench {

class answer {
 public:
  void give() {
    given_.store(1, std::memory_order_release);
    given_.notify_one();
  }
  // Waits for it, and makes ready for the next.
  void take() {
    given_.wait(0, std::memory_order_acquire);
    given_.store(0, std::memory_order_relaxed);
  }

 private:
  std::atomic<int> given_{0};
};

}  // namespace microbench
