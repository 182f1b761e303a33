// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/technique.hpp"

#include <algorithm>

namespace bench {
namespace {

// What a dispatch adds is the difference of two nearly equal times, so both are taken in turn,
// close together, and the median of the differences counts.
constexpr int most_pairs = 7;
constexpr double enough_seconds = 1.5;

// Threads are started and code is paged in by work too small to matter.
void warm_up(runner& r) {
  std::vector<job> jobs(most_jobs, job::count(100));
  std::vector<answer> answers(jobs.size());
  r.run(jobs, answers);
  r.run_fine(jobs, answers);
}

double seconds_of(auto const& run) {
  double const begin = now();
  run();
  return now() - begin;
}

// The counting jobs alone: beside the files, which take longer than the counting on two workers,
// whatever a dispatch adds would disappear.
std::vector<job> counting_jobs(std::vector<job> const& jobs) {
  std::vector<job> counting;
  std::copy_if(jobs.begin(), jobs.end(), std::back_inserter(counting),
               [](job const& j) { return j.kind == job_kind::count; });
  return counting;
}

double nanoseconds_added_per_dispatch(runner& r, std::vector<job> const& jobs) {
  std::vector<job> const counting = counting_jobs(jobs);
  std::vector<answer> answers(counting.size());
  std::uint64_t dispatches = 0;
  for (job const& j : counting) dispatches += j.n;

  std::vector<double> differences;
  double const begin = now();
  do {
    double const whole = seconds_of([&] { r.run(counting, answers); });
    double const fine = seconds_of([&] { r.run_fine(counting, answers); });
    differences.push_back(fine - whole);
  } while (differences.size() < most_pairs && now() - begin < enough_seconds);
  auto const middle = differences.begin() + static_cast<std::ptrdiff_t>(differences.size() / 2);
  std::nth_element(differences.begin(), middle, differences.end());
  return *middle / static_cast<double>(dispatches) * 1e9;
}

}  // namespace

measurement measure_runner(runner& r, plan const& p) {
  warm_up(r);
  measurement m;
  std::span<answer> const answers(m.answers.data(), p.jobs.size());
  if (p.what != workload::fine) {
    m.seconds = seconds_of([&] { r.run(p.jobs, answers); });
    return m;
  }
  m.seconds = seconds_of([&] { r.run_fine(p.jobs, answers); });
  m.added_ns = nanoseconds_added_per_dispatch(r, p.jobs);
  m.added_ns_known = true;
  return m;
}

}  // namespace bench
