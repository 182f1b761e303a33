// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// map gathers results, in worker processes too.
// expect: errand::map gathers results; for a function that returns nothing use for_each
// errors: 1
#include <errand/process.hpp>

#include <vector>

int main() {
  std::vector<int> const numbers{1, 2};
#ifdef MUST_NOT_COMPILE
  errand::map(errand::processes, numbers, [](int) {});
#else
  errand::for_each(errand::processes, numbers, [](int) {});
#endif
}
