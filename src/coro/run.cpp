// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How coroutines run: a loop that resumes one after the other, and the end of the one that is a task's root. Why a loop:
// docs/decisions/0008-trampoline.md.
#include "coro/flow.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/wait.hpp"
#include "sched/worker.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/stack_mark.hpp>

#include <utility>

namespace errand::detail {

namespace {

/// A loop on some stack that resumes coroutines; found by way of the thread that runs there.
struct trampoline : stack_mark {
  record* task;  // whose coroutines they are; none if strangers are among them
  void* next;    // the frame to resume when that one returns here, by suspending or by ending
};

}  // namespace

static void run_loop(record* task, void* frame) {
  trampoline t{{.outer = this_thread().mark}, task, frame};
  this_thread().mark = &t;
  while (t.next != nullptr) {
    t.running = std::exchange(t.next, nullptr);
    std::coroutine_handle<>::from_address(t.running).resume();  // may return on another thread
  }
  this_thread().mark = t.outer;
}

void run_coroutine(record& task, void* frame) {
  worker const* const w = this_thread().as_worker;
  flow_of(task).only_ = w != nullptr ? w->only() : any_worker;
  run_loop(&task, frame);
}

[[gnu::noinline]] void hand_on(void* from, void* next) {
  stack_mark* const innermost = this_thread_of_a_leaf().mark;
  // Only from the very coroutine that the loop has resumed does control come straight back to it. Another one was resumed
  // by a stranger, or is one: it gets a loop of its own, in which it goes on itself as soon as it is next.
  if (innermost == nullptr || innermost->running != from) [[unlikely]]
    return run_loop(nullptr, next);
  static_cast<trampoline*>(innermost)->next = next;
}

record* task_of_running(void* frame) noexcept {
  stack_mark const* const innermost = this_thread().mark;
  return innermost != nullptr && innermost->running == frame ? static_cast<trampoline const*>(innermost)->task
                                                             : nullptr;
}

namespace {

// On a worker of its home, or where no pool counts it.
void end_here(record& task) noexcept {
  record* const before = std::exchange(this_thread().current, &task);
  task.act_(&task, record_verb::end);
  this_thread().current = before != &task ? before : nullptr;
  if (task.inherited()) end_forked_child(task);
  bool const counted = pool_of(task.home_) != nullptr;
  complete(task);  // the record may go with it
  if (counted) this_thread().as_worker->count_ended();
}

void end_at_home(runnable* r) noexcept { end_here(static_cast<record&>(*r)); }

}  // namespace

void end_coroutine(record& task, void* frame) noexcept {
  flow_of(task).frame_ = frame;
  if (task.inherited()) end_forked_child(task);
  worker const* const w = this_thread().as_worker;
  pool_core* const pool = pool_of(task.home_);
  if (pool == nullptr || (w != nullptr && &w->home() == pool)) return end_here(task);
  // Somebody else's awaitable has resumed it on a thread that is not of its pool. It is counted there.
  task.run = &end_at_home;
  make_ready(task, *pool, flow_of(task).only_);
}

}  // namespace errand::detail
