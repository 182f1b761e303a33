// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What goes on after a task never runs inside then(), nor inside the end of that task.
// expect: not inplace
#include <errand/task.hpp>

int main() {
  auto f = errand::async([] { return 1; });
#ifdef MUST_NOT_COMPILE
  return f.then(errand::inplace, [](int x) { return x - 1; }).get();
#else
  return f.then(errand::threads, [](int x) { return x - 1; }).get();
#endif
}
