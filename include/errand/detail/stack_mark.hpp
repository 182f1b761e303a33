// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// What errand has to find again beneath the code that runs: the loop that has resumed a coroutine, the queue that is held. A mark
// lies on the stack, the thread points to the innermost one, and a fiber that parks takes the pointer along.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

class queue_gate;

struct stack_mark {
  stack_mark* outer = nullptr;
  queue_gate* queue = nullptr;  // in which what is above runs; null for a loop that resumes coroutines
  record* item = nullptr;       // of a queue: the item that runs; none in a turn that sync() waited for
  void* running = nullptr;      // of a loop: the frame it has resumed
};

}  // namespace errand::detail
