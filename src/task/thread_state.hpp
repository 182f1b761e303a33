// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a thread is doing for errand at this moment: the task whose code runs on it, and the worker it is, if any.
// A task may continue on another thread after any wait, so the address is asked for anew each time and never kept:
// the accessor is opaque to the optimiser, which would otherwise keep the thread's address across a switch.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

class worker;
class input_visitor;
class settle_list;
class served_thread;
struct stack_mark;

struct thread_state {
  record* current = nullptr;     // the innermost task running on this thread
  worker* as_worker = nullptr;   // set for the life of a pool's thread
  bool blocking = false;         // set for the life of a thread for tasks that block
  unsigned calling_back = 0;     // stop callbacks of the user's that are running: the task stays on this thread meanwhile
  stack_mark* mark = nullptr;    // the innermost on the running stack
  served_thread* serves = nullptr;  // set for a thread that serves queues of its own
  // Composites; none is set while code of the user's runs.
  settle_list* settling = nullptr;  // the ends that are still to be brought about by the one that is under way
  record** told = nullptr;          // while a stop is passed on: whom the running stop still has to tell
  record* left_over = nullptr;      // left by record_verb::drop for its caller: a handle that is to be let go of, too
  bool left_over_is_shared = false;
  input_visitor* asking_for_inputs = nullptr;  // while record_verb::inputs is called
};

extern constinit thread_local thread_state state_of_this_thread;

/// The calling thread's. Valid until the next call that may switch stacks.
[[nodiscard, gnu::noinline]] thread_state& this_thread() noexcept;
/// The same without a call, for a function that is never inlined and calls nothing before it has done with it.
[[nodiscard, gnu::always_inline]] inline thread_state& this_thread_of_a_leaf() noexcept { return state_of_this_thread; }

}  // namespace errand::detail
