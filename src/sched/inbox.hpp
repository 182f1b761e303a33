// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What comes to a pool from outside its workers: tasks that foreign threads start, fibers that foreign threads wake, tasks
// that yield. First in, first out, under a small lock; workers take a batch at a time. Its count is the half of the
// handshake with workers that fall asleep, (P1) in README.md.
#pragma once

#include "base/lock.hpp"

#include <errand/detail/record.hpp>

#include <mutex>

namespace errand::detail {

class inbox {
 public:
  /// Appends one; anybody may.
  void push(runnable* r) noexcept {
    r->next = nullptr;
    std::lock_guard const held{guard_};
    *end_ = r;
    end_ = &r->next;
    // (P1) seq_cst read-modify-write: before the look at who sleeps; pairs with (P2) in seems_empty().
    count_.fetch_add(1, std::memory_order_seq_cst);
  }

  /// Takes a fair share for one of `workers`, linked by `next`, the oldest first; at most `most`. Null if there is nothing.
  [[nodiscard]] runnable* take(std::size_t workers, std::size_t most) noexcept {
    if (count_.load(std::memory_order_relaxed) == 0) return nullptr;
    std::lock_guard const held{guard_};
    auto const there = count_.load(std::memory_order_relaxed);
    if (there == 0) return nullptr;
    std::size_t share = there / workers + 1;
    if (share > most) share = most;
    if (share > there) share = there;
    runnable* const first = first_;
    runnable* last = first;
    for (std::size_t i = 1; i < share; ++i) last = last->next;
    first_ = last->next;
    if (first_ == nullptr) end_ = &first_;
    last->next = nullptr;
    count_.fetch_sub(share, std::memory_order_relaxed);
    return first;
  }

  [[nodiscard]] bool seems_empty() const noexcept {
    return count_.load(std::memory_order_seq_cst) == 0;  // (P2)
  }

 private:
  alignas(128) small_lock guard_;
  runnable* first_ = nullptr;      // under guard_
  runnable** end_ = &first_;       // under guard_: where the next one is linked
  std::atomic<std::size_t> count_{0};  // written under guard_
};

}  // namespace errand::detail
