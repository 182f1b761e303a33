// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/outside_task.hpp>

#include "task/detached.hpp"
#include "task/references.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"

#include <new>

namespace errand::detail {

void begin_outside(record& r, waiter& on_stop) noexcept {
  adopt_child(r, this_thread().current);
  r.state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
  show_outside(r, on_stop);  // nobody knows the record yet, so nobody has stopped it
}

void show_outside(record& r, waiter& on_stop) noexcept {
  r.inplace_allowed_ = false;
  (void)arm_interrupt(r, reinterpret_cast<std::uintptr_t>(&on_stop));
  try {
    link_to_ancestors(r);
  } catch (std::bad_alloc const&) {
    // Then a stop of the task above reaches this one when that task lets go of its future.
  }
}

void begin_kept_outside(record& r, waiter& on_stop) noexcept {
  await_one_more();
  r.inplace_allowed_ = false;
  r.state_.store(record_state::handle | record_state::begun | record_state::kept, std::memory_order_relaxed);
  (void)arm_interrupt(r, reinterpret_cast<std::uintptr_t>(&on_stop));
}

void end_outside(record& r, waiter& on_stop) noexcept {
  bool const kept = (r.state_.load(std::memory_order_relaxed) & record_state::kept) != 0;
  // Nothing wakes this waiter but a stop: so a stopper that comes from now on must find that it is too late (W1).
  static_cast<void>(claim(on_stop, claimant::completion));
  disarm_interrupt(r, on_stop);
  complete(r);
  if (kept) await_one_less();  // after its error was reported, if nobody is left to take it
}

}  // namespace errand::detail
