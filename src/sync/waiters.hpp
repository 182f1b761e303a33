// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Those who wait for something that is no task: each has a record in the frame that waits, which is completed when its turn has
// come. So all that holds of waits for tasks holds of theirs: parking, stops, limits of time.
#pragma once

#include "base/lock.hpp"
#include "sched/wait.hpp"
#include "task/stop.hpp"

#include <errand/sync.hpp>

#include <mutex>

namespace errand::detail {

struct sync_waiter final : record {
  sync_waiter() noexcept : record{[](record*, record_verb) noexcept { return true; }, std::source_location{}} {
    inplace_allowed_ = false;
    state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
  }
  sync_waiter* next = nullptr;  // under the lock, while it stands in the row; then of who takes it out
  bool is_next = false;         // of `once`: it is to do it. Written before it is completed
};

/// The lock of a row, which a public header cannot name.
class lock_waiters {
 public:
  explicit lock_waiters(sync_waiters& row) noexcept : held_{reinterpret_cast<small_lock&>(row.lock)} {}

 private:
  static_assert(sizeof(small_lock) == sizeof(sync_waiters::lock));
  std::lock_guard<small_lock> held_;
};

// All under the lock.
inline void push_back(sync_waiters& row, sync_waiter& w) noexcept {
  (row.first == nullptr ? row.first : row.last->next) = &w;
  row.last = &w;
}
inline sync_waiter* pop_front(sync_waiters& row) noexcept {
  sync_waiter* const first = row.first;
  if (first != nullptr) row.first = first->next;
  return first;
}
/// Whether it was there.
inline bool take_out(sync_waiters& row, sync_waiter& w) noexcept {
  sync_waiter* before = nullptr;
  for (sync_waiter* one = row.first; one != nullptr; before = one, one = one->next) {
    if (one != &w) continue;
    (before == nullptr ? row.first : before->next) = w.next;
    if (row.last == &w) row.last = before;
    return true;
  }
  return false;
}

/// Waits until its turn has come, the deadline, or a stop of the running task; the caller sees which. Throws std::bad_alloc.
inline void wait_for_turn(sync_waiter& w, std::int64_t deadline) {
  wait_request q;
  q.awaited = &w;
  q.deadline = deadline;
  q.self = cancellable_task();
  if (q.self != nullptr && stop_requested(*q.self)) return;
  block(q);
}
/// The same where its turn is certain to come soon.
inline void await_turn(sync_waiter& w) noexcept {
  wait_request q;
  q.awaited = &w;
  if (!w.done()) block_or_sleep(q);
}

}  // namespace errand::detail
