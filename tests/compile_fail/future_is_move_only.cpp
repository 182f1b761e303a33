// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A future has one owner: a copy would be a second one that stops and joins the task.
// expect: use of deleted function
// expect: call to implicitly-deleted copy constructor
// expect: call to deleted constructor
#include <errand/task.hpp>

int main() {
  auto mine = errand::async([] { return 42; });
#ifdef MUST_NOT_COMPILE
  auto yours = mine;
#else
  auto yours = std::move(mine);
#endif
  return yours.get() - 42;
}
