// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// co_await of a future: the coroutine side of sched/wait.hpp. A suspended coroutine is a waiter like any other; woken, it
// is a runnable like any other, and no stack is kept for it meanwhile.
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/coroutine.hpp>

namespace errand::detail {

namespace {

void wake_coroutine(waiter* w) noexcept {
  auto& c = static_cast<coroutine_waiter&>(*w);
  make_ready(c, *c.home_);
}

void resume_coroutine(runnable* r) noexcept {
  auto& c = static_cast<coroutine_waiter&>(*r);
  this_thread().current = c.task_;
  std::coroutine_handle<>::from_address(c.frame_).resume();  // the waiter is gone after this
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
