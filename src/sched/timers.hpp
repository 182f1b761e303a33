// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Deadlines: one heap and one thread that sleeps up to the nearest, started by the first. Sleeping tasks, waits with a
// limit and tasks with a deadline have an entry in it, in their own memory.
#pragma once

#include <errand/detail/timer.hpp>

namespace errand::detail {

/// Starts the timekeeper if it does not run yet, so that arm_timer() cannot fail for that. Throws std::system_error.
void prepare_timers();
/// Throws std::bad_alloc.
void arm_timer(timer_entry& entry);
/// Afterwards it will not fire. A waiter has then been claimed or not, but is touched no more; a task that is being stopped
/// just now is kept alive by the timekeeper's own reference.
void disarm_timer(timer_entry& entry) noexcept;

}  // namespace errand::detail
