// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The ideal that a column is compared with: jobs are indivisible, so the best possible time is
// the best schedule of whole jobs on the workers, not the serial time divided by the workers.
#pragma once

#include <span>

namespace bench {

// Shortest time in which `workers` can run jobs of these lengths. Exact: tries every assignment
// that could still win, which for the suite's five jobs is nothing.
double ideal_time(std::span<double const> job_seconds, int workers);

}  // namespace bench
