// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How coroutines run: a loop that resumes one after the other, and the end of the one that is a task's root. Why a loop:
// docs/decisions/0008-trampoline.md.
#include "coro/flow.hpp"
#include "sched/wait.hpp"
#include "sched/worker.hpp"
#include "task/thread_state.hpp"

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

record* task_of_running(void* frame) noexcept {
  thread_state const& t = this_thread();
  return t.resuming != nullptr && t.resuming->running == frame ? t.current : nullptr;
}

namespace {

// On a worker of its home, or where no pool counts it.
void end_here(record& task) noexcept {
  record* const before = std::exchange(this_thread().current, &task);
  task.act_(&task, record_verb::end);
  this_thread().current = before != &task ? before : nullptr;
  bool const counted = task.home_ != nullptr;
  complete(task);  // the record may go with it
  if (counted) this_thread().as_worker->count_ended();
}

void end_at_home(runnable* r) noexcept { end_here(static_cast<record&>(*r)); }

}  // namespace

void end_coroutine(record& task, void* frame) noexcept {
  flow_of(task).frame_ = frame;
  if (task.home_ == nullptr || runs_on(*task.home_)) return end_here(task);
  // Somebody else's awaitable has resumed it on a thread that is not of its pool. It is counted there.
  task.run = &end_at_home;
  make_ready(task, *task.home_);
}

}  // namespace errand::detail
