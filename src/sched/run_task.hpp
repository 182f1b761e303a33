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
/// From begun up to its completion, exclusively. False for a coroutine that goes on later, or has ended by itself: the record may be
/// gone.
[[nodiscard]] bool run_begun(record& r) noexcept;
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
/// Room for a record at a place, which a queue may not have: waits for it, or refuses. Throws queue_full, deadlock,
/// operation_cancelled. And what was reserved will not be used.
void reserve_at(place_core& where);
void give_back_room_at(place_core& where) noexcept;
/// Hands a record over whose parent, home and bit `queued` are in place, and for which there is room.
void give_to(place_core& where, record& r) noexcept;

}  // namespace errand::detail
