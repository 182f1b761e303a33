// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/wait.hpp"

#include "base/check.hpp"
#include "sched/cycle.hpp"
#include "sched/outside.hpp"
#include "sched/pool_core.hpp"
#include "task/rare_fields.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/task.hpp>

namespace errand::detail {

namespace {

struct thread_waiter : parked_waiter {
  std::atomic<std::uint32_t> woken{0};
};

void wake_thread(waiter* w) noexcept {
  auto& word = static_cast<thread_waiter*>(w)->woken;
  // (V1) release: what came before the wake; pairs with the acquire in sleep_thread(). The last touch but for the address.
  word.store(1, std::memory_order_release);
  futex_wake(&word);
}

// Of a thread that may sleep in outside_work::sleep().
void wake_thread_there(waiter* w) noexcept {
  auto& word = static_cast<thread_waiter*>(w)->woken;
  // (V1); and seq_cst: before the look of wake() at who sleeps there, which shows itself before it looks at this word.
  word.store(1, std::memory_order_seq_cst);
  futex_wake(&word);
  if (auto const* const outside = registered_outside_work.load(std::memory_order_acquire); outside != nullptr)  // (O1)
    outside->wake(&word);
}

void wake_fiber(waiter* w) noexcept {
  auto& f = static_cast<fiber_waiter&>(*w);
  make_ready(f, *f.home, f.only);
}

// A thread that has just started work looks for its end a little while before it goes to sleep: less than the sleep costs.
constexpr int spins_before_sleep = 300;

// A wait with an end of its own is part of no cycle.
void show_as_parked(parked_waiter& w, wait_request& q) noexcept {
  w.awaits = q.deadline == no_deadline ? q.awaited : nullptr;
  q.shown = reinterpret_cast<std::uintptr_t>(&w) | shown_as::parked;
}

void sleep_thread(wait_request& q) noexcept {
  if (q.awaited != nullptr) {
    help_outside([](void const* awaited) { return static_cast<record const*>(awaited)->done(); }, q.awaited);
    for (int i = 0; i < spins_before_sleep; ++i) {
      if (q.awaited->done()) return;
      cpu_relax();
    }
  }
  auto const* const outside = q.awaited != nullptr ? registered_outside_work.load(std::memory_order_acquire) : nullptr;  // (O1)
  thread_waiter w;
  w.wake = outside != nullptr ? &wake_thread_there : &wake_thread;
  show_as_parked(w, q);
  if (arm(w, q)) {
    while (w.woken.load(std::memory_order_acquire) == 0) {  // (V1)
      if (outside != nullptr && outside->sleep(w.woken, q.deadline)) continue;
      if (futex_wait(w.woken, 0, q.deadline)) continue;
      if (claim(w, claimant::itself)) break;  // the deadline has passed
      q.deadline = no_deadline;               // somebody is waking us at this moment
    }
  }
  disarm(w, q);
}

void park_fiber(wait_request& q) {
  timer_entry timer;
  fiber_waiter f;
  f.wake = &wake_fiber;
  f.request = &q;
  show_as_parked(f, q);
  if (q.deadline != no_deadline) {
    timer.at = q.deadline;
    timer.to_wake = &f;
    q.timer = &timer;
    prepare_timers();
  }
  worker::leave_stack_to(f);
  disarm(f, q);
}

// A loop whose iteration is about to wait lets another worker take over the rest of its share.
void tell_of_wait(record* current) noexcept {
  for (; current != nullptr; current = current->nested_ ? current->parent_ : nullptr)
    if (current->tells_of_waits_) {
      auto const& rare = *current->rare_.load(std::memory_order_relaxed);
      rare.on_wait(rare.on_wait_context);
    }
}

}  // namespace

bool arm(waiter& w, wait_request& q) noexcept {
  bool waits = true;
  if (q.awaited != nullptr) {
    waits = hook(*q.awaited, w);
    if (!waits) {
      q.awaited = nullptr;
      q.self = nullptr;
      q.timer = nullptr;
    }
  }
  if (q.timer != nullptr) arm_timer(*q.timer);
  if (q.self != nullptr) {
    if (!arm_interrupt(*q.self, q.shown)) {
      if (claim(w, claimant::itself)) waits = false;
    } else if (q.awaited != nullptr && q.deadline == no_deadline && refuse_if_cycle(w, q)) {
      waits = false;
    }
  }
  q.armed.store(true, std::memory_order_release);  // (A1) the last touch, if it waits
  return waits;
}

void disarm(waiter& w, wait_request& q) noexcept {
  while (!q.armed.load(std::memory_order_acquire)) cpu_relax();  // (A1) we were woken while arm() was still at it
  if (q.awaited != nullptr) unhook(*q.awaited, w);
  if (q.timer != nullptr) disarm_timer(*q.timer);
  if (q.self == nullptr) return;
  disarm_interrupt(*q.self, w);
  let_searches_leave();
}

void block(wait_request& q) {
  if (q.awaited != nullptr && q.awaited->inherited())
    fatal("in the child of a fork, the program waits for the end of " + describe(*q.awaited) +
          ", which goes on in the parent process; a child that was forked inside a task or a loop may only exec or _exit");
  thread_state& t = this_thread();
  tell_of_wait(t.current);
  if (t.as_worker != nullptr && t.calling_back == 0)
    park_fiber(q);
  else
    sleep_thread(q);
}

void block_or_sleep(wait_request& q) noexcept {
  try {
    block(q);
  } catch (std::bad_alloc const&) {
    sleep_thread(q);
  }
}

void make_ready(runnable& r, pool_core& home, std::uint32_t only) noexcept {
  if (only != any_worker) return home.push_to_worker(r, only);
  if (auto* const w = this_thread().as_worker; w != nullptr && &w->home() == &home)
    return home.notify(w->work().push(&r));
  home.push_from_outside(r, 0);
}

bool is_unwinding(thread_state const& t) noexcept {
  if (t.as_worker == nullptr) return std::uncaught_exceptions() != 0;
  return t.as_worker->running_stack().thread_exceptions->uncaught != 0;
}

record* cancellable_task() {
  thread_state const& t = this_thread();
  return t.current != nullptr && t.calling_back == 0 && !is_unwinding(t) ? t.current : nullptr;
}

void check_no_self_wait(record const& r) {
  if (runs_on_stack_of(this_thread().current, r)) throw deadlock{describe(r) + " waits for itself"};
}

[[gnu::noinline]] static void wait_blocked(record& r) {
  check_no_self_wait(r);
  wait_request q;
  q.awaited = &r;
  q.self = cancellable_task();
  if (q.self != nullptr) throw_if_stopped(*q.self);
  block(q);
  if (q.deadlock) std::rethrow_exception(q.deadlock);
  if (!r.done()) throw operation_cancelled{};
}

void wait(record& r) {
  if (!run_in_place(r)) wait_blocked(r);
}

bool wait_until(record& r, std::int64_t deadline) {
  check_no_self_wait(r);
  wait_request q;
  q.awaited = &r;
  q.deadline = deadline;
  q.self = cancellable_task();
  record* const self = q.self;
  if (self != nullptr) throw_if_stopped(*self);
  if (deadline <= now()) return r.done();
  block(q);
  if (r.done()) return true;
  if (self != nullptr) throw_if_stopped(*self);
  return false;
}

void stop_and_join(record& r) noexcept {
  if (r.done()) return;
  if (runs_on_stack_of(this_thread().current, r))
    fatal(describe(r) + " drops the last handle to itself: it can neither wait for itself nor throw from there; "
                        "detach() it, or let somebody else hold it");
  stop_unless_kept(r);
  if (r.done()) return;
  wait_request q;
  q.awaited = &r;
  block_or_sleep(q);
}

// Of one that is kept: it goes on by itself. False if it is done, or there is no memory for that.
static bool leave_to_itself(record& r) noexcept {
  if ((r.state_.load(std::memory_order_relaxed) & record_state::kept) == 0 || r.done()) return false;
  try {
    detach(r);
    return true;
  } catch (std::bad_alloc const&) {
    return false;
  }
}

void drop(record& r) noexcept {
  if (r.inherited() || leave_to_itself(r)) return;
  stop_and_join(r);
  release_handle(r);
}

void sleep_until(std::int64_t deadline) {
  wait_request q;
  q.deadline = deadline;
  q.self = cancellable_task();
  record* const self = q.self;
  if (self != nullptr) throw_if_stopped(*self);
  if (deadline <= now()) return;
  block(q);
  if (self != nullptr) throw_if_stopped(*self);
}

}  // namespace errand::detail
