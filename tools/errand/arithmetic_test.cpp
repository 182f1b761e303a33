// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The figures that are computed and not measured: sizes, ideal times, medians.
#include "bench/schedule.hpp"
#include "bench/statistics.hpp"
#include "bench/workload.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bench {
namespace {

TEST(ideal_time, of_one_worker_is_the_sum) {
  EXPECT_DOUBLE_EQ(ideal_time(std::vector{4.0, 225.0, 100.0, 1.0, 144.0}, 1), 474.0);
}

TEST(ideal_time, of_two_workers_keeps_jobs_whole) {
  // 225 + 4 + 1 against 144 + 100: no split into halves of 237 exists.
  EXPECT_DOUBLE_EQ(ideal_time(std::vector{4.0, 225.0, 100.0, 1.0, 144.0}, 2), 244.0);
}

TEST(ideal_time, finds_what_the_greedy_schedule_misses) {
  // Longest first gives 3 + 2 + 2 = 7; the best is 3 + 3 against 2 + 2 + 2.
  EXPECT_DOUBLE_EQ(ideal_time(std::vector{3.0, 3.0, 2.0, 2.0, 2.0}, 2), 6.0);
}

TEST(ideal_time, is_the_longest_job_however_many_workers) {
  EXPECT_DOUBLE_EQ(ideal_time(std::vector{4.0, 225.0, 100.0, 1.0, 144.0}, 64), 225.0);
}

TEST(ideal_time, of_no_jobs_is_nothing) { EXPECT_DOUBLE_EQ(ideal_time({}, 2), 0.0); }

TEST(spread, takes_the_middle_of_odd_and_even_numbers_of_samples) {
  spread const odd = spread_of(std::vector{3.0, 1.0, 2.0});
  EXPECT_DOUBLE_EQ(odd.min, 1.0);
  EXPECT_DOUBLE_EQ(odd.median, 2.0);
  EXPECT_DOUBLE_EQ(odd.max, 3.0);
  EXPECT_DOUBLE_EQ(odd.relative(), 0.5);
  EXPECT_DOUBLE_EQ(spread_of(std::vector{4.0, 1.0, 2.0, 3.0}).median, 2.5);
}

TEST(workloads, have_the_sizes_of_the_post_at_scale_1) {
  std::vector<job> const both = jobs_of(workload::both, 1, "dir");
  ASSERT_EQ(both.size(), 5U);
  EXPECT_EQ(both[1].n, 15'000U);
  EXPECT_EQ(both[2].n, 1'000'000U);
  EXPECT_STREQ(both[2].path, "dir/lines-2.txt");
}

TEST(workloads, that_are_durable_are_the_files_of_the_io_column) {
  std::vector<job> const cached = jobs_of(workload::io, 1, "dir");
  std::vector<job> const durable = jobs_of(workload::durable, 1, "dir");
  ASSERT_EQ(durable.size(), cached.size());
  for (std::size_t i = 0; i < durable.size(); ++i) {
    EXPECT_EQ(durable[i].n, cached[i].n);
    EXPECT_TRUE(durable[i].durable);
    EXPECT_FALSE(cached[i].durable);
  }
}

TEST(workloads, scale_the_work_and_not_the_loop_bounds) {
  EXPECT_EQ(jobs_of(workload::cpu, 4, "")[1].n, 30'000U);
  EXPECT_EQ(jobs_of(workload::io, 4, "")[1].n, 6'000'000U);
}

TEST(workloads, make_17000_dispatches_at_any_scale_above_1) {
  std::uint64_t dispatches = 0;
  for (job const& j : jobs_of(workload::fine, 29, "")) dispatches += j.kind == job_kind::count ? j.n : 0;
  EXPECT_EQ(dispatches, 17'000U);
}

TEST(counting, takes_every_step) {
  EXPECT_EQ(run_job(job::count(1000)).value, 1000U * 999U / 2U);
  EXPECT_EQ(count_by_dispatches(job::count(1000), inner_loop).value, 1000U * 999U / 2U);
}

}  // namespace
}  // namespace bench
