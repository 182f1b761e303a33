// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// With options, too, what a lambda has captured is not in the other process.
// expect: a plain function, a member function or a lambda that captures nothing
// errors: 1
#include <errand/process.hpp>

using namespace std::chrono_literals;

int main() {
  int const x = 1;
#ifdef MUST_NOT_COMPILE
  return errand::async({.on = errand::processes, .timeout = 5s}, [x] { return x; }).get();
#else
  return errand::async({.on = errand::processes, .timeout = 5s}, errand::by_value([x] { return x; })).get();
#endif
}
