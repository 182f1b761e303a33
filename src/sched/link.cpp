// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The links of a chain, as then() makes them: tasks that come to their pool when another one has ended, or end with it. Who
// owns what, and when: "Composites" in src/task/README.md.
#include "sched/blocking.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/wait.hpp"
#include "task/inputs.hpp"
#include "task/settle.hpp"
#include "task/thread_state.hpp"

#include <errand/task.hpp>

namespace errand::detail {

namespace {

// waiting for its input -> done, without f and without a worker. Result in place; may free the record.
void end_link(record& r) noexcept {
  pool_core* const home = r.home_;
  complete(r);
  if (home != nullptr) home->forgo();  // none at `blocking`
}

// waiting for its input -> waiting to be run, as any task of its pool. False if it was asked to stop meanwhile.
bool submit_link(record& r) noexcept {
  auto s = r.state_.load(std::memory_order_relaxed);
  do {
    if ((s & record_state::stop) != 0) return false;
    // (B1) release: whoever begins it from now on sees it as made, and its input's value.
  } while (!r.state_.compare_exchange_weak(s, (s & ~record_state::begun) | record_state::queued,
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
  if (r.home_ != nullptr) {
    make_ready(r, *r.home_);
  } else {
    pause_of_settling const apart;  // if no thread can be started, what the task captured goes at once
    blocking_threads::of_process().run(r);
  }
  return true;
}

// The input has ended. The link is not done, so its input is there.
void go_on(waiter* w) noexcept {
  auto& l = static_cast<link&>(*w);
  record& r = *l.self;
  record& input = *l.input;
  if (input.has_value_) {
    if (submit_link(r)) return;
    r.stopped_ = true;
  } else {
    r.error_ = failure_of(input);
    r.stopped_ = r.error_ == nullptr;
    // Who takes the link's error has taken this one. That a time limit has passed is no error to be reported.
    r.observed_.store(input.error_ == nullptr, std::memory_order_relaxed);
    input.observed_.store(true, std::memory_order_relaxed);
  }
  end_link(r);
}

}  // namespace

// A coroutine may move on to another pool meanwhile; which of the two counts as where it ran is then nobody's promise.
static pool_core* home_of(record& input) noexcept { return std::atomic_ref{input.home_}.load(std::memory_order_relaxed); }

void prepare_link(record& input, pool_core* where) {
  if (where == nullptr && home_of(input) == nullptr) static_cast<void>(default_pool());
}

// To which pool it belongs from now on, counted there; to none at `blocking`.
static pool_core* expect_link(record& input, pool_core* where) noexcept {
  if (where != nullptr && where->size() == 0) return nullptr;
  if (where == nullptr) where = home_of(input);  // it may be gone
  if (where != nullptr && pool_core::expect_if_open(*where)) return where;
  default_pool().expect();
  return &default_pool();
}

void start_link(record& r, link& l, record& input, bool shared, pool_core* where) noexcept {
  l.wake = [](waiter* w) noexcept { settle(*w, &go_on); };
  l.self = &r;
  l.input = &input;
  l.input_shared = shared;
  r.run = &run_queued_task;
  r.home_ = expect_link(input, where);
  r.inplace_allowed_ = false;
  r.stands_for_others_ = true;
  adopt_child(r, this_thread().current);
  // Begun, as long as it waits: a stop does not end it before its input has ended.
  r.state_.store(record_state::handle | record_state::begun | record_state::chained, std::memory_order_relaxed);
  if (hook(input, l)) return;
  static_cast<void>(claim(l, claimant::itself));  // no stopper will: from now on the link is none that waits
  go_on(&l);
}

void stop_link(link& l) noexcept {
  record& r = *l.self;
  lock_record(r);
  record* const input = l.input;
  if (input != nullptr) pin(*input);
  unlock_record(r);
  if (input == nullptr) return;
  if (!l.input_shared) {
    stop_unless_kept(*input);
  } else if (claim(l, claimant::stop)) {
    unhook(*input, l);
    r.stopped_ = true;
    end_link(r);
  }
  unpin(*input);
}

void show_input(link& l) noexcept {
  lock_record(*l.self);
  if (l.input != nullptr && !l.input->done()) static_cast<void>(this_thread().asking_for_inputs->visit(*l.input));
  unlock_record(*l.self);
}

// Takes the input out, so that a stop does not look at it any more.
static record* take_input(link& l) noexcept {
  record& r = *l.self;
  lock_record(r);
  record* const input = std::exchange(l.input, nullptr);
  unlock_record(r);
  return input;
}

void leave_input(link& l) noexcept {
  record* const input = take_input(l);
  thread_state& t = this_thread();
  t.left_over = input;
  t.left_over_is_shared = input != nullptr && l.input_shared;
}

void release_input(link& l) noexcept {
  record* const input = take_input(l);
  if (l.input_shared)
    drop_share(*input);
  else
    release_handle(*input);
}

void throw_inplace_link() {
  throw std::invalid_argument{
      "errand::future::then(): the place is inplace; then() never calls f inside then(), nor in the "
      "midst of another task's end"};
}

}  // namespace errand::detail
