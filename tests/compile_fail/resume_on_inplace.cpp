// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// In place is where a coroutine is already: there is no thread that it could be moved to.
// expect: names no thread to go on on
#include <errand/task.hpp>

errand::task<> moves() {
#ifdef MUST_NOT_COMPILE
  co_await errand::resume_on(errand::inplace);
#else
  co_await errand::resume_on(errand::threads);
#endif
}

int main() { moves().get(); }
