// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arguments that the callable cannot take are refused at the call, not deep inside the library.
// expect: the function cannot be called with copies of these arguments
#include <errand/task.hpp>

int twice(int x) { return 2 * x; }

int main() {
#ifdef MUST_NOT_COMPILE
  auto result = errand::async(twice, "twenty-one");
#else
  auto result = errand::async(twice, 21);
#endif
  return result.get() - 42;
}
