// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A future that is dropped on the spot stops its task and waits for it; the compiler says so.
// expect: ignoring return
#include <errand/task.hpp>

#pragma GCC diagnostic error "-Wunused-result"
#pragma GCC diagnostic error "-Wunused-value"

int main() {
#ifdef MUST_NOT_COMPILE
  errand::async([] {});
#else
  errand::async([] {}).detach();
#endif
}
