// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Least, middle and greatest of a few repetitions: what every figure of the reports is made of.
#pragma once

#include <span>

namespace bench {

struct spread {
  double min = 0;
  double median = 0;
  double max = 0;

  // Half of the distance between the extremes, as a part of the median.
  double relative() const { return median > 0 ? (max - min) / 2 / median : 0; }
};

spread spread_of(std::span<double const> samples);

}  // namespace bench
