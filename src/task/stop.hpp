// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Stopping: how the request reaches a task, whatever it is doing, and the tasks it started. Called by futures, deadlines,
// outer tokens and failing loops. The protocol (S1, S2) is in README.md.
#pragma once

#include "task/references.hpp"

namespace errand::detail {

/// Who claimed a waiter.
enum class claimant : std::uint8_t { nobody, completion, stop, deadline, itself };

/// The first to claim a waiter is the one who wakes it (or lets it go on by itself).
[[nodiscard]] inline bool claim(waiter& w, claimant by) noexcept {
  auto expected = static_cast<std::uint8_t>(claimant::nobody);
  return w.claimed_by.compare_exchange_strong(expected, static_cast<std::uint8_t>(by), std::memory_order_acq_rel);  // (W1)
}

/// Asks the task to stop, because of its deadline or not. A task that has not begun ends here; else it is told wherever it
/// is, and with it the children that are linked to it. The caller holds a reference.
void stop_record(record& r, bool by_deadline) noexcept;

/// The same on behalf of another one, or of nobody: of who lets go of it, or of a task that stands for it. What is kept goes on.
inline void stop_unless_kept(record& r) noexcept {
  if ((r.state_.load(std::memory_order_relaxed) & record_state::kept) == 0) stop_record(r, false);
}

/// Ends a task that has not begun, unrun; false if it has. What it captured is destroyed with its handle. The caller holds a
/// reference.
bool stop_unbegun(record& r) noexcept;

/// While a task waits: whom a stop of it shall wake, shown as `shown_as` says. False if it was asked to stop already (then
/// nobody is armed). The task must be linked to those above it before, by link_to_ancestors().
[[nodiscard]] bool arm_interrupt(record& self, std::uintptr_t shown) noexcept;
/// Afterwards nobody will touch the waiter on behalf of a stop.
void disarm_interrupt(record& self, waiter& w) noexcept;

/// Of a task outside the pools that has been begun: shows whom a stop shall wake, to stoppers and to the task above.
void show_outside(record& r, waiter& on_stop) noexcept;

/// Puts the task into its parent's list of children, and so upwards, so that a stop from above finds it. Once per task;
/// afterwards its own stop bit says everything. Ends the program where there is no memory for the link.
void link_to_ancestors(record& self) noexcept;
/// Takes it out again, as it ends.
void unlink_from_parent(record& self) noexcept;

/// Whether the running task `self` was asked to stop, or any task above it. By its own flow of control.
[[nodiscard]] inline bool stop_requested(record& self) noexcept {
  if (self.parent_ != nullptr && (self.state_.load(std::memory_order_relaxed) & record_state::kin) == 0)
    link_to_ancestors(self);
  return (self.state_.load(std::memory_order_acquire) & record_state::stop) != 0;  // (S1)
}
/// Throws operation_cancelled, unless an exception is unwinding.
void throw_stop();
inline void throw_if_stopped(record& self) {
  if (stop_requested(self)) throw_stop();
}

}  // namespace errand::detail
