// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many workers is said to a pool; `on` says where.
// expect: `on` is a place: processes or a process_pool, or else threads, inplace, blocking or a pool
// errors: 1
#include <errand/process.hpp>

using namespace std::chrono_literals;

int main() {
#ifdef MUST_NOT_COMPILE
  return errand::async({.on = 4, .timeout = 5s}, [] { return 1; }).get();
#else
  return errand::async({.on = errand::processes, .timeout = 5s}, [] { return 1; }).get();
#endif
}
