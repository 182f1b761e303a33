// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How tests bring threads and tasks into an order without sleeping. A `flag` is raised once; a `sequencer` lets numbered
// steps pass one after the other. Both wait in two ways: wait() keeps the thread, a pool's worker with it, which a test may
// want: it does not sleep, or a spare worker would come in its stead; wait_yielding() lets the worker run others meanwhile.
// A step that never comes hangs, and ctest's limit ends it.
#pragma once

#include <errand/task.hpp>

#include <unistd.h>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>

namespace errand_test {

class flag {
 public:
  void raise() { raised_.store(true); }
  [[nodiscard]] bool is_raised() const { return raised_.load(); }
  void wait() const {
    while (!is_raised()) std::this_thread::yield();
  }
  /// A point of cancellation, as every yield.
  void wait_yielding() const {
    while (!is_raised()) {
      errand::this_task::yield();
      std::this_thread::yield();
    }
  }

 private:
  std::atomic<bool> raised_{false};
};

class sequencer {
 public:
  /// Waits until all steps before `n` have passed, then passes it.
  void step(std::uint32_t n) {
    wait(n);
    next_.fetch_add(1);
  }
  /// Waits until all steps before `n` have passed.
  void wait(std::uint32_t n) const {
    while (next_.load() < n) std::this_thread::yield();
  }

 private:
  std::atomic<std::uint32_t> next_{0};
};

/// The kernel's number of the calling thread. Not std::this_thread::get_id(), which compilers believe to be constant within
/// a function; a task may go on elsewhere.
[[nodiscard]] inline int thread_number() { return ::gettid(); }

/// Waits until a thread of this process sleeps in the kernel, as the kernel says: no time is measured.
inline void wait_until_asleep(int thread) {
  for (char state = 'R'; state != 'S';) {
    std::this_thread::yield();
    std::ifstream stat{"/proc/self/task/" + std::to_string(thread) + "/stat"};
    std::string text;
    std::getline(stat, text);
    auto const end_of_name = text.rfind(')');
    if (end_of_name != std::string::npos && end_of_name + 2 < text.size()) state = text[end_of_name + 2];
  }
}

}  // namespace errand_test
