// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// map gathers results; where there are none, for_each says what is meant.
// expect: for a function that returns nothing use for_each
#include <errand/group.hpp>

#include <vector>

int main() {
  std::vector<int> const numbers{1, 2};
#ifdef MUST_NOT_COMPILE
  errand::map(numbers, [](int) {});
#else
  errand::for_each(numbers, [](int) {});
#endif
}
