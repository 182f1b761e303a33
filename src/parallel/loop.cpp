// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// for_each_index, for_each, map, reduce and parallel_invoke: one shared count of indices, handed out in shrinking shares to
// as many runners as there are workers. The caller is one of them, unless it is a worker and the iterations may block. A
// runner whose iteration is about to wait gives back the rest of its share and starts another runner in its stead, so that
// iterations that wait do not hold up those that could go on.
#include "base/lock.hpp"
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/rare_fields.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/group.hpp>

#include <algorithm>

namespace errand::detail {

namespace {

class runner;
struct shared_loop;

// One runner more, on the pool. It has no parent: its stop is the loop's to ask for.
void start_another(shared_loop& loop) noexcept;
// The failure of an iteration, or a stop (no error). The first: nobody takes another index, those who wait are woken. Later
// ones nobody will take.
void fail_loop(shared_loop& loop, std::exception_ptr error) noexcept;

// Lives on the caller's stack: the caller leaves only when every runner has ended.
struct shared_loop {
  pool_core& where;
  std::size_t width;  // how many runners work at a time
  void* context;
  loop_body body;
  std::source_location from;

  small_lock guard{};          // all below
  std::size_t next = 0;        // the first index that nobody has
  std::size_t count = 0;       // one past the last
  runner* shares = nullptr;    // runners that wait in an iteration, with the rest of their share to be had
  runner* to_join = nullptr;   // all but the caller
  runner* callers = nullptr;   // the caller's own, if it takes part
  bool failed = false;
  std::exception_ptr error{};  // the first; null if it was a stop
};

// A task that takes shares of the loop until none is left. A task of its own type, because it is made where nothing may
// be thrown and knows its loop.
class runner final : public result_record<void> {
 public:
  explicit runner(shared_loop& loop) : result_record<void>{&act, loop.from}, loop_{loop} {
    auto& rare = rare_fields_of(*this);
    rare.on_wait = [](void* self) noexcept { static_cast<runner*>(self)->before_wait(); };
    rare.on_wait_context = this;
    tells_of_waits_ = true;
  }

  runner* next_to_join = nullptr;

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<runner*>(base);
    if (verb == record_verb::run) self->take_shares();  // nothing is kept of body or result: drop has nothing to do
    if (verb == record_verb::destroy) {
      self->~runner();
      deallocate_record(self, sizeof(runner));
    }
    return true;
  }

  void take_shares() noexcept {
    while (take_share()) {
      for (;;) {
        std::size_t i;
        if (!next_of_share(i)) break;
        try {
          if (stop_requested(*this)) throw operation_cancelled{};
          loop_.body(loop_.context, i, own_);
        } catch (operation_cancelled const&) {
          return fail(nullptr);
        } catch (...) {
          return fail(std::current_exception());
        }
      }
    }
    has_value_ = true;
  }

  bool take_share() noexcept {
    std::lock_guard const held{loop_.guard};
    if (loop_.failed) return false;
    if (runner* const waiting = loop_.shares; waiting != nullptr) {
      begin_ = waiting->begin_;
      end_ = waiting->end_;
      waiting->begin_ = waiting->end_;
      waiting->offered_ = false;
      loop_.shares = waiting->next_offering_;
      return true;
    }
    auto const left = loop_.count - loop_.next;
    if (left == 0) return false;
    // Guided self-scheduling (Polychronopoulos and Kuck, 1987): large shares first, single indices at the end.
    auto const share = left / (8 * loop_.width) + 1;
    begin_ = loop_.next;
    end_ = loop_.next += share;
    return true;
  }

  // The rest of the share is shared only while an iteration of this runner waits; then others look at it under the guard.
  bool next_of_share(std::size_t& i) noexcept {
    if (offered_seen_) {
      std::lock_guard const held{loop_.guard};
      offered_seen_ = false;
      if (offered_) take_back();
      if (loop_.failed) return false;
    }
    if (begin_ == end_) return false;
    i = begin_++;
    return true;
  }

  void take_back() noexcept {
    runner** link = &loop_.shares;
    while (*link != this) link = &(*link)->next_offering_;
    *link = next_offering_;
    offered_ = false;
  }

  void before_wait() noexcept {
    {
      std::lock_guard const held{loop_.guard};
      offered_seen_ = true;
      if (loop_.failed) return;
      if (begin_ != end_ && !offered_) {
        offered_ = true;
        next_offering_ = loop_.shares;
        loop_.shares = this;
      }
      if (loop_.shares == nullptr && loop_.next == loop_.count) return;
    }
    start_another(loop_);
  }

  void fail(std::exception_ptr error) noexcept {
    stopped_ = true;
    fail_loop(loop_, std::move(error));
  }

  shared_loop& loop_;
  std::size_t begin_ = 0;  // of the share: this runner's, or under the loop's guard while offered_
  std::size_t end_ = 0;
  runner* next_offering_ = nullptr;  // under the guard
  bool offered_ = false;             // under the guard: it stands in shares
  bool offered_seen_ = false;        // this runner's: it may have offered since it last looked
  void* own_ = nullptr;              // the body's, for this runner
};

void start_another(shared_loop& loop) noexcept {
  auto* const other = make_record<runner>(loop);
  record* const current = std::exchange(this_thread().current, nullptr);
  start_on(loop.where, *other);
  this_thread().current = current;
  // Into the list only now: the caller, who looks there, may let go of what it finds. It cannot have left, because it waits
  // for us, who stand in the list already or are the caller itself.
  bool failed;
  {
    std::lock_guard const held{loop.guard};
    other->next_to_join = loop.to_join;
    loop.to_join = other;
    failed = loop.failed;
  }
  if (failed) stop_record(*other, false);
}

void fail_loop(shared_loop& loop, std::exception_ptr error) noexcept {
  std::vector<record*> to_stop;
  bool first;
  {
    std::lock_guard const held{loop.guard};
    first = !std::exchange(loop.failed, true);
    if (first) {
      loop.error = std::move(error);
      if (loop.callers != nullptr) to_stop.push_back(loop.callers);
      for (runner* r = loop.to_join; r != nullptr; r = r->next_to_join) to_stop.push_back(r);
      for (record* const r : to_stop) pin(*r);
    }
  }
  if (!first && error) report_unobserved(further_error{std::move(error), {}, loop.from});
  for (record* const r : to_stop) {
    stop_record(*r, false);
    unpin(*r);
  }
}

// Waits for one runner; one that has not begun is not needed if nothing is left. A stop of the waiting task stops the loop.
void join(shared_loop& loop, runner& r) noexcept {
  bool nothing_left;
  {
    std::lock_guard const held{loop.guard};
    nothing_left = loop.failed || (loop.next == loop.count && loop.shares == nullptr);
  }
  if (r.done() || (nothing_left && stop_unbegun(r))) return;
  wait_request q;
  q.awaited = &r;
  q.self = cancellable_task();
  if (q.self == nullptr || !stop_requested(*q.self)) block_or_sleep(q);
  if (r.done()) return;
  fail_loop(loop, nullptr);
  wait_request to_the_end;
  to_the_end.awaited = &r;
  block_or_sleep(to_the_end);
}

// The list grows at its head while runners run, and stays whole until the last has ended: a failure must reach them all.
void join_all(shared_loop& loop) noexcept {
  runner* joined = nullptr;
  for (;;) {
    runner* first;
    {
      std::lock_guard const held{loop.guard};
      first = loop.to_join;
    }
    if (first == joined) break;
    for (runner* r = first; r != joined; r = r->next_to_join) join(loop, *r);
    joined = first;
  }
  while (joined != nullptr) release_handle(*std::exchange(joined, joined->next_to_join));
}

}  // namespace

void run_loop(place_core* place, std::size_t count, void* context, loop_body body, std::source_location from) {
  pool_core* const where = pool_of_loop(place);
  // A worker must not be blocked: at `blocking` it runs no iteration by itself.
  bool const takes_part = where == nullptr || where->size() != 0 || this_thread().as_worker == nullptr;
  if (where == nullptr || (count == 1 && takes_part)) {
    void* own = nullptr;
    for (std::size_t i = 0; i < count; ++i) body(context, i, own);
    return;
  }
  if (count == 0) return;
  shared_loop loop{.where = *where, .width = where->width(), .context = context, .body = body, .from = from};
  loop.count = count;
  auto others = std::min(loop.width, count);
  if (takes_part) {
    loop.callers = make_record<runner>(loop);
    // Begun before anybody else can fail: a failing runner stops this one too, and would else complete it as never begun.
    loop.callers->state_.fetch_or(record_state::begun, std::memory_order_relaxed);
    --others;
  }
  for (; others > 0; --others) start_another(loop);
  if (loop.callers != nullptr) start_in_place(*loop.callers);
  join_all(loop);
  if (loop.callers != nullptr) release_handle(*loop.callers);
  if (!loop.failed) return;
  if (loop.error) std::rethrow_exception(loop.error);
  throw operation_cancelled{};
}

}  // namespace errand::detail
