// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A program whose first use of errand is not a process: the zygote has to come before that all the same. One test, as
// there is one first use per program.
#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <poll.h>
#include <unistd.h>
#include <array>
#include <utility>

#include <support/in_child.hpp>

namespace errand {
namespace {

int add(int a, int b) { return a + b; }

// Else a peer would not see the end of what the program has closed. Many programs, as each forks one zygote.
TEST(process_after_threads, the_zygote_has_no_descriptor_of_the_programs_any_more_when_it_is_there) {
  for (int i = 0; i != 100; ++i)
    ASSERT_EQ(errand_test::in_child([] {
                std::array<int, 2> ends{};
                errand_test::require(::pipe(ends.data()) == 0, "a pipe");
                process_support const forked;
                ::close(ends[0]);
                pollfd nobody_reads{.fd = ends[1], .events = 0, .revents = 0};
                errand_test::require(::poll(&nobody_reads, 1, 0) == 1 && nobody_reads.revents == POLLERR, "nobody reads");
              }),
              0);
}

TEST(process_after_threads, the_zygote_was_forked_before_the_first_thread_and_its_workers_may_use_threads_too) {
  static bool again = false;
  if (std::exchange(again, true)) GTEST_SKIP() << "there is one first use per program";
  EXPECT_EQ(async(add, 1, 2).get(), 3);  // errand's threads, not yet a process
  EXPECT_EQ(async(processes, add, 2, 3).get(), 5);
  EXPECT_EQ(async(processes, [] { return async(add, 3, 4).get(); }).get(), 7);
}

}  // namespace
}  // namespace errand
