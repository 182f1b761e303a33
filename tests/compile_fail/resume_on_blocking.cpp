// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A thread of `blocking` is one task's up to its end: there a coroutine could not suspend.
// expect: there a coroutine cannot suspend
#include <errand/task.hpp>

errand::task<> moves() {
#ifdef MUST_NOT_COMPILE
  co_await errand::resume_on(errand::blocking);
#else
  co_await errand::resume_on(errand::threads);
#endif
}

int main() { moves().get(); }
