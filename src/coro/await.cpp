// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a coroutine waits for: the coroutine side of sched/wait.hpp. A suspended coroutine is a waiter like any other; its
// task's record is the runnable that a worker takes when it is woken, and no stack is kept for it meanwhile.
#include "coro/flow.hpp"
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/thread_state.hpp"

#include <errand/task.hpp>

#include <stdexcept>

namespace errand::detail {

namespace {

void wake_coroutine(waiter* w) noexcept {
  auto& f = static_cast<coroutine_flow&>(*w);
  record& task = task_of(f);
  make_ready(task, *task.home_, f.only_);
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

// What suspends; true: its task may already run elsewhere. The request is ours alone: what the coroutine needs to take its
// hooks back, once it goes on, is in its flow and its frame.
bool suspend(record& task, void* frame, wait_request& q) {
  coroutine_flow& f = flow_of(task);
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

bool await_without_suspending(record& awaited) {
  if (awaited.done() || run_in_place(awaited)) return true;
  if (this_thread().as_worker == nullptr) {
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
  if (this_thread().as_worker == nullptr) {
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

bool runs_on(pool_core const& pool) noexcept {
  worker const* const w = this_thread().as_worker;
  return w != nullptr && &w->home() == &pool;
}

void move_to(pool_core& pool, void* frame) {
  record* const running = task_of_running(frame);
  if (running == nullptr)
    throw std::logic_error{"co_await of errand::resume_on(): the coroutine is part of no errand task, so there is nothing to move"};
  record& task = *running;
  // The worker that we leave; none on a thread that is none of errand's, where no pool counts the task.
  worker* const left = task.home_ != nullptr ? this_thread().as_worker : nullptr;
  go_on_at(task, frame);
  std::atomic_ref{task.home_}.store(&pool, std::memory_order_relaxed);  // then() may look at it from elsewhere
  pool.push_from_outside(task, 1);  // the last touch: it may run there already. It is counted there first, so that at no
  if (left != nullptr) left->count_ended();  // time no pool waits for it
}

pool_core& pool_to_resume_on(pool_core* where) {
  if (where == nullptr)
    throw std::invalid_argument{"errand::resume_on(): the place is inplace, which names no thread to go on on"};
  if (where->size() == 0)
    throw std::invalid_argument{
        "errand::resume_on(): the place is blocking, where a coroutine cannot suspend; async(blocking, ...) is for its calls "
        "that block"};
  return *where;
}

}  // namespace errand::detail
