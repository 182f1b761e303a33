// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The links of a chain, as then() makes them: tasks that come to their pool when another one has ended, or end with it. Who
// owns what, and when: "Composites" in src/task/README.md.
#include "sched/blocking.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/wait.hpp"
#include "task/inputs.hpp"
#include "task/rare_fields.hpp"
#include "task/settle.hpp"
#include "task/thread_state.hpp"

#include <errand/task.hpp>

namespace errand::detail {

namespace {

// waiting for its input -> done, without f and without a worker. Result in place; may free the record.
void end_link(link& l) noexcept {
  record& r = *l.self;
  pool_core* const pool = pool_of(r.home_);
  complete(r);
  if (pool != nullptr) pool->forgo();  // none at `blocking`, and in a queue
}

// waiting for its input -> waiting to be run, as any task of its pool. False if it was asked to stop meanwhile.
bool submit_link(link& l) noexcept {
  record& r = *l.self;
  auto s = r.state_.load(std::memory_order_relaxed);
  do {
    if ((s & record_state::stop) != 0) return false;
    // (B1) release: whoever begins it from now on sees it as made, and its input's value.
  } while (!r.state_.compare_exchange_weak(s, (s & ~(record_state::begun | record_state::awaits_input)) | record_state::queued,
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
  if (pool_core* const pool = pool_of(r.home_); pool != nullptr) {
    make_ready(r, *pool);
  } else if (r.home_ != nullptr) {
    r.home_->gate().push_lent(r);
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
    if (submit_link(l)) return;
    r.stopped_ = true;
  } else {
    r.error_ = failure_of(input);
    r.stopped_ = r.error_ == nullptr;
    // Who takes the link's error has taken this one. That a time limit has passed is no error to be reported.
    r.observed_.store(input.error_ == nullptr, std::memory_order_relaxed);
    input.observed_.store(true, std::memory_order_relaxed);
  }
  end_link(l);
}

}  // namespace

// A coroutine may move on to another place meanwhile; which of the two counts as where it ran is then nobody's promise. What it
// points to may be gone, if it is a pool.
static place_core* home_of(record& input) noexcept {
  return std::atomic_ref{input.home_}.load(std::memory_order_relaxed);
}

// The lane of a queue that the input runs or ran in, lent to one record more; null for one that runs in no queue.
static place_core* borrow_queue_of(record& input) noexcept {
  if ((input.state_.load(std::memory_order_acquire) & record_state::lent) == 0) return nullptr;  // (C1)
  lock_record(input);
  place_core* home = home_of(input);
  queue_gate* lender = nullptr;
  auto const* const rare = input.rare_.load(std::memory_order_acquire);  // (F1)
  if (rare == nullptr || rare->loans.empty()) {
    lender = &home->gate();
  } else {
    for (queue_gate* const q : rare->loans)
      if (q->has(home)) lender = q;
  }
  if (lender != nullptr) lender->lend();
  unlock_record(input);
  return lender != nullptr ? home : nullptr;
}

void prepare_link(record& input, place_core* where) {
  if (where != nullptr && where->is_queue()) where->gate().require_own("errand::future::then()");
  if (where != nullptr) return;
  if (input.inherited() && (input.state_.load(std::memory_order_relaxed) & record_state::lent) != 0) {
    auto const* const rare = input.rare_.load(std::memory_order_acquire);  // (F1)
    queue_gate const& its = rare == nullptr || rare->loans.empty() ? home_of(input)->gate() : *rare->loans.front();
    its.require_own("errand::future::then()");
  }
  if (home_of(input) == nullptr) static_cast<void>(default_pool());
}

// To where it belongs from now on, counted there; to nowhere at `blocking`.
static place_core* expect_link(record& input, place_core* where) noexcept {
  if (where == nullptr)
    if (place_core* const queue = borrow_queue_of(input); queue != nullptr) return queue;
  if (where != nullptr && where->is_queue()) {
    where->gate().lend();
    return where;
  }
  if (where != nullptr && where->what() == place_core::kind::blocking) return nullptr;
  place_core* const pool = where != nullptr ? where : home_of(input);  // it may be gone
  if (pool != nullptr && pool_core::expect_if_open(*pool)) return pool;
  pool_core& instead = as_pool(default_pool());
  instead.expect();
  return &instead;
}

void start_link(record& r, link& l, record& input, bool shared, place_core* where) noexcept {
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
  auto const lent = r.home_ != nullptr && r.home_->is_queue() ? record_state::lent : 0;
  r.state_.store(record_state::handle | record_state::begun | record_state::chained | record_state::awaits_input | lent,
                 std::memory_order_relaxed);
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
    end_link(l);
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
