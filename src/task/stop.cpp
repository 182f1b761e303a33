// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "task/stop.hpp"

#include "task/anchor.hpp"
#include "task/rare_fields.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/future.hpp>

namespace errand::detail {

void rare_fields::forward_stop::operator()() const noexcept { stop_record(*to, false); }

namespace {

// Of a record that is known to have them: it stands in a list of children, or did.
rare_fields& rare_of(record& r) noexcept { return *r.rare_.load(std::memory_order_acquire); }  // (F1)

waiter* shown_waiter(record& r, std::uintptr_t shown) noexcept {
  if ((shown & shown_as::coroutine) != 0)
    return std::launder(reinterpret_cast<waiter*>(reinterpret_cast<std::byte*>(&r) - room_of_flow));
  if ((shown & shown_as::parked) != 0) return reinterpret_cast<parked_waiter*>(shown - shown_as::parked);
  return reinterpret_cast<waiter*>(shown);
}

// Wakes the task if it waits at a point of cancellation.
void interrupt(record& r) noexcept {
  // (S2) seq_cst: after the stop bit. Either the task sees the bit when it arms, or we see its waiter; pairs with (S2) there.
  auto const shown = r.interrupt_.exchange(shown_as::nothing, std::memory_order_seq_cst);
  if (shown == shown_as::nothing) return;
  waiter* const w = shown_waiter(r, shown);
  if (claim(*w, claimant::stop))
    w->wake(w);
  else
    w->stopper_left.store(true, std::memory_order_release);  // (W2) last touch
}

// Tells one task that carries the stop bit already; adds the children that did not to the list of whom to tell.
void tell(record& r, record*& to_tell) noexcept {
  std::optional<std::stop_source> source;
  lock_record(r);
  if (auto* const rare = r.rare_.load(std::memory_order_acquire); rare != nullptr) source = rare->source;  // (F1)
  for (record* child = r.children_; child != nullptr; child = rare_of(*child).next_sibling) {
    if ((child->state_.load(std::memory_order_relaxed) & record_state::detached) != 0) continue;
    // (S1) as in stop_record(). The child is alive: it leaves this list under our lock before it ends.
    auto const before = child->state_.fetch_or(record_state::stop, std::memory_order_seq_cst);
    if ((before & record_state::stop) != 0) continue;
    pin(*child);
    rare_of(*child).next_to_stop = to_tell;
    to_tell = child;
  }
  unlock_record(r);
  if (source) {
    // The destructor of a std::stop_callback tells by the thread whether it is called from within the callback. So a callback
    // must not park: what runs on this thread meanwhile might be that destructor.
    ++this_thread().calling_back;
    source->request_stop();
    --this_thread().calling_back;
  }
  interrupt(r);
  if (!r.stands_for_others_) return;
  // Those whom it tells in turn join our list instead of a deeper stack.
  record** const outer = std::exchange(this_thread().told, &to_tell);
  r.act_(&r, record_verb::stop);
  this_thread().told = outer;
}

void tell_all(record& first) noexcept {
  pin(first);
  if (record** const told = this_thread().told; told != nullptr) {
    rare_fields_of(first).next_to_stop = std::exchange(*told, &first);
    return;
  }
  record* to_tell = nullptr;
  record* next = &first;
  while (next != nullptr) {
    tell(*next, to_tell);
    unpin(*next);
    next = to_tell;
    if (next != nullptr) to_tell = rare_of(*next).next_to_stop;
  }
}

// Who waits for the group can destroy what the member captured. The anchor stays as long as the member has not ended, and under its
// lock it does not.
void tell_anchor(record& member) noexcept {
  lock_record(member);
  if ((member.state_.load(std::memory_order_relaxed) & (record_state::begun | record_state::done)) == 0)
    static_cast<anchor*>(member.parent_)->member_expired();
  unlock_record(member);
}

}  // namespace

void stop_record(record& r, bool by_deadline) noexcept {
  if (r.inherited()) return;
  auto const bits = record_state::stop | (by_deadline ? record_state::expired : state_bits{0});
  auto before = r.state_.load(std::memory_order_relaxed);
  do {
    if ((before & (record_state::stop | record_state::done)) != 0) return;  // the first reason counts
    // (S1) seq_cst: the bit before interrupt()'s look at who waits; pairs with (S1) in arm_interrupt().
  } while (!r.state_.compare_exchange_weak(before, before | bits, std::memory_order_seq_cst, std::memory_order_relaxed));

  // The timekeeper must not destroy what a task captured that holds itself: a worker will find the stop bit.
  bool const leave_to_worker = by_deadline && (before & (record_state::detached | record_state::member)) != 0;
  // One that has not begun waits for nothing yet, and has told nobody to stop it.
  if (leave_to_worker && (before & record_state::begun) == 0) {
    if ((before & record_state::member) != 0) tell_anchor(r);
    return;
  }
  if (leave_to_worker || !stop_unbegun(r)) tell_all(r);
}

bool stop_unbegun(record& r) noexcept {
  if (!try_begin(r, 0, record_state::unrun)) return false;
  r.stopped_ = true;  // what it captured goes with the handle
  complete(r);
  return true;
}

void request_stop(record& r) noexcept { stop_record(r, false); }

void throw_stop() {
  if (std::uncaught_exceptions() == 0) throw operation_cancelled{};
}

bool arm_interrupt(record& self, std::uintptr_t shown) noexcept {
  self.interrupt_.store(shown, std::memory_order_seq_cst);  // (S2) before the look at the stop bit
  return (self.state_.load(std::memory_order_seq_cst) & record_state::stop) == 0;  // (S1)
}

void disarm_interrupt(record& self, waiter& w) noexcept {
  if (self.interrupt_.exchange(shown_as::nothing, std::memory_order_seq_cst) != shown_as::nothing) return;  // (S2)
  // A stopper has taken it. If it was not the one who woke us, it is about to find that out: wait until it has let go.
  if (static_cast<claimant>(w.claimed_by.load(std::memory_order_acquire)) == claimant::stop) return;  // (W1)
  while (!w.stopper_left.load(std::memory_order_acquire)) cpu_relax();  // (W2)
}

void link_to_ancestors(record& self) noexcept {
  record* child = &self;
  record* locked = nullptr;      // `child`, from the second round on: it cannot end while we hold its lock
  record* to_tell = nullptr;     // the topmost one that has to hear of a stop from above
  for (;;) {
    record* const parent = child->parent_;
    auto const s = child->state_.load(std::memory_order_relaxed);
    if (parent == nullptr || (s & (record_state::kin | record_state::detached)) != 0) break;
    auto& rare = rare_fields_of(*child);
    lock_record(*parent);
    bool const ended = (parent->state_.load(std::memory_order_relaxed) & record_state::done) != 0;
    // Look again under the parent's lock: another child's flow may be linking the same record on its way up.
    bool const linked = (child->state_.load(std::memory_order_relaxed) & record_state::kin) != 0;
    if (!ended && !linked) {
      // The one that runs on the parent's own stack stands first, where a search for cycles looks for it.
      record** const place = !child->nested_ && parent->children_ != nullptr && parent->children_->nested_
                                 ? &rare_of(*parent->children_).next_sibling
                                 : &parent->children_;
      rare.next_sibling = *place;
      rare.link_to_self = place;
      if (*place != nullptr) rare_of(**place).link_to_self = &rare.next_sibling;
      write_link(*place, child);
      parent->state_.fetch_or(record_state::hooked, std::memory_order_relaxed);
    }
    child->state_.fetch_or(record_state::kin, std::memory_order_relaxed);
    bool const stopped = !ended && (parent->state_.load(std::memory_order_relaxed) & record_state::stop) != 0;
    if (stopped && (child->state_.fetch_or(record_state::stop, std::memory_order_seq_cst) & record_state::stop) == 0) {  // (S1)
      if (to_tell != nullptr) unpin(*to_tell);
      to_tell = child;
      pin(*child);
    }
    if (locked != nullptr) unlock_record(*locked);
    locked = parent;
    if (ended) break;
    child = parent;
  }
  if (locked != nullptr) unlock_record(*locked);
  if (to_tell != nullptr) {
    tell_all(*to_tell);
    unpin(*to_tell);
  }
}

void unlink_from_parent(record& self) noexcept {
  record& parent = *self.parent_;
  lock_record(parent);
  if ((parent.state_.load(std::memory_order_relaxed) & record_state::done) == 0) {
    auto& rare = rare_of(self);
    write_link(*rare.link_to_self, rare.next_sibling);
    if (rare.next_sibling != nullptr) rare_of(*rare.next_sibling).link_to_self = rare.link_to_self;
  }
  unlock_record(parent);
}

std::stop_token stop_token_of(record& r) {
  auto& rare = rare_fields_of(r);
  if (!rare.source) {
    link_to_ancestors(r);
    std::stop_source made;
    lock_record(r);
    rare.source = made;
    bool const stopped = (r.state_.load(std::memory_order_relaxed) & record_state::stop) != 0;
    unlock_record(r);
    if (stopped) made.request_stop();
  }
  auto token = rare.source->get_token();
  bool const stopped = (r.state_.load(std::memory_order_acquire) & record_state::stop) != 0;  // (S1)
  if (!stopped || token.stop_requested()) return token;
  // Its stopper has not come to the source yet, and runs callbacks there. Ours is not to wait for them.
  std::stop_source said_so_already;
  said_so_already.request_stop();
  return said_so_already.get_token();
}

}  // namespace errand::detail
