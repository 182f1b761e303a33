// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a queue's items run on a thread that serves it. It is the same protocol, with the thread in the place of the pool: only
// where the pool would be given the entry, the thread is told of it. events.md.
#include "queue/queue_core.hpp"
#include "task/thread_state.hpp"

namespace errand::detail {

namespace {

class served {
 public:
  served(stack_mark& mark, queue_core& q) noexcept : mark_{mark}, current_{this_thread().current} {
    mark.queue = &q;
    mark.outer = this_thread().mark;
    this_thread().mark = &mark;
    this_thread().current = nullptr;
  }
  ~served() {
    this_thread().mark = mark_.outer;
    this_thread().current = current_;
  }
  served(served const&) = delete;
  served& operator=(served const&) = delete;

 private:
  stack_mark& mark_;
  record* const current_;  // the item in which a nested loop runs
};

}  // namespace

std::size_t queue_core::serve(bool present_only, bool (*enough)(void const* of) noexcept, void const* of) noexcept {
  if (!take_hold(true)) return 0;
  stack_mark mark;
  served const while_it_runs{mark, *this};
  std::size_t count = 0;
  for (; !enough(of); ++count) {
    if (!present_only && (ready_.empty() || prioritised_.load(std::memory_order_relaxed))) take_more();
    runnable* const x = ready_.front();
    if (x == nullptr) break;
    if (!try_take(need::the_hold)) {
      stall(need::the_hold);
      return count;
    }
    ready_.pop_front();
    static_cast<void>(run_item(*x, mark));
  }
  leave();  // somebody has a handle: that of the loop
  return count;
}

void queue_core::leave_for_a_while() noexcept { leave(); }

void queue_core::come_back() noexcept {
  while (!take_hold(false)) {  // nobody else takes it, but on this very thread
  }
}

bool queue_core::run_this(record& r) noexcept {
  if (!take_hold(false)) return false;
  take_more();
  if (!ready_.has(r)) {
    leave();
    return false;
  }
  if (!try_take(need::the_hold)) {
    stall(need::the_hold);
    return true;
  }
  ready_.remove(r);
  if (is_turn(r)) {
    count_begun();
    if (!hand_over(r)) leave();
    return true;  // whoever waits for the turn holds the queue
  }
  {
    stack_mark mark;
    served const while_it_runs{mark, *this};
    static_cast<void>(run_item(r, mark));
  }
  leave();
  return true;
}

}  // namespace errand::detail
