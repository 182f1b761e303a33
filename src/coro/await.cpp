// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a coroutine waits for: the coroutine side of sched/wait.hpp. A suspended coroutine is a waiter like any other; its
// task's record is the runnable that a worker takes when it is woken, and no stack is kept for it meanwhile.
#include "coro/flow.hpp"
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/rare_fields.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/stack_mark.hpp>

#include <errand/task.hpp>

#include <algorithm>
#include <stdexcept>

namespace errand::detail {

namespace {

void wake_coroutine(waiter* w) noexcept {
  auto& f = static_cast<coroutine_flow&>(*w);
  record& task = task_of(f);
  if (task.home_->is_queue()) return task.home_->gate().push_lent(task);
  make_ready(task, as_pool(*task.home_), f.only_);
}

void resume_coroutine(runnable* r) noexcept {
  auto& task = static_cast<record&>(*r);
  this_thread().current = &task;
  run_coroutine(task, flow_of(task).frame_);  // the record may be gone after this
  this_thread().current = nullptr;
}

void go_on_at(record& task, void* frame) noexcept {
  flow_of(task).frame_ = frame;
  task.run = &resume_coroutine;
}

// Room for its place in a queue's list, before it may come back there. Throws std::bad_alloc.
void prepare_home(record& task, place_core const& home) {
  if (home.is_queue()) rare_fields_of(task);
}

// A queue that it leaves stays lent to it, and one that it moves to is from now on: then() may look at either at any time. Throws
// std::bad_alloc.
void change_home(record& task, place_core& to) {
  if (to.is_queue()) to.gate().require_own("co_await errand::resume_on()");
  place_core* const from = task.home_;
  bool const lent = (task.state_.load(std::memory_order_relaxed) & record_state::lent) != 0;
  if (!to.is_queue() && !lent) return std::atomic_ref{task.home_}.store(&to, std::memory_order_relaxed);
  auto& rare = rare_fields_of(task);
  rare.loans.reserve(rare.loans.size() + 2);
  if (to.is_queue() && std::find(rare.loans.begin(), rare.loans.end(), &to.gate()) == rare.loans.end() &&
      !(lent && rare.loans.empty() && &from->gate() == &to.gate()))
    to.gate().lend();
  lock_record(task);
  auto const add = [&rare](queue_gate& q) {
    if (std::find(rare.loans.begin(), rare.loans.end(), &q) == rare.loans.end()) rare.loans.push_back(&q);
  };
  if (lent && rare.loans.empty()) add(from->gate());
  if (to.is_queue()) add(to.gate());
  std::atomic_ref{task.home_}.store(&to, std::memory_order_relaxed);
  unlock_record(task);
  task.state_.fetch_or(record_state::lent, std::memory_order_relaxed);
}

// What suspends; true: its task may already run elsewhere. The request is ours alone: what the coroutine needs to take its
// hooks back, once it goes on, is in its flow and its frame.
bool suspend(record& task, void* frame, wait_request& q) {
  coroutine_flow& f = flow_of(task);
  prepare_home(task, *task.home_);
  go_on_at(task, frame);
  f.wake = &wake_coroutine;
  f.claimed_by.store(0, std::memory_order_relaxed);
  f.stopper_left.store(false, std::memory_order_relaxed);
  f.armed_.store(false, std::memory_order_relaxed);
  f.interruptible_ = !is_unwinding(this_thread());
  q.self = f.interruptible_ ? &task : nullptr;
  q.shown = q.awaited != nullptr ? reinterpret_cast<std::uintptr_t>(q.awaited) | shown_as::coroutine
                                 : reinterpret_cast<std::uintptr_t>(static_cast<waiter*>(&f));
  if (!arm(f, q)) {
    disarm(f, q);
    if (q.deadlock) std::rethrow_exception(q.deadlock);
    return false;
  }
  f.armed_.store(true, std::memory_order_release);  // (A1) the last touch
  return true;
}

void resumed(wait_request& q) noexcept {
  record& task = *this_thread().current;
  coroutine_flow& f = flow_of(task);
  while (!f.armed_.load(std::memory_order_acquire)) cpu_relax();  // (A1)
  q.self = f.interruptible_ ? &task : nullptr;
  q.armed.store(true, std::memory_order_relaxed);
  disarm(f, q);
}

}  // namespace

// Whoever runs something in place keeps its queue meanwhile, which a coroutine that waits must not.
static bool may_run_in_place() noexcept {
  record const* const current = this_thread().current;
  return current == nullptr || current->home_ == nullptr || !current->home_->is_queue();
}

// Off a pool a coroutine cannot suspend, for nobody would take it up again; but a thread that serves a queue does, as long as
// nothing of the coroutine's lies on the stack but itself.
static bool may_suspend() noexcept {
  thread_state const& t = this_thread();
  if (t.as_worker != nullptr) return true;
  stack_mark const* const beneath = t.mark != nullptr ? t.mark->outer : nullptr;
  return beneath != nullptr && t.current != nullptr && beneath->queue != nullptr && beneath->item == t.current;
}

bool await_without_suspending(record& awaited) {
  if (awaited.done() || (may_run_in_place() && run_in_place(awaited))) return true;
  if (!may_suspend()) {
    wait(awaited);
    return true;
  }
  check_no_self_wait(awaited);
  check_cancelled();
  return false;
}

bool suspend_until_done(record& awaited, void* frame) {
  record* const task = task_of_running(frame);
  if (task == nullptr) {
    wait(awaited);
    return false;
  }
  wait_request q;
  q.awaited = &awaited;
  return suspend(*task, frame, q);
}

void after_suspension(record& awaited) noexcept {
  wait_request q;
  q.awaited = &awaited;
  resumed(q);
}

bool sleep_without_suspending(std::int64_t deadline) {
  check_cancelled();
  if (deadline <= now()) return true;
  if (!may_suspend()) {
    sleep_until(deadline);
    return true;
  }
  prepare_timers();
  return false;
}

bool suspend_until(timer_entry& timer, void* frame) {
  record* const task = task_of_running(frame);
  if (task == nullptr) {
    sleep_until(timer.at);
    return false;
  }
  timer.to_wake = &flow_of(*task);
  wait_request q;
  if (timer.at != no_deadline) q.timer = &timer;
  return suspend(*task, frame, q);
}

void after_sleep(timer_entry& timer) noexcept {
  wait_request q;
  if (timer.at != no_deadline) q.timer = &timer;
  resumed(q);
}

void check_cancelled() {
  if (record* const self = cancellable_task(); self != nullptr) throw_if_stopped(*self);
}

bool runs_on(place_core const& where) noexcept {
  thread_state const& t = this_thread();
  if (t.current == nullptr || t.current->home_ == nullptr)
    return t.as_worker != nullptr && &t.as_worker->home() == &where;
  place_core const& home = *t.current->home_;
  if (home.is_queue() || where.is_queue()) return &home == &where;
  return t.as_worker != nullptr && &t.as_worker->home() == &where;
}

void move_to(place_core& where, void* frame) {
  record* const running = task_of_running(frame);
  if (running == nullptr)
    throw std::logic_error{
        "co_await of errand::resume_on(): the coroutine is part of no errand task, so there is nothing to move"};
  record& task = *running;
  // The worker that we leave; none on a thread that is none of errand's, where no pool counts the task.
  worker* const left = pool_of(task.home_) != nullptr ? this_thread().as_worker : nullptr;
  prepare_home(task, where);
  change_home(task, where);
  go_on_at(task, frame);
  // The last touch: it may run there already. It is counted there first, so that at no time no pool waits for it.
  if (where.is_queue())
    where.gate().push_lent(task);
  else
    as_pool(where).push_from_outside(task, 1);
  if (left != nullptr) left->count_ended();
}

place_core& place_to_resume_on(place_core* where) {
  if (where == nullptr)
    throw std::invalid_argument{"errand::resume_on(): the place is inplace, which names no thread to go on on"};
  if (where->what() == place_core::kind::blocking)
    throw std::invalid_argument{
        "errand::resume_on(): the place is blocking, where a coroutine cannot suspend; async(blocking, ...) is for its "
        "calls "
        "that block"};
  return *where;
}

}  // namespace errand::detail
