// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Waiting, whoever waits: arm() hooks a waiter to all that may wake it, disarm() makes sure that nobody will touch it any
// more, block() does both around the sleep of a thread or the parking of a fiber. All public waiting forms are a few
// lines over these. README.md of this folder has the protocol ("Waiting").
#pragma once

#include "fiber/stack.hpp"
#include "sched/timers.hpp"
#include "task/stop.hpp"

namespace errand::detail {

class queue_gate;
class worker;
struct thread_state;
struct stack_mark;

/// A task's stack, parked. worker::hop() fills in all but `request`; to set them twice would cost a yield a sixth of its time.
struct parked_fiber : runnable {
  wait_request* request = nullptr;  // none: it does not wait, it only lets others run first
  stack* parked_on;
  record* current;  // what ran there
  stack_mark* mark;
};

/// One that waits. worker::leave_stack_to() fills in who may continue it.
struct fiber_waiter : parked_waiter, parked_fiber {
  pool_core* home;     // its workers,
  std::uint32_t only;  // and which of them, in a pinned pool
};

/// False if there is nothing to wait for any more: the caller goes on by itself, after disarm(). True: somebody has woken
/// or will wake the waiter, which may be gone already.
[[nodiscard]] bool arm(waiter& w, wait_request& q) noexcept;
void disarm(waiter& w, wait_request& q) noexcept;

/// Waits for one of the causes named in the request, as a fiber on a worker, else as a thread. Not if that would close a cycle
/// of waits: then q.deadlock says so. Throws std::bad_alloc.
void block(wait_request& q);

/// The same for those who cannot throw: without a stack to go on with, the thread is blocked.
void block_or_sleep(wait_request& q) noexcept;

/// Makes a parked fiber, a suspended coroutine ready: onto the deque of the calling worker if it is one of that pool's, else
/// into the pool's inbox. In a pinned pool, to the worker that it names.
void make_ready(runnable& r, pool_core& home, std::uint32_t only = any_worker) noexcept;

/// Whether an exception unwinds on the calling thread, whose state it is: std::uncaught_exceptions() != 0, for less.
[[nodiscard]] bool is_unwinding(thread_state const& t) noexcept;

/// The task that a wait on the calling thread may be ended with, by a stop: none outside tasks, while an exception
/// unwinds and in a stop callback, where nothing can be thrown.
[[nodiscard]] record* cancellable_task();

/// Tries to run a task that nobody has begun on the stack of the task that waits for it. True: it is done.
[[nodiscard]] bool run_in_place(record& r) noexcept;
/// Throws deadlock if the calling task is `r` or runs in place above it.
void check_no_self_wait(record const& r);
/// The serial queue in which `r` has to have a turn before it ends, if the caller keeps that from going on meanwhile.
[[nodiscard]] queue_gate const* queue_kept_from(record& r) noexcept;

}  // namespace errand::detail
