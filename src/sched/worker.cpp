// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/worker.hpp"

#include "fiber/overflow.hpp"
#include "sched/outside.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/threads.hpp"
#include "sched/wait.hpp"
#include "task/thread_state.hpp"

#include <algorithm>

namespace errand::detail {

namespace {

// Each so many rounds the loop takes from the other end first, so that work that arrives late is not starved by work
// that keeps making more of itself. A prime, so that it falls in step with nothing; Go's scheduler uses the same.
constexpr std::uint32_t fairness = 61;
constexpr std::uint32_t patience = 2;       // times woken in vain before a worker naps instead of sleeping
constexpr int search_rounds = 400;          // about 20 us on the machines seen: less than putting a thread to sleep and waking it

}  // namespace

void worker::start(pool_core& home, unsigned index) {
  home_ = &home;
  index_ = index;
  random_ = index * 2654435761U + 1;
  if (home.size() == 1) work_.set_alone();
  if (home.pinned()) {
    only_ = index;
    mail_ = std::make_unique<inbox>();
  }
  thread_ = start_thread(home.thread_name(index), [this] { run_thread(); });
}

void worker::hand_over() {
  thread_state& t = this_thread();
  t.as_worker = nullptr;
  // The tasks that run here never return, and a pool must not wait for them.
  for (record const* r = t.current; r != nullptr; r = r->nested_ ? r->parent_ : nullptr)
    if (r->home_ == home_) count_ended();
  thread_.detach();
  thread_ = start_thread(home_->thread_name(index_), [this] { run_thread(); });
}

void worker::run_thread() noexcept {
  home_->prepare_thread(index_);
  overflow_guard const guard;
  this_thread().as_worker = this;
  stack native;
  adopt_thread_stack(native);
  native_ = &native;
  running_on_ = stacks_.acquire();
  prepare(*running_on_, &worker::loop);
  auto* const last = static_cast<stack*>(switch_stack(native, *running_on_, nullptr));
  stacks_.release(last);
  this_thread().as_worker = nullptr;
}

void worker::loop(void* parked) noexcept {
  if (parked != nullptr) {
    auto& f = *static_cast<fiber_waiter*>(parked);
    if (f.reschedule) {
      give_way(f);
    } else if (!arm(f, *f.request)) {
      resume(f);
    }
  }
  for (;;) {
    worker& w = *this_thread().as_worker;
    runnable* const r = w.find_work();
    if (r == nullptr) switch_stack_final(*w.running_on_, *w.native_, w.running_on_);
    r->run(r);
  }
}

void worker::leave_stack_to(fiber_waiter& parked) {
  stack* received;
  {
    thread_state& t = this_thread();
    worker& w = *t.as_worker;
    stack* const fresh = w.stacks_.acquire();
    prepare(*fresh, &worker::loop);
    parked.parked_on = w.running_on_;
    parked.current = t.current;
    parked.resuming = t.resuming;
    parked.home = w.home_;
    parked.only = w.only_;
    w.running_on_ = fresh;
    t.current = nullptr;
    t.resuming = nullptr;
    received = static_cast<stack*>(switch_stack(*parked.parked_on, *fresh, &parked));
  }
  thread_state& t = this_thread();
  t.current = parked.current;
  t.resuming = parked.resuming;
  t.as_worker->stacks_.release(received);
}

void worker::resume(fiber_waiter& parked) noexcept {
  worker& w = *this_thread().as_worker;
  stack* const loop_stack = w.running_on_;
  w.running_on_ = parked.parked_on;
  switch_stack_final(*loop_stack, *parked.parked_on, loop_stack);
}

runnable* worker::find_work() noexcept {
  if (++tick_ % fairness == 0) {
    if (auto* const r = take_arrivals(); r != nullptr) return r;
    bool lost = false;
    if (auto* const r = work_.steal(lost); r != nullptr) return r;
  }
  if (auto* const r = work_.pop(); r != nullptr) return r;
  if (auto* const r = take_arrivals(); r != nullptr) return r;
  return search();
}

runnable* worker::take_arrivals() noexcept {
  runnable* taken[inbox::most_taken];
  if (mail_ != nullptr && mail_->take(inbox::one_by_one, taken) != 0) return taken[0];
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

runnable* worker::steal_from_others() noexcept {
  auto const all = home_->workers();
  if (all.size() == 1) return nullptr;
  for (bool lost = true; lost;) {
    lost = false;
    random_ = random_ * 1664525 + 1013904223;  // Numerical Recipes' generator: only to spread the thieves
    auto const from = random_ % all.size();
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto& victim = all[(from + i) % all.size()];
      if (&victim == this) continue;
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
    for (int rounds = searching ? search_rounds : 1; rounds > 0; --rounds) {
      runnable* r = take_arrivals();
      if (r == nullptr) r = steal_from_others();
      if (r != nullptr) {
        if (woken) woken_in_vain_ = 0;
        if (searching) home_->end_searching();
        return r;
      }
      cpu_relax();
    }
    if (woken && ++woken_in_vain_ >= patience) {
      if (home_->nap_while_others_start(*this)) continue;
      woken_in_vain_ = 0;
    }
    if (!home_->sleep(*this, searching)) return nullptr;
    searching = woken = true;
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
