// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How it goes on where permits are wanting. value_ counts demands as negative permits: each acquire takes one away first, and each
// release adds first. So the k demands that a release finds are its to satisfy, whether they stand in the row yet or not:
// for those who do not, granted_ keeps the permit. Who gives up takes his demand back only as long as value_ says that no release
// has counted on it; else a permit is on its way to him, and he waits for that.
#include "base/check.hpp"
#include "sync/waiters.hpp"
#include "task/stop.hpp"

#include <errand/detail/errors.hpp>

#include <stdexcept>
#include <string>

namespace errand {

using namespace detail;

semaphore::semaphore(std::ptrdiff_t permits) : value_{permits} {
  if (permits < 0 || permits > max())
    throw std::invalid_argument{"errand::semaphore: it cannot have " + std::to_string(permits) + " permits"};
}

semaphore::~semaphore() {
  if (value_.load(std::memory_order_relaxed) < 0) fatal("an errand::semaphore was destroyed while somebody waits for it");
}

void semaphore::refuse(std::ptrdiff_t permits) noexcept {
  fatal("errand::semaphore::release(" + std::to_string(permits) +
        "): the number is negative, or there would be more permits than semaphore::max()");
}

// Its demand is counted. True: it has a permit.
bool semaphore::wait(std::int64_t deadline) {
  sync_waiter w;
  {
    lock_waiters const held{waiters_};
    if (granted_ != 0) {
      --granted_;
      return true;
    }
    push_back(waiters_, w);
  }
  std::exception_ptr no_stack;
  try {
    wait_for_turn(w, deadline);
  } catch (...) {
    no_stack = std::current_exception();
  }
  if (w.done()) return true;
  bool gave_up = false;
  {
    lock_waiters const held{waiters_};
    auto demands = value_.load(std::memory_order_relaxed);
    // (SE1) relaxed: nothing is got.
    while (demands < 0 && !gave_up) gave_up = value_.compare_exchange_weak(demands, demands + 1, std::memory_order_relaxed);
    if (gave_up && !take_out(waiters_, w)) {
      // It was taken out meanwhile: what was taken back is another one's demand, whose permit is ours.
      value_.fetch_sub(1, std::memory_order_relaxed);
      gave_up = false;
    }
  }
  if (gave_up && no_stack != nullptr) std::rethrow_exception(no_stack);
  if (gave_up) return false;
  await_turn(w);
  return true;
}

void semaphore::acquire_slowly(std::int64_t deadline) {
  record* const self = cancellable_task();
  while (!wait(deadline)) {
    if (self != nullptr) throw_if_stopped(*self);
    if (value_.fetch_sub(1, std::memory_order_acquire) > 0) return;  // (SE1)
  }
}

bool semaphore::acquire_until(std::int64_t deadline) {
  record* const self = cancellable_task();
  if (self != nullptr) throw_if_stopped(*self);
  if (deadline <= now()) return false;
  if (value_.fetch_sub(1, std::memory_order_acquire) > 0) return true;  // (SE1)
  if (wait(deadline)) return true;
  if (self != nullptr) throw_if_stopped(*self);
  return false;
}

void semaphore::release_slowly(std::ptrdiff_t permits) noexcept {
  sync_waiter* to_wake = nullptr;
  sync_waiter** end = &to_wake;
  {
    lock_waiters const held{waiters_};
    for (; permits != 0; --permits) {
      sync_waiter* const w = pop_front(waiters_);
      if (w == nullptr) break;
      w->next = nullptr;
      *end = w;
      end = &w->next;
    }
    granted_ += permits;
  }  // the semaphore may be gone
  while (to_wake != nullptr) {
    sync_waiter* const next = to_wake->next;  // before: its frame goes with its turn
    complete(*to_wake);
    to_wake = next;
  }
}

}  // namespace errand
