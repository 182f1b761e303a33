// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A program whose first use of errand is not a process: the zygote has to come before that all the same. One test, as
// there is one first use per program.
#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <utility>

namespace errand {
namespace {

int add(int a, int b) { return a + b; }

TEST(process_after_threads, the_zygote_was_forked_before_the_first_thread_and_its_workers_may_use_threads_too) {
  static bool again = false;
  if (std::exchange(again, true)) GTEST_SKIP() << "there is one first use per program";
  EXPECT_EQ(async(add, 1, 2).get(), 3);  // errand's threads, not yet a process
  EXPECT_EQ(async(processes, add, 2, 3).get(), 5);
  EXPECT_EQ(async(processes, [] { return async(add, 3, 4).get(); }).get(), 7);
}

}  // namespace
}  // namespace errand
