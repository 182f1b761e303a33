// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// sync(): the caller gets the queue, runs its function, leaves the queue. An idle one is taken at once; else the caller waits
// for a turn, which is an item without a body.
#include "queue/queue_core.hpp"
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/errors.hpp>
#include <errand/detail/result_record.hpp>

#include <algorithm>

namespace errand::detail {

namespace {

struct turn final : record {
  turn(queue_core& q, lane l) : record{&act, {}} {
    run = &never_run;
    home_ = &q.lane_place(l);
    q.lend();
    state_.store(record_state::handle | record_state::queued | record_state::lent, std::memory_order_relaxed);
  }

 private:
  static bool act(record* self, record_verb verb) noexcept {
    if (verb == record_verb::destroy) {
      static_cast<turn*>(self)->~turn();
      deallocate_record(self, sizeof(turn));
    }
    return true;
  }
};

need needed(queue_core const& q, bool alone) noexcept {
  return q.serial() ? need::the_hold : alone ? need::all : need::a_slot;
}

// A foreign thread looks on for about a third of what it takes to fall asleep and be woken; a task for about twice what it takes to
// park and be handed the queue.
constexpr int pauses_of_a_thread = 400;
constexpr int pauses_of_a_task = 48;
// It looks rarely: each look takes the queue's word away from who is at it, and two who come again and again cost each other less if
// each has several turns in a row. (Who waits longer gets a turn in the queue, and those are first come, first served.)
constexpr int most_pauses_between_looks = 16;

bool enter_soon(queue_core& q, need what, thread_state const& t) noexcept {
  int left = t.as_worker != nullptr ? pauses_of_a_task : pauses_of_a_thread;
  for (int pauses = 1; left > 0 && q.nobody_waits(); pauses = std::min(2 * pauses, most_pauses_between_looks)) {
    for (int i = 0; i < pauses; ++i) cpu_relax();
    left -= pauses;
    if (!q.is_held() && q.enter_if_idle(what)) return true;
  }
  return false;
}

// Whether nobody has handed the queue over (Q5); who is at it is waited for.
[[nodiscard]] bool give_up(record& r) noexcept {
  bool const unused = stop_unbegun(r);
  while (!r.done()) cpu_relax();  // it is being handed over
  return unused;
}

void wait_for_turn(queue_core& q, need what) {
  thread_state const& t = this_thread();
  record* const self = cancellable_task();
  if (self != nullptr) throw_if_stopped(*self);
  if (enter_soon(q, what, t)) return;
  bool const runs_others = q.driver() == nullptr && t.as_worker == nullptr && t.current == nullptr && t.calling_back == 0 && t.mark == nullptr &&
                           &q.pool() == &default_pool();
  record& r = *make_record<turn>(q, what == need::all ? lane::barrier : lane::normal);
  q.push_lent(r);
  if (runs_others && q.run_up_to(r)) return destroy(r);
  wait_request w;
  w.awaited = &r;
  w.self = self;
  w.may_refuse = true;
  try {
    block(w);
  } catch (...) {  // no stack to go on with
    bool const unused = give_up(r);
    release_handle(r);
    if (unused) throw;
    return;
  }
  bool const unused = !r.done() && give_up(r);
  release_handle(r);
  if (!unused) return;
  if (w.deadlock) std::rethrow_exception(w.deadlock);
  throw operation_cancelled{};
}

[[gnu::noinline]] void refuse_own(queue_core& q) {
  for (queue_core* one = &q; one != nullptr; one = one->target_queue())
    if ((one == &q || one->serial()) && one->is_current())
      throw deadlock{"errand::sync() onto the " + q.described() + " would wait for ever: it is called in " +
                     (one == &q ? std::string{"that queue"} : "the " + one->described() + ", which is its target") +
                     (this_thread().current != nullptr ? ", by " + describe(*this_thread().current) : std::string{})};
}

}  // namespace

queue_turn::queue_turn(queue_core& q, bool alone) : alone_{alone} {
  if (q.inherited()) [[unlikely]]
    q.require_own("errand::sync()");
  if (this_thread().mark != nullptr) refuse_own(q);
  if (q.driver() != nullptr && !q.driver()->is_here()) {
    elsewhere_ = true;
    return;
  }
  need const what = needed(q, alone);
  if (what == need::a_slot) q.add_reference();  // which a slot is not
  if (!q.enter_if_idle(what)) {
    try {
      wait_for_turn(q, what);
    } catch (...) {
      if (what == need::a_slot) q.drop_reference();
      throw;
    }
  }
  queue = &q;
  outer = this_thread().mark;
  this_thread().mark = this;
}

void queue_turn::end() noexcept {
  this_thread().mark = outer;
  auto& q = static_cast<queue_core&>(*queue);
  need const what = needed(q, alone_);
  q.leave_all(what);  // it may be gone, if it is not a slot that we had
  if (what == need::a_slot) q.drop_reference();
}

}  // namespace errand::detail
