// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Many at once, gathered in input order. One word, the place, chooses how: here, or on the pool.
#include <errand/group.hpp>

#include <cstdio>
#include <vector>

// How many steps the Collatz sequence takes from `start` down to 1.
int steps_to_one(long start) {
  int steps = 0;
  for (; start != 1; ++steps) start = start % 2 == 0 ? start / 2 : 3 * start + 1;
  return steps;
}

int main() {
  std::vector<long> const starts = {6, 27, 97, 871};

  std::vector<int> const here = errand::map(errand::inplace, starts, steps_to_one);
  std::vector<int> const pooled = errand::map(starts, steps_to_one);

  for (std::size_t i = 0; i < starts.size(); ++i) std::printf("%ld: %d steps\n", starts[i], pooled[i]);
  return here == pooled ? 0 : 1;
}
