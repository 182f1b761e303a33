// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A shared object with errand inside, for opens_libraries.cpp.
#include <errand/task.hpp>

#include <cstdio>

extern "C" int use_errand(int x) {
  errand::async([x] {
    errand::this_task::sleep_for(std::chrono::milliseconds{20});
    if (x == 2) std::fputs("the last one was finished.", stderr);
  }).detach();
  return errand::async([x] { return 2 * x; }).get();
}
