// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// co_await of a future: the coroutine side of sched/wait.hpp. A suspended coroutine is a waiter like any other; woken, it
// is a runnable like any other, and no stack is kept for it meanwhile.
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/coroutine.hpp>

#include <utility>

namespace errand::detail {

/// A loop on some stack that resumes coroutines; found by way of the thread that runs there.
struct trampoline {
  void* running;  // the frame it has resumed
  void* next;     // the frame to resume when that one returns here, by suspending or by ending
};

void run_coroutine(void* frame) {
  trampoline t{nullptr, frame};
  trampoline* const outer = std::exchange(this_thread().resuming, &t);
  while (t.next != nullptr) {
    t.running = std::exchange(t.next, nullptr);
    std::coroutine_handle<>::from_address(t.running).resume();  // may return on another thread
  }
  this_thread().resuming = outer;
}

std::coroutine_handle<> hand_on(std::coroutine_handle<> from, std::coroutine_handle<> next) noexcept {
  trampoline* const t = this_thread().resuming;
  // Only from the very coroutine that the loop has resumed does control come straight back to it.
  if (t == nullptr || t->running != from.address()) return next;
  t->next = next.address();
  return std::noop_coroutine();
}

namespace {

void wake_coroutine(waiter* w) noexcept {
  auto& c = static_cast<coroutine_waiter&>(*w);
  make_ready(c, *c.home_, c.only_);
}

void resume_coroutine(runnable* r) noexcept {
  auto& c = static_cast<coroutine_waiter&>(*r);
  this_thread().current = c.task_;
  run_coroutine(c.frame_);  // the waiter is gone after this
  this_thread().current = nullptr;
}

}  // namespace

bool await_without_suspending(record& awaited) {
  if (awaited.done() || run_in_place(awaited)) return true;
  if (this_thread().as_worker == nullptr) {
    wait(awaited);
    return true;
  }
  check_no_self_wait(awaited);
  if (record* const self = cancellable_task(); self != nullptr) throw_if_stopped(*self);
  return false;
}

bool suspend_until_done(coroutine_waiter& w, record& awaited, void* frame) noexcept {
  thread_state& t = this_thread();
  w.waiter::wake = &wake_coroutine;
  w.runnable::run = &resume_coroutine;
  w.frame_ = frame;
  w.task_ = t.current;
  w.home_ = &t.as_worker->home();
  w.only_ = t.as_worker->only();
  w.suspended_ = true;
  w.request_.awaited = &awaited;
  w.request_.self = t.current;
  return arm(w, w.request_);
}

void after_suspension(coroutine_waiter& w) {
  if (!w.suspended_) return;
  record const* const awaited = w.request_.awaited;
  disarm(w, w.request_);
  if (awaited != nullptr && !awaited->done()) throw operation_cancelled{};
}

}  // namespace errand::detail
