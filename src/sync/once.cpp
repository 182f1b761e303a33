// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sync/waiters.hpp"
#include "task/references.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/errors.hpp>

namespace errand {

using namespace detail;

// Who does it: the task, or the thread where there is none.
static void const* caller() noexcept {
  thread_state& t = this_thread();
  return t.current != nullptr ? static_cast<void const*>(t.current) : &t;
}

static bool is_beneath(void const* runner) noexcept {
  for (record const* r = this_thread().current; r != nullptr; r = r->nested_ ? r->parent_ : nullptr)
    if (r == runner) return true;
  return runner == static_cast<void const*>(&this_thread());
}

bool once::begin() {
  sync_waiter w;
  bool self_call = false;
  {
    lock_waiters const held{waiters_};
    auto const state = state_.load(std::memory_order_relaxed);
    if (state == is_done) return false;
    if (state == untouched) {
      state_.store(is_running, std::memory_order_relaxed);
      runner_ = caller();
      return true;
    }
    self_call = is_beneath(runner_);
    if (!self_call) push_back(waiters_, w);
  }
  if (self_call) throw deadlock{"errand::once::call(): it is called by what it is to do itself, which would wait for itself"};
  std::exception_ptr no_stack;
  try {
    wait_for_turn(w, no_deadline);
  } catch (...) {
    no_stack = std::current_exception();
  }
  bool left = false;
  if (!w.done()) {
    lock_waiters const held{waiters_};
    left = take_out(waiters_, w);
  }
  if (!left) {
    await_turn(w);
    if (!w.is_next) return false;
    if (no_stack != nullptr) hand_on();
  }
  if (no_stack != nullptr) std::rethrow_exception(no_stack);
  if (left) throw operation_cancelled{};
  lock_waiters const held{waiters_};
  runner_ = caller();
  return true;
}

// It was not done: the next in the row does it.
void once::hand_on() noexcept {
  sync_waiter* next = nullptr;
  {
    lock_waiters const held{waiters_};
    next = pop_front(waiters_);
    runner_ = nullptr;
    if (next == nullptr)
      state_.store(untouched, std::memory_order_relaxed);
    else
      next->is_next = true;
  }
  if (next != nullptr) complete(*next);
}

void once::end(bool ended) noexcept {
  if (!ended) return hand_on();
  sync_waiter* all = nullptr;
  {
    lock_waiters const held{waiters_};
    all = std::exchange(waiters_.first, nullptr);
    runner_ = nullptr;
    state_.store(is_done, std::memory_order_release);  // (ON1)
  }
  while (all != nullptr) {
    sync_waiter* const next = all->next;  // before: its frame goes with its turn
    complete(*all);
    all = next;
  }
}

}  // namespace errand
