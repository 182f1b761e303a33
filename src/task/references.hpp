// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who keeps a record alive, its lock bit, and the transitions of its state word that are smaller than "complete" and
// "stop". The bits, the states and the argument that each record is freed exactly once are in README.md.
#pragma once

#include "base/futex.hpp"

#include <errand/detail/record.hpp>

namespace errand::detail {

using state_bits = std::uint64_t;

/// The state after which nobody refers to a record that is done: whoever brings it about frees it.
[[nodiscard]] constexpr bool unreferenced(state_bits s) noexcept {
  return (s & record_state::done) != 0 && (s & (record_state::handle | record_state::queued)) == 0 && s < record_state::pin;
}

inline void destroy_if_unreferenced(record& r, state_bits now) noexcept;
void destroy(record& r) noexcept;

/// Another reference, for somebody who is to look at the record later. The caller knows that it is alive.
inline void pin(record& r) noexcept { r.state_.fetch_add(record_state::pin, std::memory_order_relaxed); }
/// Lets go of one; the record may be gone afterwards.
inline void unpin(record& r) noexcept {
  // (R1) acq_rel: what each holder did to the record happens before its destruction; pairs with every other (R1).
  destroy_if_unreferenced(r, r.state_.fetch_sub(record_state::pin, std::memory_order_acq_rel) - record_state::pin);
}
/// The deque or inbox no longer refers to it.
inline void release_queue_reference(record& r) noexcept {
  auto const before = r.state_.fetch_and(~record_state::queued, std::memory_order_acq_rel);  // (R1)
  destroy_if_unreferenced(r, before & ~record_state::queued);
}

/// What is left of body and result is destroyed, with code of the user's; and the handles that `r` has are let go of. By who
/// has its handle, or by its own flow.
void drop_contents(record& r) noexcept;

/// The lock bit, for sections of a few instructions. Order: a child's before its parent's; a record's before the timers'.
inline void lock_record(record& r) noexcept {
  for (;;) {
    auto s = r.state_.load(std::memory_order_relaxed);
    if ((s & record_state::lock) == 0 &&
        r.state_.compare_exchange_weak(s, s | record_state::lock, std::memory_order_acquire,  // (K1) pairs with (K2)
                                       std::memory_order_relaxed))
      return;
    cpu_relax();
  }
}
inline void unlock_record(record& r) noexcept {
  r.state_.fetch_and(~record_state::lock, std::memory_order_release);  // (K2) publishes the section; pairs with (K1)
}

/// Afterwards `r` will not wake `w`, unless its end has claimed it already. The caller refers to `r`.
void unhook(record& r, waiter& w) noexcept;

/// queued -> begun, by whoever is to run it or to stop it unrun. False if another was first. An orphan forgets its parent. `given_up` and `added` are bits that change in the same step: the caller's queue reference, the mark of a
/// task unrun.
[[nodiscard]] inline bool try_begin(record& r, state_bits given_up = 0, state_bits added = 0) noexcept {
  auto s = r.state_.load(std::memory_order_relaxed);
  for (;;) {
    if ((s & record_state::begun) != 0) return false;
    auto const begun = (s | record_state::begun | added) & ~given_up;
    // (B1) acq_rel: sees what the starter put into the record; pairs with its publication through deque or inbox.
    if (r.state_.compare_exchange_weak(s, begun, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      if ((s & record_state::orphan) != 0) r.parent_ = nullptr;
      return true;
    }
  }
}

inline void destroy_if_unreferenced(record& r, state_bits now) noexcept {
  if (unreferenced(now)) destroy(r);
}

/// Makes `parent` know of one child more that has begun nowhere yet. By the parent's own flow of control.
inline void adopt_child(record& child, record* parent) noexcept {
  child.parent_ = parent;
  if (parent != nullptr) ++parent->unresolved_children_;
}
/// The child begins in place, on the stack of its parent, which cannot end before it. By the parent's own flow.
inline void begin_nested(record& child) noexcept {
  child.nested_ = true;
  if (child.parent_ != nullptr) --child.parent_->unresolved_children_;
}

/// (S2) seq_cst: a child enters the list before it shows a waiter, and who waits for the parent looks at the list after it has
/// shown its own. The look needs no lock as long as it finds nobody.
inline void write_link(record*& link, record* to) noexcept { std::atomic_ref{link}.store(to, std::memory_order_seq_cst); }  // (S2)
[[nodiscard]] inline bool has_linked_children(record& r) noexcept {
  return std::atomic_ref{r.children_}.load(std::memory_order_seq_cst) != nullptr;  // (S2)
}

/// Whether `r` is `innermost`, or beneath it: tasks that run in place lie on the stack of another one's, which goes on when
/// they have ended. By the flow of `innermost`, or while that waits.
[[nodiscard]] inline bool runs_on_stack_of(record const* innermost, record const& r) noexcept {
  for (; innermost != nullptr; innermost = innermost->nested_ ? innermost->parent_ : nullptr)
    if (innermost == &r) return true;
  return false;
}

}  // namespace errand::detail
