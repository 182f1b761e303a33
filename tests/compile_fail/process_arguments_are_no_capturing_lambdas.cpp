// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// [&] is trivially copyable, and refers to what is not in the other process.
// expect: a lambda with captures may hold references
// errors: 1
#include <errand/process.hpp>

int main() {
  int seen = 1;
#ifdef MUST_NOT_COMPILE
  return errand::async(errand::processes, [](auto f) { return f(2); }, [&](int n) { return n + seen; }).get();
#else
  return errand::async(errand::processes, [](auto f) { return f(2); }, [](int n) { return n; }).get() + seen;
#endif
}
