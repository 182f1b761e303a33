// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arrow one and two of a task's way: from async() into a deque or an inbox, and from there onto a worker.
#include "base/check.hpp"
#include "sched/blocking.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/timers.hpp"
#include "sched/wait.hpp"
#include "task/detached.hpp"
#include "task/rare_fields.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/outside_task.hpp>
#include <errand/task.hpp>

namespace errand::detail {

namespace {

class record_deadline final : public armed_deadline {
 public:
  record_deadline(record& r, std::int64_t at) {
    entry_.at = at;
    entry_.to_stop = &r;
    arm_timer(entry_);
  }
  void disarm() noexcept override { disarm_timer(entry_); }

 private:
  timer_entry entry_;
};

// Out of line, as are other rare paths below: inlined, their registers would be saved on the common path too.
// A queue has room for it: see reserve_at().
[[gnu::noinline]] void put_elsewhere(place_core& where, record& r) noexcept {
  switch (where.what()) {
    case place_core::kind::pool:
      return as_pool(where).push_from_outside(r, 1);
    case place_core::kind::blocking:
      return blocking_threads::of_process().run(r);
    case place_core::kind::queue:
      return where.gate().push(r);
  }
}

[[gnu::always_inline]] inline void put_into_deque(worker& w, record& r) noexcept {
  w.count_started();
  w.home().notify(w.work().push(&r));
}

// Its own flow has not begun, and never will.
void unmake(record& r) noexcept {
  if (r.parent_ != nullptr) --r.parent_->unresolved_children_;
  destroy(r);
}

// Of a record that nobody else has seen.
void reserve_or_unmake(place_core& where, record& r) {
  try {
    reserve_at(where);
  } catch (...) {
    unmake(r);
    throw;
  }
}

[[gnu::noinline]] void start_elsewhere(place_core& where, record& r) {
  r.home_ = home_at(where);
  if (where.is_queue()) {
    reserve_or_unmake(where, r);
    r.state_.store(r.state_.load(std::memory_order_relaxed) | record_state::lent, std::memory_order_relaxed);
  }
  put_elsewhere(where, r);
}

// A pool's task has just ended: on a worker, unless it has forked and this is the child.
void require_worker(record const& r, thread_state const& after) noexcept {
  if (after.as_worker == nullptr) [[unlikely]]
    end_forked_child(r);
}

// The task's own flow of control, from begin to end, on the running stack.
bool run_body(record& r) noexcept { return r.act_(&r, record_verb::run); }

}  // namespace

void end_forked_child(record const& r) noexcept {
  fatal(describe(r) + " returned in the child of a fork that it made; there it may only exec or _exit");
}

void apply(start_options const& options, record& r) {
  try {
    r.state_.fetch_or(record_state::begun, std::memory_order_relaxed);
    auto& rare = rare_fields_of(r);
    rare.name = options.name;
    rare.stop_takes_time = options.outside;
    if (options.deadline != no_deadline) {
      prepare_timers();
      rare.deadline = std::make_unique<record_deadline>(r, options.deadline);
    }
    rare.stopped_by_others = options.deadline != no_deadline || options.stop.stop_possible();
    if (options.stop.stop_possible()) rare.outer_stop.emplace(options.stop, rare_fields::forward_stop{&r});
  } catch (...) {
    unmake(r);
    throw;
  }
}

void begin_outside(record& r, waiter& on_stop, start_options const& options) {
  adopt_child(r, this_thread().current);
  apply(options, r);
  if (options.deadline <= now()) stop_record(r, true);  // the timekeeper may take its time
  show_outside(r, on_stop);
}

bool admit(record& r) noexcept {
  // (B1) release: whoever begins or stops it from now on sees all that was put into it.
  auto const before = r.state_.fetch_and(~record_state::begun, std::memory_order_acq_rel);
  return (before & record_state::stop) == 0 || !stop_unbegun(r);
}

void reserve_at(place_core& where) {
  if (where.is_queue()) where.gate().reserve();
}

void give_back_room_at(place_core& where) noexcept {
  if (where.is_queue()) where.gate().give_room_back();
}

void give_to(place_core& where, record& r) noexcept {
  auto* const w = this_thread().as_worker;
  if (w != nullptr && &w->home() == &where) return put_into_deque(*w, r);
  if (where.is_queue()) r.state_.fetch_or(record_state::lent, std::memory_order_relaxed);
  put_elsewhere(where, r);
}

void start_on(place_core& where, record& r) {
  thread_state& t = this_thread();
  r.run = &run_queued_task;
  adopt_child(r, t.current);
  r.state_.store(record_state::handle | record_state::queued, std::memory_order_relaxed);
  if (t.as_worker == nullptr || &t.as_worker->home() != &where) return start_elsewhere(where, r);
  r.home_ = &where;
  put_into_deque(*t.as_worker, r);
}

void start_on(place_core& where, record& r, start_options const& options) {
  r.run = &run_queued_task;
  r.home_ = home_at(where);
  adopt_child(r, this_thread().current);
  reserve_or_unmake(where, r);
  try {
    apply(options, r);
  } catch (...) {
    give_back_room_at(where);
    throw;
  }
  if (!admit(r)) return give_back_room_at(where);
  r.state_.fetch_or(record_state::queued, std::memory_order_relaxed);
  give_to(where, r);
}

void run_here(record& r) noexcept {
  record* const outer = this_thread().current;
  if (r.inplace_allowed_) {
    begin_nested(r);
  } else if (auto* const w = this_thread().as_worker; w != nullptr) {
    // A coroutine may suspend and go on later: it is this pool's task, and keeps a reference to its parent like any other.
    r.home_ = &w->home();
    w->count_started();
  }
  this_thread().current = &r;
  bool const ended = run_body(r);
  thread_state& after = this_thread();
  after.current = outer;
  if (!ended) return;
  bool const counted = pool_of(r.home_) != nullptr;
  if (counted) require_worker(r, after);
  complete(r);  // may go on on another thread
  if (counted) this_thread().as_worker->count_ended();
}

void start_in_place(record& r) noexcept {
  adopt_child(r, this_thread().current);
  r.state_.fetch_or(record_state::begun, std::memory_order_relaxed);
  run_here(r);
}

void start_in_place(record& r, start_options const& options) {
  adopt_child(r, this_thread().current);
  apply(options, r);
  if (admit(r) && try_begin(r)) run_here(r);
}

bool drop_if_stale(runnable& x) noexcept {
  if (x.run != &run_queued_task) return false;
  auto& r = static_cast<record&>(x);
  auto const s = r.state_.load(std::memory_order_acquire);  // (B1)
  if ((s & record_state::begun) == 0) return false;
  if ((s & record_state::unrun) != 0) this_thread().as_worker->count_ended();
  release_queue_reference(r);
  return true;
}

// Mostly a stop keeps a task from beginning at all; one of its parent, or a deadline of a detached task, is found here.
static bool stopped_before_it_began(record const& r) noexcept {
  auto const s = r.state_.load(std::memory_order_relaxed);
  if ((s & record_state::stop) != 0) return true;
  if (r.parent_ == nullptr || (s & record_state::detached) != 0) return false;
  auto const parents = r.parent_->state_.load(std::memory_order_acquire);  // (S1)
  return (parents & (record_state::stop | record_state::done)) == record_state::stop;
}

bool run_begun(record& r) noexcept {
  if (stopped_before_it_began(r)) {
    r.stopped_ = true;
    drop_contents(r);
    return true;
  }
  this_thread().current = &r;
  bool const ended = run_body(r);
  this_thread().current = nullptr;
  return ended;
}

void run_queued_task(runnable* x) noexcept {
  auto& r = static_cast<record&>(*x);
  if (!try_begin(r, record_state::queued)) {
    static_cast<void>(drop_if_stale(r));
    return;
  }
  if (!run_begun(r)) return;
  require_worker(r, this_thread());
  complete(r);  // may go on on another thread
  this_thread().as_worker->count_ended();
}

void run_without_pool(record& r) noexcept {
  if (!try_begin(r, record_state::queued)) return release_queue_reference(r);
  if (!run_begun(r)) return;
  if (r.inherited()) end_forked_child(r);
  complete(r);
}

bool run_in_place(record& r) noexcept {
  thread_state& t = this_thread();
  worker* const w = t.as_worker;
  record* const waiting = t.current;
  // Only a task that the waiting one started, on a pool whose worker this is: so all that lies above it on the stack is what
  // waits for it anyway, and a stop of what lies above is a stop of it.
  // (A coroutine's home may change meanwhile: it is asked first whether it is one.)
  if (w == nullptr || waiting == nullptr || !r.inplace_allowed_ || r.home_ != &w->home() || r.parent_ != waiting)
    return false;
  if ((waiting->state_.load(std::memory_order_relaxed) & record_state::stop) != 0)
    return false;  // it will throw instead
  // A task may count on three quarters of a stack; deeper than a quarter, a child gets a stack of its own.
  if (!stack_mostly_left(w->running_stack())) return false;

  bool alone = false;  // nobody else can refer to it: no atomic read-modify-write is needed
  if (w->work().pop_if(&r)) {
    w->drop_stale();
    alone = r.rare_.load(std::memory_order_relaxed) == nullptr;
    if (alone) {
      r.state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
    } else if (!try_begin(r, record_state::queued)) {
      static_cast<void>(drop_if_stale(r));
      return r.done();
    }
  } else if (try_begin(r)) {
    w->note_stale();
  } else {
    return r.done();
  }
  begin_nested(r);
  t.current = &r;
  run_body(r);
  thread_state& after = this_thread();
  require_worker(r, after);
  after.current = waiting;
  constexpr auto untouched = record_state::handle | record_state::begun;
  if (alone && r.unresolved_children_ == 0 && r.state_.load(std::memory_order_relaxed) == untouched) {
    r.state_.store(untouched | record_state::done, std::memory_order_release);  // (C1)
    after.as_worker->count_ended();
    return true;
  }
  complete(r);  // may go on on another thread
  this_thread().as_worker->count_ended();
  return true;
}

void release_detached_elsewhere(record& r) noexcept {
  r.run = [](runnable* x) noexcept { release_detached(static_cast<record&>(*x)); };
  pool_core* const pool = pool_of(r.home_);
  make_ready(r, pool != nullptr ? *pool : as_pool(default_pool()));
}

}  // namespace errand::detail
