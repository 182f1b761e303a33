// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "queue/queue_core.hpp"

#include "base/check.hpp"
#include "sched/cycle.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/wait.hpp"
#include "task/references.hpp"
#include "task/settle.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/queue.hpp>

#include <mutex>
#include <optional>
#include <utility>

namespace errand::detail {

namespace {

// So many items, then others have their turn: a queue's are mostly small, and to go to the end of the line costs one push.
constexpr unsigned batch = 64;

class marked {
 public:
  explicit marked(stack_mark& mark) noexcept : mark_{mark} {
    mark.outer = this_thread().mark;
    this_thread().mark = &mark;
  }
  ~marked() { this_thread().mark = mark_.outer; }
  marked(marked const&) = delete;
  marked& operator=(marked const&) = delete;

 private:
  stack_mark& mark_;
};

}  // namespace

void run_entry(runnable* x) noexcept {
  queue_core& queue = *static_cast<queue_entry*>(x)->queue;
  static_cast<void>(queue.run_some());  // it may be gone
  worker* const w = this_thread().as_worker;
  if (w == nullptr)
    fatal("an item of a queue returned in the child of a fork that it made; there it may only exec or _exit");
  w->count_ended();
}

void never_run(runnable*) noexcept { fatal("a turn in a queue was taken for a task"); }

queue_core::queue_core(queue_shape const& shape, queue_core* target, pool_core& pool)
    : queue_gate{target, shape.serial},
      width_{shape.width != 0 && shape.width < one_suspension ? shape.width
                                                              : static_cast<unsigned>(one_suspension - 1)},
      refuses_{shape.refuses},
      pool_{pool},
      driver_{shape.driver != nullptr ? shape.driver : target != nullptr ? target->driver_ : nullptr},
      bound_{shape.bound},
      from_{shape.from},
      name_{shape.name} {
  entry_.run = &run_entry;
  entry_.queue = this;
  if (shape.driver != nullptr) shape.driver->attach(*this);
  if (target != nullptr) target->add_reference();
}

queue_core::~queue_core() {
  while (locals_ != nullptr) {
    local* const l = std::exchange(locals_, locals_->next);
    l->destroy(l->value);
    delete l;
  }
}

// ---- its life: README.md, "How long it is there" ----------------------------------------------------------------------------

// The word is 0: nobody refers to it, holds it, or is on the way to it.
void queue_core::destroy() noexcept {
  let_searches_leave();
  for (queue_core* gone = this; gone != nullptr;) {
    queue_core* const target = gone->target_queue();
    if (target == nullptr && gone->driver_ != nullptr) gone->driver_->gone();
    {
      std::optional<pause_of_settling> apart;
      if (is_settling()) apart.emplace();  // the values are the user's
      delete gone;
    }
    gone = target != nullptr && target->let_go() ? target : nullptr;
  }
}

// There are no references and no loans, so there will be none.
void queue_core::close() noexcept {
  // (Q6) acq_rel: what each did with the queue happens before its end; pairs with (Q3).
  if (word_.fetch_and(~open, std::memory_order_acq_rel) == open) destroy();
}

void queue_core::add_reference() noexcept {
  if (inherited()) return;
  std::lock_guard const held_lock{guard_};
  if (references_++ != 0) return;
  // Only loans have kept it. (Q6)
  returned_.fetch_add(with_references + lent_.load(std::memory_order_relaxed), std::memory_order_acq_rel);
}

void queue_core::drop_reference() noexcept {
  if (let_go()) destroy();
}

// One reference less. True: the caller is to destroy it.
bool queue_core::let_go() noexcept {
  if (inherited()) return false;
  guard_.lock();
  bool last = false;
  if (--references_ == 0) {
    // From now on nobody gives it items by a handle: lent_ stands still.
    auto const less = with_references + lent_.load(std::memory_order_relaxed);
    last = returned_.fetch_sub(less, std::memory_order_acq_rel) == less;  // (Q6)
  }
  guard_.unlock();
  // (Q6) acq_rel, as in close().
  return last && word_.fetch_and(~open, std::memory_order_acq_rel) == open;
}

void queue_core::lend() noexcept { returned_.fetch_sub(1, std::memory_order_relaxed); }

void queue_core::give_back() noexcept {
  if (inherited()) return;
  if (returned_.fetch_add(1, std::memory_order_acq_rel) != -1) return;  // (Q6)
  guard_.lock();  // whoever dropped the last reference may still be in there
  guard_.unlock();
  close();
}

// ---- giving -------------------------------------------------------------------------------------------------------------

void queue_core::push_linked(runnable& x) noexcept {
  if (driver_ != nullptr) [[unlikely]]
    return push_to_driven(x);
  push_and_schedule(x);
}

// The driver stays until it is told that this is over, though the item may have run, and its queue have no handle, before.
[[gnu::noinline]] void queue_core::push_to_driven(runnable& x) noexcept {
  queue_driver& driver = *driver_;
  driver.push_begins();
  push_and_schedule(x);
  driver.push_is_over();
}

void queue_core::push_and_schedule(runnable& x) noexcept {
  auto before = word_.load(std::memory_order_relaxed);
  std::uint64_t after;
  do {
    link_item(x, newest(before));
    after = reinterpret_cast<std::uint64_t>(&x) | (before & bits);
    if ((before & (held | entry)) == 0) after |= entry;
    // (Q1) release: the item as made; pairs with (Q2). From now on it may run and be gone.
  } while (!word_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((before & (held | entry)) == 0) schedule();
}

// Written once: who holds the queue reads it for each item.
void queue_core::look_out_for_priorities(record const& r) noexcept {
  lane const l = r.home_->items_lane();
  if ((l == lane::high || l == lane::low) && !prioritised_.load(std::memory_order_relaxed))
    prioritised_.store(true, std::memory_order_relaxed);
}

void queue_core::push(record& r) noexcept {
  unbegun_item::enter(r);
  look_out_for_priorities(r);
  push_linked(r);
}

void queue_core::push_lent(record& r) noexcept {
  others_.fetch_add(1, std::memory_order_relaxed);
  if (!comes_back(r)) unbegun_item::enter(r);
  look_out_for_priorities(r);
  push_linked(r);
}

// By whoever has set `entry`.
void queue_core::schedule(bool last) noexcept {
  if (queue_core* const target = target_queue(); target != nullptr) return target->push_linked(entry_);
  if (driver_ != nullptr && driver_->scheduled()) return;
  worker* const w = this_thread().as_worker;
  if (last || w == nullptr || &w->home() != &pool_) return pool_.push_from_outside(entry_, 1);
  w->count_started();
  pool_.notify(w->work().push(&entry_));
}

// ---- control: suspensions, slots, barriers ------------------------------------------------------------------------------------

need queue_core::needed_by(runnable& x) const noexcept {
  if (serial()) return need::the_hold;
  return lane_of(x) == lane::barrier ? need::all : need::a_slot;
}

bool queue_core::forbids(std::uint64_t c, need what) const noexcept {
  if (suspensions(c) != 0) return true;
  switch (what) {
    case need::the_hold:
      return false;
    case need::a_slot:
      return (c & barrier) != 0 || slots(c) >= width_;
    case need::all:
      return (c & barrier) != 0 || slots(c) != 0;
  }
  return false;
}

bool queue_core::try_take(need what) noexcept {
  auto c = control_.load(std::memory_order_acquire);  // (Q4)
  for (;;) {
    if (forbids(c, what)) return false;
    if (what == need::the_hold) return true;
    auto const after = what == need::a_slot ? c + one_slot : c | barrier;
    // (Q4) acq_rel: what those before did in the queue; pairs with the exchanges that give back.
    if (control_.compare_exchange_weak(c, after, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
  }
}

void queue_core::give_slot_back() noexcept {
  auto c = control_.load(std::memory_order_relaxed);
  std::uint64_t after;
  bool woken;
  do {
    after = c - one_slot;
    woken = (c & stalled_for_slot) != 0 || ((c & stalled_for_all) != 0 && slots(after) == 0);
    if (woken) after &= ~(stalled_for_slot | stalled_for_all);
  } while (!control_.compare_exchange_weak(c, after, std::memory_order_acq_rel, std::memory_order_relaxed));  // (Q4)
  if (woken) schedule();
}

// Nobody can have stalled for it: who runs as a barrier holds the queue.
void queue_core::give_all_back() noexcept { control_.fetch_and(~barrier, std::memory_order_acq_rel); }  // (Q4)

void queue_core::suspend() noexcept {
  add_reference();
  control_.fetch_add(one_suspension, std::memory_order_acq_rel);  // (Q4)
}

void queue_core::resume() noexcept {
  if (inherited()) return;
  auto c = control_.load(std::memory_order_relaxed);
  std::uint64_t after;
  bool woken;
  do {
    after = c - one_suspension;
    woken = suspensions(after) == 0 && (c & stalled_by_suspension) != 0;
    if (woken) after &= ~stalled_by_suspension;
  } while (!control_.compare_exchange_weak(c, after, std::memory_order_acq_rel, std::memory_order_relaxed));  // (Q4)
  if (woken) schedule();
  // Where the entry lay with the driver all the time, its thread may wait for one of these items.
  if (driver_ != nullptr && suspensions(after) == 0) {
    driver_->push_begins();
    driver_->push_is_over();
  }
  drop_reference();
}

// ---- taking and leaving ------------------------------------------------------------------------------------------------

// (Q2) By who has the entry, or by another. False: somebody else holds the queue, and looks as he leaves.
bool queue_core::take_hold(bool with_entry) noexcept {
  auto before = word_.load(std::memory_order_relaxed);
  std::uint64_t after;
  do {
    auto const stays = with_entry ? before & ~entry : before;
    if ((before & held) != 0) {
      if (!with_entry) return false;
      after = stays;
    } else {
      after = (stays & bits) | held;
    }
    // (Q2) acquire: the items as made, and all that was done under the hold before; pairs with (Q1), (Q3).
  } while (!word_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((before & held) != 0) return false;
  ready_.append_newest_first(newest(before));
  return true;
}

void queue_core::take_more() noexcept {
  auto before = word_.load(std::memory_order_relaxed);
  do {
    if (newest(before) == nullptr) return;
    // (Q2) acquire: the items as made.
  } while (!word_.compare_exchange_weak(before, before & bits, std::memory_order_acq_rel, std::memory_order_relaxed));
  ready_.append_newest_first(newest(before));
}

// (Q3) With nothing in ready_. False if there is more: then it is taken.
bool queue_core::leave_if_empty() noexcept {
  auto before = word_.load(std::memory_order_relaxed);
  do {
    if (newest(before) != nullptr) {
      take_more();
      return false;
    }
    // (Q3) release: all that was done under the hold; pairs with (Q2), and with (Q6) where it was the last.
  } while (!word_.compare_exchange_weak(before, before & ~held, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((before & ~held) == 0) destroy();
  return true;
}

// (Q3) `last`: at the end of the pool's inbox, behind others.
void queue_core::leave(bool last) noexcept {
  bool const more = !ready_.empty();
  auto before = word_.load(std::memory_order_relaxed);
  std::uint64_t after;
  bool to_schedule;
  do {
    bool const something = more || newest(before) != nullptr;
    to_schedule = something && (before & entry) == 0;
    after = (before & ~held) | (to_schedule ? entry : 0);
  } while (!word_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_relaxed));  // (Q3)
  if (to_schedule) return schedule(last);
  if (after == 0) destroy();
}

// (Q4) The hold is given up with the promise to come, and only then is it seen who keeps it.
void queue_core::stall(need what) noexcept {
  auto before = word_.load(std::memory_order_relaxed);
  std::uint64_t after;
  do {
    after = (before & ~held) | entry;
  } while (!word_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_relaxed));  // (Q3)
  if ((before & entry) != 0) return;                  // somebody else has promised
  auto c = control_.load(std::memory_order_acquire);  // (Q4)
  for (;;) {
    if (!forbids(c, what)) return schedule();
    auto const mark = suspensions(c) != 0 ? stalled_by_suspension
                      : what == need::all ? stalled_for_all
                                          : stalled_for_slot;
    // (Q4) acq_rel: of what forbids; who lifts that sees the mark.
    if (control_.compare_exchange_weak(c, c | mark, std::memory_order_acq_rel, std::memory_order_acquire)) return;
  }
}

// ---- running -----------------------------------------------------------------------------------------------------------

bool queue_core::others_wait() const noexcept {
  if (target() != nullptr) return true;
  worker const* const w = this_thread().as_worker;
  return w != nullptr && (!w->work().seems_empty() || !w->home().arrivals().seems_empty());
}

left queue_core::run_some() noexcept {
  if (!take_hold(true)) return left::to_others;
  stack_mark mark;
  mark.queue = this;
  marked const while_it_runs{mark};
  return run_in_turn(mark);
}

left queue_core::run_in_turn(stack_mark& mark) noexcept {
  for (unsigned count = 0;; ++count) {
    if (prioritised_.load(std::memory_order_relaxed)) take_more();
    runnable* const x = ready_.front();
    if (x == nullptr) {
      if (leave_if_empty()) return left::to_others;
      continue;
    }
    if (count >= batch && others_wait()) {
      leave(true);
      return left::to_others;
    }
    need const what = needed_by(*x);
    if (!try_take(what)) {
      stall(what);
      return left::to_others;
    }
    ready_.pop_front();
    if (what == need::a_slot) {
      if (is_turn(*x)) {
        auto& turn = static_cast<record&>(*x);
        count_begun();
        bool const from_target = target() != nullptr;  // which goes with it
        if (from_target) add_reference();
        if (from_target) leave();
        bool const used = hand_over(turn);
        if (!used) give_slot_back();
        if (from_target) drop_reference();
        if (from_target) return used ? left::to_a_caller : left::to_others;
        continue;
      }
      add_reference();  // a slot does not keep it
      leave();
      left const how = run_in_slot(*x);
      drop_reference();
      return how;
    }
    left const how = run_item(*x, mark);
    if (how == left::to_a_caller) return how;
    if (what == need::all) give_all_back();
  }
}

left queue_core::run_in_slot(runnable& first) noexcept {
  stack_mark mark;
  mark.queue = this;
  left how = left::to_others;
  {
    marked const while_it_runs{mark};
    unsigned count = 0;
    for (runnable* x = &first; x != nullptr && how == left::to_others;) {
      how = run_item(*x, mark);
      bool const goes_on = how == left::to_others && (++count < batch || !others_wait());
      x = goes_on ? next_for_slot() : nullptr;
    }
  }
  if (how == left::to_others) give_slot_back();
  return how;
}

// The next item for who has a slot and would give it back; null if somebody else chooses just now, or it is not for a slot alone.
runnable* queue_core::next_for_slot() noexcept {
  auto const word = word_.load(std::memory_order_relaxed);
  bool const something = (word & entry) != 0 || newest(word) != nullptr;
  if (!something || (word & held) != 0 || !take_hold(false)) return nullptr;
  runnable* const x = ready_.front();
  bool const ours = x != nullptr && !is_turn(*x) && needed_by(*x) == need::a_slot &&
                    suspensions(control_.load(std::memory_order_acquire)) == 0;  // (Q4)
  if (ours) ready_.pop_front();
  leave();  // it stays: the slot keeps it
  return ours ? x : nullptr;
}

void queue_core::count_begun() noexcept {
  if (serial() && bound_ == 0)
    return begun_.store(begun_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  begun_.fetch_add(1, std::memory_order_seq_cst);  // (Q7)
  let_one_in();
}

left queue_core::run_item(runnable& x, stack_mark& mark) noexcept {
  if (is_entry(x)) return static_cast<queue_entry&>(x).queue->run_some();
  auto& r = static_cast<record&>(x);
  count_begun();
  if (comes_back(r)) {
    mark.item = &r;
    r.run(&r);  // it may be gone
    mark.item = nullptr;
    return left::to_others;
  }
  if (is_turn(r)) return hand_over(r) ? left::to_a_caller : left::to_others;
  unbegun_item::leave(r);
  if (!try_begin(r, record_state::queued)) {
    release_queue_reference(r);  // stopped before
    return left::to_others;
  }
  mark.item = &r;
  bool const ended = run_begun(r);
  mark.item = nullptr;
  if (!ended) return left::to_others;
  if (r.inherited()) end_forked_child(r);
  complete(r);
  return left::to_others;
}

// (Q5) True: the caller of sync() has what we had.
bool queue_core::hand_over(record& turn) noexcept {
  unbegun_item::leave(turn);
  if (!try_begin(turn, record_state::queued)) {
    release_queue_reference(turn);  // its caller was stopped
    return false;
  }
  complete(turn);  // of the queue nothing is touched any more
  return true;
}

bool queue_core::run_up_to(record& turn) noexcept {
  if (target() != nullptr || !serial() || !take_hold(false)) return false;
  stack_mark mark;
  mark.queue = this;
  marked const while_it_runs{mark};
  for (;;) {
    if (prioritised_.load(std::memory_order_relaxed)) take_more();
    runnable* const x = ready_.front();
    if (x == nullptr) {
      if (leave_if_empty()) fatal("a turn was lost in a queue");
      continue;
    }
    if (!try_take(need::the_hold)) {
      stall(need::the_hold);
      return false;
    }
    if (x == &turn) {
      ready_.pop_front();
      count_begun();
      unbegun_item::leave(turn);
      static_cast<void>(try_begin(turn, record_state::queued));  // nobody else knows it
      return true;
    }
    // Nor is anything run here that could not suspend, or whose end is not near.
    bool const plain = !is_entry(*x) && !is_turn(*x) && !comes_back(static_cast<record&>(*x)) &&
                       !unbegun_item::is_apart(static_cast<record&>(*x));
    if (!plain) {
      if (is_entry(*x) || !is_turn(*x) || !hand_over_next()) leave();
      return false;
    }
    ready_.pop_front();
    static_cast<void>(run_item(*x, mark));
  }
}

// By who holds the queue: if a caller of sync() is next, it has the queue from now on.
bool queue_core::hand_over_next() noexcept {
  for (;;) {
    if (ready_.empty() || prioritised_.load(std::memory_order_relaxed)) take_more();
    runnable* const x = ready_.front();
    if (x == nullptr || is_entry(*x) || !is_turn(*x) || !try_take(need::the_hold)) return false;
    ready_.pop_front();
    count_begun();
    if (hand_over(static_cast<record&>(*x))) return true;
  }
}

// ---- sync ------------------------------------------------------------------------------------------------------------------

bool queue_core::enter_if_idle(need what) noexcept {
  if (!try_enter(what)) return false;
  if (what == need::a_slot)
    entered_.fetch_add(1, std::memory_order_relaxed);
  else
    entered_.store(entered_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return true;
}

bool queue_core::try_enter(need what) noexcept {
  if (what == need::a_slot) {
    // What another one pushes at this moment is a barrier that refuses the slot, or one that waits for it.
    if (word_.load(std::memory_order_acquire) != open || !try_take(need::a_slot)) return false;  // (Q3)
  } else {
    auto expected = open;
    // (Q2) acquire: all that was done under the hold before.
    if (!word_.compare_exchange_strong(expected, open | held, std::memory_order_acq_rel, std::memory_order_relaxed)) return false;
    if (!try_take(what)) {
      leave();
      return false;
    }
  }
  queue_core* const target = target_queue();
  if (target == nullptr || target->try_enter(target->serial() ? need::the_hold : need::a_slot)) return true;
  if (what == need::a_slot) {
    give_slot_back();
  } else {
    if (what == need::all) give_all_back();
    leave();
  }
  return false;
}

void queue_core::leave_all(need what) noexcept {
  queue_core* const target = target_queue();
  if (what == need::a_slot) {
    give_slot_back();
  } else {
    if (what == need::all) give_all_back();
    auto expected = open | held;
    // What was taken before we got here may be left.
    if (!ready_.empty() ||
        !word_.compare_exchange_strong(expected, open, std::memory_order_acq_rel, std::memory_order_relaxed)) {  // (Q3)
      if (serial() && hand_over_next()) return;
      leave();  // it may be gone
    }
  }
  if (target != nullptr) target->leave_all(target->serial() ? need::the_hold : need::a_slot);
}

// ---- bounds --------------------------------------------------------------------------------------------------------------

room_waiter::room_waiter(std::source_location from) noexcept
    : record{[](record*, record_verb) noexcept { return true; }, from} {
  state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
}

std::int64_t queue_core::waiting() const noexcept {
  // (Q7) seq_cst: after having entered the list, by who waits for room; pairs with (Q7) in let_one_in().
  auto const asked = lent_.load(std::memory_order_seq_cst) + others_.load(std::memory_order_seq_cst);  // (Q7)
  return asked - begun_.load(std::memory_order_seq_cst);                                               // (Q7)
}

void queue_core::reserve() {
  if (inherited()) [[unlikely]]
    require_own("errand::async()");
  if (bound_ == 0) {
    lent_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  for (;;) {
    auto lent = lent_.load(std::memory_order_relaxed);
    while (waiting() < static_cast<std::int64_t>(bound_))
      if (lent_.compare_exchange_weak(lent, lent + 1, std::memory_order_relaxed)) return;
    if (refuses_)
      throw queue_full{"the " + described() + " is full: " + std::to_string(bound_) +
                       (bound_ == 1 ? " item waits" : " items wait") + " in it, which is its bound"};
    refuse_to_wait_for_room_here();
    wait_for_room();
  }
}

// Who keeps it from going on would wait for ever.
void queue_core::refuse_to_wait_for_room_here() const {
  std::string const full = "; it is full, with " + std::to_string(bound_) + (bound_ == 1 ? " item" : " items");
  for (queue_core const* one = this; one != nullptr; one = one->target_queue())
    if (one->is_current() && (one == this || one->serial()))
      throw deadlock{"an item of the " + one->described() + " would wait for room in " +
                     (one == this ? "it" : "the " + described()) + full};
  if (driver_ != nullptr && driver_->is_here())
    throw deadlock{"the thread that serves the " + described() + " would wait for room in it" + full};
}

void queue_core::wait_for_room() {
  room_waiter w{from_};
  record* const self = cancellable_task();
  if (self != nullptr) throw_if_stopped(*self);
  auto const full = [this] { return waiting() >= static_cast<std::int64_t>(bound_); };
  auto const take_back = [this, &w] {
    std::lock_guard const held_lock{guard_};
    room_waiter** link = &waiting_for_room_;
    while (*link != nullptr && *link != &w) link = &(*link)->next;
    if (*link == nullptr) return false;
    *link = w.next;
    return true;
  };
  {
    std::lock_guard const held_lock{guard_};
    room_waiter** end = &waiting_for_room_;
    while (*end != nullptr) end = &(*end)->next;
    *end = &w;
    somebody_waits_for_room_.store(true, std::memory_order_seq_cst);  // (Q7)
  }
  if (!full() && take_back()) return;
  wait_request q;
  q.awaited = &w;
  q.self = self;
  block_or_sleep(q);
  if (w.done()) return;
  if (take_back()) {
    if (q.deadlock) std::rethrow_exception(q.deadlock);
    throw operation_cancelled{};
  }
  while (!w.done()) cpu_relax();  // it is being let in
}

// There is room for one more.
[[gnu::noinline]] void queue_core::let_one_in() noexcept {
  if (!somebody_waits_for_room_.load(std::memory_order_seq_cst)) return;  // (Q7)
  room_waiter* first;
  {
    std::lock_guard const held_lock{guard_};
    first = waiting_for_room_;
    if (first != nullptr) waiting_for_room_ = first->next;
    if (waiting_for_room_ == nullptr) somebody_waits_for_room_.store(false, std::memory_order_relaxed);
  }
  if (first != nullptr) complete(*first);
}

void queue_core::give_room_back() noexcept {
  lent_.fetch_sub(1, std::memory_order_seq_cst);  // (Q7)
  let_one_in();
}

}  // namespace errand::detail
