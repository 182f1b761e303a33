// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A reference would refer to what is in the other process.
// expect: what crosses to another process is no pointer, reference, iterator or view
// errors: 1
#include <errand/process.hpp>

int global = 1;

int main() {
#ifdef MUST_NOT_COMPILE
  return errand::async(errand::processes, []() -> int& { return global; }).get();
#else
  return errand::async(errand::processes, []() -> int { return global; }).get();
#endif
}
