// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The steps of a task's way, for those who take them one by one: a worker, with what it takes from a queue; a blocking
// thread; a group, whose members have another parent than the task that starts them.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

/// queued -> running -> done, or only out of the queue if somebody else has begun or stopped it meanwhile. On a worker.
void run_queued_task(runnable* r) noexcept;
/// The same on a thread of no pool, for a record of no pool.
void run_without_pool(record& r) noexcept;
/// Begun already: the task's whole course on the running stack, for a coroutine up to its first suspension.
void run_here(record& r) noexcept;

/// In the child of a fork that a task made on a worker: there is no worker, and no way back into the loop. Ends it.
[[noreturn]] void end_forked_child(record const& r) noexcept;

/// If it is a task's record that was begun out of turn: gives up the queue's reference and answers true.
[[nodiscard]] bool drop_if_stale(runnable& r) noexcept;

/// Name, deadline and outer token, of a record that nobody else has seen. From then on it counts as begun, so that a stop
/// by one of them leaves only its bit, up to admit(). The record is destroyed if this throws.
void apply(start_options const& options, record& r);
/// Lets it be begun. False if it was stopped meanwhile: then it has ended, unrun.
[[nodiscard]] bool admit(record& r) noexcept;
/// Hands a record to its pool whose parent, home and bit `queued` are in place.
void give_to(pool_core& pool, record& r) noexcept;

}  // namespace errand::detail
