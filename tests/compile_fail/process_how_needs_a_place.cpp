// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A pool that is const could not be given work, and a number is no place at all.
// expect: `on` is a place: processes or a process_pool, or else threads, inplace, blocking or a pool
// errors: 1
#include <errand/process.hpp>

using namespace std::chrono_literals;

int main() {
#ifdef MUST_NOT_COMPILE
  errand::process_pool const pool{1};
#else
  errand::process_pool pool{1};
#endif
  return errand::async({.on = pool, .timeout = 5s}, [] { return 1; }).get();
}
