// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the hostile_*_test.cpp files share. Each of their tests ends with every counted object gone and with no error reported
// that the test did not announce: a task that was lost, run twice or not joined shows in one of the two.
#pragma once

#include <gtest/gtest.h>

#include <errand/group.hpp>

#include <array>
#include <atomic>
#include <thread>

#include "base/sanitizers.hpp"
#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace errand_test {

using namespace std::chrono_literals;
namespace this_task = errand::this_task;

/// Sizes and numbers of rounds: a sanitizer makes all of it many times slower, and ThreadSanitizer has 8000 stacks in all.
constexpr int scaled(int n) {
  if (errand::detail::thread_sanitizer) return n / 20 + 1;
  return errand::detail::sanitized_memory ? n / 4 + 1 : n;
}

/// Waits, as a thread, for what some other one will do.
template <class Condition>
void until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

/// What never ends unless it is stopped.
inline int sleep_long() {
  this_task::sleep_for(1h);
  return -1;
}

inline std::array<errand::place, 4> every_place(errand::pool& p) {
  return {errand::threads, p, errand::blocking, errand::inplace};
}

class hostile : public testing::Test {
 protected:
  hostile() {
    reported = 0;
    before_ = errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reported; });
  }
  ~hostile() override {
    until_all_are_gone();
    errand::set_unobserved_error_handler(before_);
    EXPECT_EQ(reported, reports_allowed);
  }

  /// Also those in tasks that were detached, which nobody can join.
  static void until_all_are_gone() {
    until([] { return counted::alive() == 0; });
  }

  inline static std::atomic<int> reported{0};
  int reports_allowed = 0;

 private:
  errand::unobserved_error_handler before_;
};

}  // namespace errand_test
