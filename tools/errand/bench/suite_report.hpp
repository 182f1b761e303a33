// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns what the suite measured into a report: the table of the post with our figures, Python's
// own, what a dispatch costs, and the post's figures from 2015.
#pragma once

#include "bench/report.hpp"
#include "bench/suite.hpp"

namespace bench {

report report_of(suite_result const& result);

}  // namespace bench
