// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a worker does with a task's record that it takes from a queue.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

/// queued -> running -> done, or only out of the queue if somebody else has begun or stopped it meanwhile.
void run_queued_task(runnable* r) noexcept;

/// In the child of a fork that a task made on a worker: there is no worker, and no way back into the loop. Ends it.
[[noreturn]] void end_forked_child(record const& r) noexcept;

/// If it is a task's record that was begun out of turn: gives up the queue's reference and answers true.
[[nodiscard]] bool drop_if_stale(runnable& r) noexcept;

}  // namespace errand::detail
