// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/wait.hpp"

#include "base/check.hpp"
#include "sched/cycle.hpp"
#include "sched/outside.hpp"
#include "sched/pool_core.hpp"
#include "sched/served_thread.hpp"
#include "task/place.hpp"
#include "task/rare_fields.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/stack_mark.hpp>

#include <errand/task.hpp>

#include <optional>

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

// The serial queues that the running task keeps from going on while it waits: searches for cycles go on from them to it.
void show_in_queues(wait_request& q) noexcept {
  if (q.self == nullptr || q.deadline != no_deadline) return;
  for (stack_mark const* m = this_thread().mark; m != nullptr; m = m->outer) {
    if (m->queue == nullptr || !m->queue->serial()) continue;
    m->queue->holder.store(q.self, std::memory_order_seq_cst);  // (X2) before the wait can be seen
    q.holds_queues = true;
  }
}
void hide_in_queues(wait_request const& q) noexcept {
  if (!q.holds_queues) return;
  for (stack_mark const* m = this_thread().mark; m != nullptr; m = m->outer)
    if (m->queue != nullptr && m->queue->serial())
      m->queue->holder.store(nullptr, std::memory_order_seq_cst);  // (X2) before let_searches_leave()
  // Here, for who was shown as holder may have found that there was nothing to wait for: disarm() does not see to it then.
  let_searches_leave();
}

// A thread that waits in no task, but holds queues, by sync(): it is a member of cycles by the record that stands for it meanwhile.
class stand_in {
 public:
  explicit stand_in(wait_request& q) {
    thread_state const& t = this_thread();
    bool const holds = t.current == nullptr && t.mark != nullptr && t.calling_back == 0;
    if (!holds || q.self != nullptr || !q.may_refuse || q.awaited == nullptr || q.deadline != no_deadline) return;
    q.self = &record_.emplace();
    request_ = &q;
  }
  stand_in(stand_in const&) = delete;
  stand_in& operator=(stand_in const&) = delete;
  // After the queues show it no more.
  ~stand_in() {
    if (!record_) return;
    let_searches_leave();
    request_->self = nullptr;
  }

 private:
  struct thread_record : record {
    thread_record() : record{[](record*, record_verb) noexcept { return true; }, std::source_location{}} {
      state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
      rare.name = "a plain thread";  // without an allocation
      rare_.store(&rare, std::memory_order_relaxed);
    }
    rare_fields rare{};
  };
  wait_request* request_ = nullptr;
  std::optional<thread_record> record_{};
};

// True: it is done, or looking on would be a waste.
bool is_done_soon(record& awaited) noexcept {
  help_outside([](void const* r) { return static_cast<record const*>(r)->done(); }, &awaited);
  for (int i = 0; i < spins_before_sleep; ++i) {
    if (awaited.done()) return true;
    cpu_relax();
  }
  return false;
}

// Of a thread that serves queues, in none of their items: it is a member of cycles by the record that stands for it. Each
// time something comes into its queues it looks again: it may be what it waits for, or show that this will never end.
void sleep_without_serving(wait_request& q, served_thread& thread) noexcept {
  record& awaited = *q.awaited;
  for (;;) {
    auto const calls = thread.calls();
    // What will be ended here closes no cycle by itself. (A link may wait for others yet.)
    bool const ours = thread.run_if_item(awaited) || (!awaited.stands_for_others_ && thread.serves(queue_of(awaited)));
    if (awaited.done() || is_done_soon(awaited)) return;
    wait_request once;
    once.awaited = &awaited;
    bool const in_search = q.may_refuse && !ours;
    once.self = in_search ? &thread.self() : nullptr;
    once.holds_queues = in_search;
    thread_waiter w;
    w.wake = &wake_thread;
    show_as_parked(w, once);
    if (!thread.begin_wait(w, calls)) continue;
    if (in_search) thread.show_as_holder(&thread.self());
    show_in_queues(once);
    if (arm(w, once))
      while (w.woken.load(std::memory_order_acquire) == 0) futex_wait(w.woken, 0);  // (V1)
    thread.end_wait();
    if (in_search) thread.show_as_holder(nullptr);
    hide_in_queues(once);
    disarm(w, once);
    if (awaited.done()) return;
    // Unless it is the very item, which has come meanwhile, or is on its way: a link is unbegun before it lies in our queue, and then we
    // are called. Or it is just being stopped.
    auto const state = awaited.state_.load(std::memory_order_relaxed);
    bool const is_coming = (state & (record_state::begun | record_state::unrun)) != record_state::begun && thread.serves(queue_of(awaited));
    if (once.deadlock && !thread.run_if_item(awaited) && !is_coming) {
      q.deadlock = once.deadlock;
      return;
    }
  }
}

void sleep_thread(wait_request& q) noexcept {
  if (q.awaited != nullptr && is_done_soon(*q.awaited)) return;
  auto const* const outside = q.awaited != nullptr ? registered_outside_work.load(std::memory_order_acquire) : nullptr;  // (O1)
  stand_in const while_it_waits{q};
  thread_waiter w;
  w.wake = outside != nullptr ? &wake_thread_there : &wake_thread;
  show_as_parked(w, q);
  show_in_queues(q);
  if (arm(w, q)) {
    while (w.woken.load(std::memory_order_acquire) == 0) {  // (V1)
      if (outside != nullptr && outside->sleep(w.woken, q.deadline)) continue;
      if (futex_wait(w.woken, 0, q.deadline)) continue;
      if (claim(w, claimant::itself)) break;  // the deadline has passed
      q.deadline = no_deadline;               // somebody is waking us at this moment
    }
  }
  hide_in_queues(q);
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
  show_in_queues(q);
  worker::leave_stack_to(f);
  hide_in_queues(q);
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
          ", which goes on in the parent process; a child that was forked inside a task or a loop may only exec or "
          "_exit");
  thread_state& t = this_thread();
  tell_of_wait(t.current);
  if (t.as_worker != nullptr && t.calling_back == 0) return park_fiber(q);
  if (t.current == nullptr && q.awaited != nullptr && q.deadline == no_deadline && t.calling_back == 0)
    if (served_thread* const thread = served_thread::of(t); thread != nullptr) return sleep_without_serving(q, *thread);
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

queue_gate const* queue_kept_from(record& r) noexcept {
  stack_mark const* const innermost = this_thread().mark;
  if (innermost == nullptr || r.done()) return nullptr;
  queue_gate const* const in = queue_of(r);
  if (in == nullptr) return nullptr;
  for (stack_mark const* m = innermost; m != nullptr; m = m->outer)
    for (queue_gate const* held = m->queue; held != nullptr; held = held->target())
      if (held == in && held->serial()) return held;
  return nullptr;
}

// Rule 13. What stands in other queues is found by the search for cycles, if a task waits.
static void check_no_wait_for_kept(record& r) {
  if (queue_gate const* const queue = queue_kept_from(r); queue != nullptr)
    throw deadlock{describe(r) + " waits for its turn in the " + queue->described() +
                   ", which who waits for it holds until then" +
                   (this_thread().current != nullptr ? ": " + describe(*this_thread().current) : std::string{})};
}

[[gnu::noinline]] static void wait_blocked(record& r) {
  check_no_self_wait(r);
  check_no_wait_for_kept(r);
  wait_request q;
  q.awaited = &r;
  q.self = cancellable_task();
  q.may_refuse = true;
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
    fatal(describe(r) +
          " drops the last handle to itself: it can neither wait for itself nor throw from there; "
          "detach() it, or let somebody else hold it");
  stop_unless_kept(r);
  if (r.done()) return;
  // A link that was stopped while it waits for its input ends with that, and needs no turn.
  constexpr auto ends_unrun = record_state::awaits_input | record_state::stop;
  bool const needs_turn = (r.state_.load(std::memory_order_relaxed) & ends_unrun) != ends_unrun;
  if (queue_gate const* const queue = needs_turn ? queue_kept_from(r) : nullptr; queue != nullptr)
    fatal("the future of " + describe(r) + " is dropped in the " + queue->described() +
          ", where that task has to end: it can neither be waited for there nor can this be thrown; detach() it, or "
          "drop it elsewhere");
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
