// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tasks in worker processes among others: when_all, when_any, then, groups that mix threads and processes.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/process.hpp>

#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace errand;

int add(int a, int b) { return a + b; }
void run_for_ever() {
  for (;;) ::pause();
}

TEST(processes_among_others, when_any_takes_the_one_that_ends_and_kills_the_other) {
  process_pool two{2};
  auto const first = when_any(async(two,
                                    [] {
                                      run_for_ever();
                                      return 0;
                                    }),
                              async(two, [] { return 7; }))
                         .get();
  EXPECT_EQ(first.index, 1U);
  EXPECT_EQ(first.value, 7);
  EXPECT_EQ(async(two, add, 1, 1).get(), 2);
  EXPECT_LE(two.statistics().workers_killed, 1U);  // none, if the other had not begun
}

TEST(processes_among_others, a_deadline_among_others_stops_them_all) {
  process_pool two{2};
  auto all = when_all(async({.on = two, .timeout = 10ms}, run_for_ever), async(two, run_for_ever), async(add, 1, 2));
  EXPECT_THROW(all.get(), timed_out);
  EXPECT_EQ(two.statistics().busy, 0U);
}

TEST(processes_among_others, a_chain_goes_from_a_process_to_threads_and_back) {
  auto last =
      async(processes, add, 1, 2).then([](int n) { return async(processes, add, n, 10).get(); }).then([](int n) {
        return n + 100;
      });
  EXPECT_EQ(last.get(), 113);
}

TEST(processes_among_others, many_tasks_may_each_wait_for_a_process) {
  std::vector<int> numbers(200);
  for (int i = 0; i < 200; ++i) numbers[static_cast<std::size_t>(i)] = i;
  auto const sums = map(numbers, [](int n) { return async(processes, add, n, 1).get(); });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(sums[static_cast<std::size_t>(i)], i + 1);
}

}  // namespace
