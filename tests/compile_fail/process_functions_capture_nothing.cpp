// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a lambda has captured is not in the other process.
// expect: a plain function, a member function or a lambda that captures nothing
#include <errand/process.hpp>

int main() {
  int const x = 1;
#ifdef MUST_NOT_COMPILE
  return errand::async(errand::processes, [x] { return x; }).get();
#else
  return errand::async(errand::processes, errand::by_value([x] { return x; })).get() +
         errand::async(errand::processes, [](int from_here) { return from_here; }, x).get();
#endif
}
