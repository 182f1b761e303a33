// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/statistics.hpp"

#include <algorithm>
#include <vector>

namespace bench {

spread spread_of(std::span<double const> samples) {
  if (samples.empty()) return {};
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  std::size_t const half = sorted.size() / 2;
  double const median = sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  return {sorted.front(), median, sorted.back()};
}

}  // namespace bench
