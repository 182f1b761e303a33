// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/worker.hpp"

#include "fiber/overflow.hpp"
#include "sched/affinity.hpp"
#include "sched/outside.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/threads.hpp"
#include "sched/wait.hpp"
#include "task/thread_state.hpp"

#include <algorithm>
#include <utility>

namespace errand::detail {

namespace {

// Each so many rounds the loop takes from the other end first, so that work that arrives late is not starved by work
// that keeps making more of itself. A prime, so that it falls in step with nothing; Go's scheduler uses the same.
constexpr std::uint32_t fairness = 61;
constexpr std::uint32_t patience = 2;       // times woken in vain before a worker naps instead of sleeping
constexpr int pauses_when_spared = 20;      // about a microsecond, in which the victim is left alone
constexpr int search_rounds = 400;          // about 20 us on the machines seen: less than putting a thread to sleep and waking it

}  // namespace

void worker::start(pool_core& home, unsigned index, bool spare) {
  home_ = &home;
  index_ = index;
  is_spare_ = spare;
  random_ = index * 2654435761U + 1;
  if (home.size() == 1 && !spare) work_.set_alone();
  if (home.pinned()) {
    only_ = index;
    mail_ = std::make_unique<inbox>();
  }
  keep_a_spare_loop();  // here, where who starts it can be told that there is no memory
  try {
    std::lock_guard const held{thread_guard_};
    thread_ = start_thread(home.thread_name(index), [this] { run_thread(); });
  } catch (...) {
    stacks_.release(std::exchange(spare_, nullptr));
    throw;
  }
}

void worker::join() {
  thread_guard_.lock();
  std::thread ending = std::move(thread_);
  thread_guard_.unlock();
  ending.join();
}

void worker::detach() {
  std::lock_guard const held{thread_guard_};
  thread_.detach();
}

void worker::hand_over() {
  thread_state& t = this_thread();
  t.as_worker = nullptr;
  // The tasks that run here never return, and a pool must not wait for them.
  for (record const* r = t.current; r != nullptr; r = r->nested_ ? r->parent_ : nullptr)
    if (r->home_ == home_ || (r->home_ != nullptr && r->home_->is_queue())) count_ended();  // a queue's entry counts as one
  keep_a_spare_loop();
  std::lock_guard const held{thread_guard_};
  thread_.detach();
  thread_ = start_thread(home_->thread_name(index_), [this] { run_thread(); });
}

// The first thing after every switch: before it, somebody might have gone on with a stack that was still being left.
inline void worker::complete_parking(void* left) noexcept {
  if (left == nullptr) {
    if (abandoned_ != nullptr) stacks_.release(std::exchange(abandoned_, nullptr));
  } else if (auto& f = *static_cast<parked_fiber*>(left); f.request != nullptr) {
    arm_parked(static_cast<fiber_waiter&>(f));
  } else {
    make_parked_ready(f);
  }
}

// Out of line: inlined, the registers that it needs would be saved by each who yields.
[[gnu::noinline]] void worker::arm_parked(fiber_waiter& f) noexcept {
  if (!arm(f, *f.request)) make_parked_ready(f);
}

inline void worker::make_parked_ready(parked_fiber& f) noexcept {
  if (mail_ != nullptr) return mail_->push(&f, 0, [] {});  // ours alone, and we are awake
  work_.push(&f);   // the last touch: another worker may have it already
  home_->notify();  // not as a lone push: we do not go on with it
}

void worker::run_thread() noexcept {
  probe_.adopt();
  if (is_spare_) run_where(home_->number_of_first_thread());
  home_->prepare_thread(index_);
  overflow_guard const guard;
  this_thread().as_worker = this;
  stack native;
  adopt_thread_stack(native);
  native_ = &native;
  running_on_ = std::exchange(spare_, nullptr);
  if (!std::exchange(arrived_, true) && !is_spare_) {
    next_ = take_arrivals();
    home_->arrive();
  }
  complete_parking(switch_stack(native, *running_on_, nullptr));
  if (spare_ != nullptr) stacks_.release(std::exchange(spare_, nullptr));
  this_thread().as_worker = nullptr;
  if (is_spare_) home_->has_left(*this);  // the last touch
}

void worker::loop(void* left) noexcept {
  this_thread().as_worker->complete_parking(left);
  for (;;) {
    worker& w = *this_thread().as_worker;
    runnable* const r = w.find_work();
    if (r == nullptr) {
      w.abandoned_ = w.running_on_;
      switch_stack_final(*w.running_on_, *w.native_, nullptr);
    }
    r->run(r);
  }
}

void worker::keep_a_spare_loop() {
  if (spare_ != nullptr) return;
  spare_ = stacks_.acquire();
  prepare(*spare_, &worker::loop);
}

// A parked fiber is switched to directly; for anything else a loop is needed, which runs it.
[[gnu::always_inline]] inline void worker::hop(thread_state& here, parked_fiber& parked, runnable* next) noexcept {
  void* left;
  {
    worker& w = *here.as_worker;
    stack* to;
    if (next != nullptr && next->run == &worker::run_fiber) {
      to = static_cast<parked_fiber*>(next)->parked_on;
    } else {
      w.next_ = next;
      to = std::exchange(w.spare_, nullptr);
    }
    parked.run = &worker::run_fiber;
    parked.parked_on = w.running_on_;
    parked.current = here.current;
    parked.mark = here.mark;
    w.running_on_ = to;
    here.current = nullptr;
    here.mark = nullptr;
    left = switch_stack(*parked.parked_on, *to, &parked);
  }
  thread_state& t = this_thread();
  t.current = parked.current;
  t.mark = parked.mark;
  t.as_worker->complete_parking(left);
}

void worker::leave_stack_to(fiber_waiter& parked) {
  thread_state& here = this_thread();
  worker& w = *here.as_worker;
  w.keep_a_spare_loop();
  runnable* next = nullptr;
  // Else the loop has to look elsewhere first, or the spare may have to stand aside.
  if ((w.tick_ + 1) % fairness != 0 && (!w.is_spare_ || w.home_->still_needed(w))) {
    next = w.work_.pop();
    if (next != nullptr) ++w.tick_;
  }
  parked.home = w.home_;
  parked.only = w.only_;
  hop(here, parked, next);
}

void worker::let_others_run(thread_state& here) {
  worker& w = *here.as_worker;
  w.keep_a_spare_loop();
  if (w.is_spare_ && !w.home_->still_needed(w)) [[unlikely]] return leave_turn(here);
  runnable* const next = w.next_in_turn();
  if (next == nullptr) return;
  parked_fiber f;
  hop(here, f, next);
}

// By one that yields on a spare which is needed no longer: the loop leaves it to the others, and the spare rests.
[[gnu::noinline]] void worker::leave_turn(thread_state& here) {
  parked_fiber f;
  hop(here, f, nullptr);
}

// Called by a loop, which becomes the spare one; if there is one already, this one's stack is given back.
void worker::run_fiber(runnable* parked) noexcept {
  void* left;
  {
    worker& w = *this_thread().as_worker;
    stack& own = *w.running_on_;
    stack& to = *static_cast<parked_fiber*>(parked)->parked_on;
    w.running_on_ = &to;
    if (w.spare_ != nullptr) {
      w.abandoned_ = &own;
      switch_stack_final(own, to, nullptr);
    }
    w.spare_ = &own;
    left = switch_stack(own, to, nullptr);
  }
  this_thread().as_worker->complete_parking(left);
}

// For one that lets others run. Always the newest would be wrong: two that yield to each other would see nobody else.
runnable* worker::next_in_turn() noexcept {
  for (;;) {
    runnable* r = nullptr;
    if (++tick_ % fairness == 0) {
      r = take_arrivals();
      // Perhaps what it waits for lies with a worker that is busy for long.
      if (r == nullptr) r = steal_from_one();
    }
    if (r == nullptr) r = work_.take_oldest();
    if (r == nullptr) r = take_arrivals();
    if (r == nullptr || r->run == &worker::run_fiber || !drop_if_stale(*r)) return r;
  }
}

runnable* worker::find_work() noexcept {
  if (next_ != nullptr) return std::exchange(next_, nullptr);
  if (is_spare_ && !go_on_as_spare()) [[unlikely]] return nullptr;
  if (++tick_ % fairness == 0) {
    if (auto* const r = take_arrivals(); r != nullptr) return r;
    if (auto* const r = work_.take_oldest(); r != nullptr) return r;
  }
  if (auto* const r = work_.pop(); r != nullptr) return r;
  if (auto* const r = take_arrivals(); r != nullptr) return r;
  return search();
}

// A spare, where it would pick up work. False: its thread ends.
[[gnu::noinline]] bool worker::go_on_as_spare() noexcept {
  while (!home_->still_needed(*this)) {
    leave_work_to_others();
    if (!home_->rest(*this)) return false;
  }
  return true;
}

void worker::leave_work_to_others() noexcept {
  while (runnable* const r = work_.take_oldest()) home_->push_from_outside(*r, 0);
  stale_ = 0;
}

runnable* worker::take_arrivals() noexcept {
  // The mail first, but not always: those who yield make more of it all the time.
  bool const mail_first = tick_ % fairness != 0;
  if (mail_first)
    if (auto* const r = take_mail(); r != nullptr) return r;
  if (auto* const r = take_from_inbox(); r != nullptr) return r;
  return mail_first ? nullptr : take_mail();
}

runnable* worker::take_mail() noexcept {
  runnable* taken[inbox::most_taken];
  return mail_ != nullptr && mail_->take(inbox::one_by_one, taken) != 0 ? taken[0] : nullptr;
}

runnable* worker::take_from_inbox() noexcept {
  runnable* taken[inbox::most_taken];
  auto const count = home_->arrivals().take(home_->size(), taken);
  if (count == 0) return nullptr;
  if (count > 1) {
    for (std::size_t i = 1; i < count; ++i) __builtin_prefetch(taken[i], 1);  // from another processor's cache
    // The oldest is returned; the next oldest shall be popped next, so it is pushed last.
    std::reverse(taken + 1, taken + count);
    work_.push_all(taken + 1, count - 1);
    home_->notify();
  }
  return taken[0];
}

std::uint32_t worker::random() noexcept {
  return random_ = random_ * 1664525 + 1013904223;  // Numerical Recipes' generator: only to spread the thieves
}

runnable* worker::steal_from_one() noexcept {
  auto& victim = home_->worker_at(random() % home_->worker_count());
  if (&victim == this) return nullptr;
  bool lost = false;
  auto* const r = victim.work_.steal(lost);
  if (r != nullptr) bump(stolen_);
  return r;
}

// Whose only piece of work has just come mostly runs that himself in a moment, as where items of two queues call for each other: then
// all that they do would go to and fro between processors. So who searches takes it when it is still there at his next look. One
// victim at a time is spared, so nothing waits for more than that.
bool worker::hesitates_before(worker const& victim) noexcept {
  auto const only = victim.work_.only_one();
  if (only < 0) return false;
  bool const again = spared_ == &victim;
  if (spared_ != nullptr && !again) return false;
  bool const still_there = again && spared_one_ == only;
  spared_ = still_there ? nullptr : &victim;
  spared_one_ = only;
  return !still_there;
}

runnable* worker::steal_from_others(bool may_hesitate) noexcept {
  auto const all = home_->worker_count();
  if (all == 1) return nullptr;
  for (bool lost = true; lost;) {
    lost = false;
    auto const from = random() % all;
    for (std::size_t i = 0; i < all; ++i) {
      auto& victim = home_->worker_at((from + i) % all);
      if (&victim == this || (may_hesitate && hesitates_before(victim))) continue;
      if (auto* const r = victim.work_.steal(lost); r != nullptr) {
        bump(stolen_);
        return r;
      }
    }
  }
  return nullptr;
}

runnable* worker::search() noexcept {
  bool searching = home_->begin_searching();
  bool woken = false;
  for (;;) {
    if (searching) {
      help_outside([](void const* home) { return static_cast<pool_core const*>(home)->has_work(); }, home_);
      if (runnable* const r = work_.pop(); r != nullptr) {  // what that has made ready
        home_->end_searching();
        return r;
      }
    }
    for (int rounds = searching ? search_rounds : 1; rounds > 0;) {
      runnable* r = take_arrivals();
      if (r == nullptr) r = steal_from_others(searching);
      if (r != nullptr) {
        if (woken) woken_in_vain_ = 0;
        if (searching) home_->end_searching();
        return r;
      }
      for (int i = spared_ != nullptr ? std::min(pauses_when_spared, rounds) : 1; i > 0; --i, --rounds) cpu_relax();
    }
    if (woken && !is_spare_ && ++woken_in_vain_ >= patience) {
      if (home_->nap_while_others_start(*this)) continue;
      woken_in_vain_ = 0;
    }
    auto const next = home_->sleep(*this, searching);
    if (next == woken_to::leave) return nullptr;
    searching = next == woken_to::search;
    woken = true;
    if (is_spare_ && !home_->still_needed(*this)) {
      if (searching) home_->end_searching();  // hands on what it was woken for
      if (!go_on_as_spare()) return nullptr;
      searching = false;
    }
  }
}

void worker::drop_stale_entries() noexcept {
  while (runnable* const r = work_.pop()) {
    if (!drop_if_stale(*r)) {
      work_.push(r);
      return home_->notify();  // for a moment it was not to be seen
    }
  }
  stale_ = 0;
}

}  // namespace errand::detail
