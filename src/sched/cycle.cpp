// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/cycle.hpp"

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "task/inputs.hpp"
#include "task/place.hpp"
#include "task/rare_fields.hpp"
#include "task/references.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/errors.hpp>

#include <array>
#include <mutex>
#include <span>
#include <string>

namespace errand::detail {

namespace {

// Held by a search: one at a time.
constinit small_lock searching_guard{};
// (X1) seq_cst: set before the search looks at whom a task waits for; let_searches_leave() looks at it after the task has
// taken its wait back (S2). So a search that has seen the wait is seen by the task.
constinit std::atomic<bool> searching{false};

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  static_cast<void>(searching_guard.break_open());
  searching.store(false, std::memory_order_relaxed);
}};

// Follows what a task waits for, and what that waits for in turn, until it comes back to the task.
class search final : input_visitor {
 public:
  // Longer cycles are not found: to follow so many waits takes some ten microseconds, and one search is made at a time.
  static constexpr std::size_t most = 1024;

  explicit search(record& self) noexcept : self_{self} {}
  search(search const&) = delete;
  search& operator=(search const&) = delete;
  ~search() {
    searching.store(
        false, std::memory_order_release);  // (X1) a record that goes with our pin may be the last that keeps a queue
    for (std::size_t i = 0; i < found_; ++i)
      if (pinned_[i]) unpin(*all_[i]);
  }

  /// Whether `awaited` cannot end before the task that asks. Whoever waits for it has its handle.
  [[nodiscard]] bool leads_back(record& awaited) noexcept {
    auto known = look_at(awaited);
    while (depth_ != 0) {
      step& s = steps_[depth_ - 1];
      // All end only with the last of what they wait for: one way back is enough. But when_any() ends with the first: each
      // has to lead back.
      bool const decided = known == (s.any ? ends::perhaps : ends::never);
      if (!decided && s.next != s.last) {
        known = look_at(*all_[s.next++]);
      } else {
        if (known != ends::never) length_ = s.length;
        --depth_;
      }
    }
    return known == ends::never;
  }
  /// A time limit, a token given from outside, a stop that is on its way: of any of them, or of a task above.
  [[nodiscard]] bool may_be_stopped_by_others() const noexcept {
    if (stopped_by_others(self_)) return true;
    for (record* const r : std::span{way_.data(), length_})
      if (stopped_by_others(*r)) return true;
    return false;
  }

  [[nodiscard]] std::exception_ptr error() const noexcept {
    try {
      std::string text = "a cycle of waits: " + describe(self_) + " would wait for ";
      for (std::size_t i = 0; i < length_; ++i) {
        if (i != 0) text += ", which waits for ";
        text += described(*way_[i]);
      }
      throw deadlock{text};
    } catch (...) {
      return std::current_exception();  // std::bad_alloc if there is no room for the words
    }
  }

  // With the queue in which it has to have its turn.
  static std::string described(record& r) {
    queue_gate* const in = queue_of(r);
    if (in == nullptr) return describe(r);
    bool const is_task = r.from_.line() != 0 || r.rare_.load(std::memory_order_acquire) != nullptr;  // (F1)
    return (is_task ? describe(r) : std::string{"a turn"}) + " in the " + in->described();
  }

 private:
  enum class ends : std::uint8_t { perhaps, never, as_those_it_waits_for };

  // A record on the way, and which of all_ it waits for.
  struct step {
    std::size_t length;  // of the way before it
    std::size_t next;    // to be looked at
    std::size_t last;
    bool any;
  };

  // The way is kept for the message; all that were found stay pinned to the end.
  ends look_at(record& r) noexcept {
    if (length_ == most) return ends::perhaps;
    auto const length = length_;
    way_[length_++] = &r;
    if (runs_on_stack_of(&self_, r)) return ends::never;
    auto const first = found_;
    ends_with_first_ = false;
    if (!add_what_it_waits_for(r)) {
      length_ = length;
      return ends::perhaps;
    }
    steps_[depth_++] = {length, first, found_, ends_with_first_};
    return ends::as_those_it_waits_for;
  }

  // False if something may go on.
  bool add_what_it_waits_for(record& r) noexcept {
    auto const s = r.state_.load(std::memory_order_acquire);  // (B1)
    // One that was stopped unrun may still stand in a queue's list, and then shows a link there; it is about to be done.
    if ((s & (record_state::done | record_state::unrun)) != 0) return false;
    if ((s & record_state::begun) == 0) return add_holder(queue_of(r));
    // A coroutine has to come back there. A plain item has not: it is there.
    if (!r.stands_for_others_ && add_holder(queue_of(r), &r)) return true;
    if (r.stands_for_others_) {
      auto const before = found_;
      one_goes_on_ = false;
      visit_inputs(r, *this);
      if (found_ != before) return !(ends_with_first_ && one_goes_on_);
      if (one_goes_on_) return false;
    }  // else the last one has ended; a link runs then, like any task
    auto const shown = r.interrupt_.load(std::memory_order_seq_cst);  // (S2) after (X1)
    if (shown == shown_as::nothing) return add_nested_child(r);
    if ((shown & (shown_as::parked | shown_as::coroutine)) == 0) return false;
    record* const awaits = (shown & shown_as::coroutine) != 0
                               ? reinterpret_cast<record*>(shown - shown_as::coroutine)
                               : reinterpret_cast<parked_waiter*>(shown - shown_as::parked)->awaits;
    return awaits != nullptr && add(*awaits, false);
  }

  // What has to have its turn in a queue waits for the task that keeps that, or one of its targets, while it waits itself.
  bool add_holder(queue_gate* in, record const* unless_it_holds = nullptr) noexcept {
    for (; in != nullptr; in = in->target()) {
      record* const holder = in->holder.load(std::memory_order_seq_cst);  // (X2) after (X1)
      if (holder == nullptr) continue;
      if (unless_it_holds != nullptr && runs_on_stack_of(holder, *unless_it_holds)) return false;
      return add(*holder, false);
    }
    return false;
  }

  // A task that runs another one on its own stack goes on when that one does. That one stands first among its children, if
  // it has ever waited.
  bool add_nested_child(record& r) noexcept {
    if (!has_linked_children(r)) return false;
    lock_record(r);
    record* const first = r.children_;
    bool const there = first != nullptr && first->nested_ && add(*first, true);
    unlock_record(r);
    return there;
  }

  bool visit(record& input) noexcept override {
    if ((input.state_.load(std::memory_order_relaxed) & record_state::begun) != 0 || queue_of(input) != nullptr)
      return add(input, true);
    one_goes_on_ = true;
    return ++unbegun_ < most;
  }

  void ends_with_first() noexcept override { ends_with_first_ = true; }

  bool add(record& r, bool to_pin) noexcept {
    if (found_ == most) {
      one_goes_on_ = true;  // for all we know
      return false;
    }
    if (to_pin) pin(r);
    all_[found_] = &r;
    pinned_[found_++] = to_pin;
    return true;
  }

  // Upwards lock by lock, as link_to_ancestors() does: nothing ends while its lock is held, and nothing goes before its
  // children have ended.
  static bool stopped_by_others(record& from) noexcept {
    record* r = &from;
    lock_record(*r);
    for (;;) {
      auto const* const rare = r->rare_.load(std::memory_order_acquire);  // (F1)
      auto const s = r->state_.load(std::memory_order_relaxed);
      bool const ended = (s & record_state::done) != 0;
      // A wait that could be seen ends with a stop; that of a task asked already is just being ended.
      bool const by_others =
          (s & (record_state::done | record_state::stop)) != 0 || (rare != nullptr && rare->stopped_by_others);
      bool const on_its_own = (s & record_state::detached) != 0;
      record* const parent = on_its_own ? nullptr : r->parent_;
      bool const go_up = !by_others && parent != nullptr;
      if (go_up) lock_record(*parent);
      unlock_record(*r);
      // That one above has ended says nothing about those below; that the one we asked for has, everything.
      if (!go_up) return by_others && (!ended || r == &from);
      r = parent;
    }
  }

  record& self_;
  bool ends_with_first_ = false;  // of the record whose inputs were just visited,
  bool one_goes_on_ = false;      // and one of these
  std::size_t unbegun_ = 0;       // inputs that were looked at for nothing
  std::size_t found_ = 0;
  std::size_t length_ = 0;
  std::size_t depth_ = 0;
  // Under the guard, and not on the stack: that may be a fiber's.
  static inline std::array<record*, most> all_;
  static inline std::array<record*, most> way_;
  static inline std::array<step, most> steps_;
  static inline std::array<bool, most> pinned_;
};

// Nobody finds the wait any more. Its owner still takes it back.
void hide(wait_request& q) noexcept {
  if ((q.shown & shown_as::parked) != 0) {
    reinterpret_cast<parked_waiter*>(q.shown - shown_as::parked)->awaits = nullptr;
  } else {
    auto expected = q.shown;  // unless a stopper has it
    q.self->interrupt_.compare_exchange_strong(expected, shown_as::coroutine, std::memory_order_relaxed);
  }
}

// Apart, because it is rare.
[[gnu::noinline]] bool refuse_after_search(waiter& w, wait_request& q) noexcept {
  std::lock_guard const held{searching_guard};
  searching.store(true, std::memory_order_seq_cst);  // (X1)
  bool refused = false;
  {
    search all{*q.self};
    if (all.leads_back(*q.awaited) && !all.may_be_stopped_by_others() && claim(w, claimant::itself)) {
      q.deadlock = all.error();
      hide(q);  // before the guard opens: who closes the same cycle at this moment must find it open
      refused = true;
    }
  }
  return refused;
}

// Who closes a cycle is waited for already, itself or one beneath it on its stack.
[[gnu::noinline]] bool is_awaited(record& self) noexcept {
  for (record* r = &self; r != nullptr; r = r->nested_ ? r->parent_ : nullptr) {
    auto const s = r->state_.load(std::memory_order_seq_cst);  // (H1)
    if ((s & record_state::member) != 0) return true;
    if ((s & record_state::hooked) == 0) continue;
    lock_record(*r);  // it may have only children
    bool const has_waiters = r->waiters_ != nullptr;
    unlock_record(*r);
    if (has_waiters) return true;
  }
  return false;
}

}  // namespace

bool refuse_if_cycle(waiter& w, wait_request& q) noexcept {
  record& awaited = *q.awaited;
  // Nearly always it has not begun, and waits in no queue; or runs and has no child that could run on its stack.
  bool const begun = (awaited.state_.load(std::memory_order_relaxed) & record_state::begun) != 0;
  bool const may_wait = begun ? awaited.stands_for_others_ || has_linked_children(awaited) ||
                                    queue_of(awaited) != nullptr ||
                                    awaited.interrupt_.load(std::memory_order_seq_cst) != shown_as::nothing  // (S2)
                              : queue_of(awaited) != nullptr;
  return may_wait && (q.holds_queues || is_awaited(*q.self)) && refuse_after_search(w, q);
}

void let_searches_leave() noexcept {
  if (!searching.load(std::memory_order_seq_cst)) return;  // (X1) after (S2)
  std::lock_guard const until_it_has{searching_guard};
}

}  // namespace errand::detail
