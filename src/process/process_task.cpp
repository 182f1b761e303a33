// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/process_task.hpp>
#include <new>

#include "task/references.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"

namespace errand::detail {

void begin_outside(record& r, waiter& on_stop) noexcept {
  adopt_child(r, this_thread().current);
  r.inplace_allowed_ = false;
  r.state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
  (void)arm_interrupt(r, reinterpret_cast<std::uintptr_t>(&on_stop));  // nobody knows the record yet, so nobody has stopped it
  try {
    link_to_ancestors(r);
  } catch (std::bad_alloc const&) {
    // Then a stop of the task above reaches this one when that task lets go of its future.
  }
}

void submit_for(record& r, process_job& job) noexcept {
  pin(r);  // the job may end, and its future be taken, before the next line
  submit_process_job(job);
  // A stop that found no job yet has left its bit. (S1) seq_cst: pairs with (S1) in stop_record().
  if ((r.state_.load(std::memory_order_seq_cst) & record_state::stop) != 0) stop_process_job(job);
  unpin(r);
}

void end_outside(record& r, waiter& on_stop) noexcept {
  // Nothing wakes this waiter but a stop: so a stopper that comes from now on must find that it is too late (W1).
  static_cast<void>(claim(on_stop, claimant::completion));
  disarm_interrupt(r, on_stop);
  complete(r);
}

}  // namespace errand::detail
