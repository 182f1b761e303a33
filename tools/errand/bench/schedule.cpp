// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/schedule.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

namespace bench {
namespace {

// Gives job `next` to each worker in turn and keeps the shortest schedule found in `best`.
void assign(std::span<double const> jobs, std::size_t next, std::vector<double>& load, double& best) {
  double const longest = *std::max_element(load.begin(), load.end());
  if (longest >= best) return;
  if (next == jobs.size()) {
    best = longest;
    return;
  }
  for (std::size_t w = 0; w < load.size(); ++w) {
    bool const idle = load[w] == 0;
    load[w] += jobs[next];
    assign(jobs, next + 1, load, best);
    load[w] -= jobs[next];
    if (idle) {
      load[w] = 0;  // exactly, whatever the subtraction left
      break;        // the other idle workers are alike
    }
  }
}

}  // namespace

double ideal_time(std::span<double const> job_seconds, int workers) {
  if (job_seconds.empty()) return 0;
  // Long jobs first: good schedules are found early and the rest is cut off.
  std::vector<double> jobs(job_seconds.begin(), job_seconds.end());
  std::sort(jobs.begin(), jobs.end(), std::greater<>());
  std::vector<double> load(std::clamp<std::size_t>(static_cast<std::size_t>(std::max(workers, 1)), 1, jobs.size()));
  double best = std::numeric_limits<double>::infinity();
  assign(jobs, 0, load, best);
  return best;
}

}  // namespace bench
