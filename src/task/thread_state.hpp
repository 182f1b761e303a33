// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a thread is doing for errand at this moment: the task whose code runs on it, and the worker it is, if any.
// A task may continue on another thread after any wait, so the address is asked for anew each time and never kept:
// the accessor is opaque to the optimiser, which would otherwise keep the thread's address across a switch.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

class worker;
struct trampoline;

struct thread_state {
  record* current = nullptr;     // the innermost task running on this thread
  worker* as_worker = nullptr;   // set for the life of a pool's thread
  trampoline* resuming = nullptr;  // the innermost loop that resumes coroutines on the running stack
};

/// The calling thread's. Valid until the next call that may switch stacks.
[[nodiscard, gnu::noinline]] thread_state& this_thread() noexcept;

}  // namespace errand::detail
