// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What comes to a pool from outside its workers: tasks that foreign threads start, fibers that foreign threads wake. First
// in, first out, under a small lock; workers take a batch at a time. Its count is one half of the handshake with workers
// that fall asleep, (P1) in README.md. Why a lock: docs/decisions/0004-locked-inbox.md.
#pragma once

#include "base/check.hpp"
#include "base/lock.hpp"

#include <errand/detail/record.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>

namespace errand::detail {

class inbox {
 public:
  static constexpr std::size_t most_taken = 64;
  static constexpr std::size_t one_by_one = SIZE_MAX;  // as the number of workers: no share is larger than one

  /// Appends one; anybody may. `tasks`: how many tasks are new to the pool by this (none for what is only made ready again).
  /// Returns what `and_then()` does, called before a worker can take it: as soon as one can, the pool may come to its end.
  /// Grows, never refuses; ends the program where there is no memory to grow.
  template <class AndThen>
  auto push(runnable* r, std::uint64_t tasks, AndThen and_then) noexcept {
    std::lock_guard const held{guard_};
    auto const there = count_.load(std::memory_order_relaxed);
    if (there == capacity_) grow();
    slots_[(first_ + there) & (capacity_ - 1)] = r;
    started_.store(started_.load(std::memory_order_relaxed) + tasks, std::memory_order_relaxed);
    // (P1) seq_cst read-modify-write: before the look at who sleeps; pairs with (P2) in seems_empty().
    count_.fetch_add(1, std::memory_order_seq_cst);
    return and_then();
  }

  /// A task is new to the pool that will be pushed later, as none, or never.
  void expect() noexcept {
    std::lock_guard const held{guard_};
    started_.store(started_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  /// Takes a fair share for one of `workers`, the oldest first. Returns how many.
  [[nodiscard]] std::size_t take(std::size_t workers, runnable* (&taken)[most_taken]) noexcept {
    if (count_.load(std::memory_order_relaxed) == 0) return 0;
    std::lock_guard const held{guard_};
    auto const there = count_.load(std::memory_order_relaxed);
    auto const share = std::min({there / workers + 1, there, most_taken});
    for (std::size_t i = 0; i < share; ++i) taken[i] = slots_[(first_ + i) & (capacity_ - 1)];
    first_ += share;
    count_.fetch_sub(share, std::memory_order_relaxed);
    return share;
  }

  [[nodiscard]] bool seems_empty() const noexcept {
    return count_.load(std::memory_order_seq_cst) == 0;  // (P2)
  }

  /// How many tasks have come in this way since the pool was made.
  [[nodiscard]] std::uint64_t started() const noexcept { return started_.load(std::memory_order_relaxed); }

 private:
  [[gnu::noinline]] void grow() noexcept {
    std::unique_ptr<runnable*[]> larger{new (std::nothrow) runnable*[2 * capacity_]};
    if (larger == nullptr) fatal("there is no memory left to queue more tasks");
    for (std::size_t i = 0; i < capacity_; ++i) larger[i] = slots_[(first_ + i) & (capacity_ - 1)];
    slots_ = std::move(larger);
    first_ = 0;
    capacity_ *= 2;
  }

  alignas(128) small_lock guard_;
  // Under guard_: a ring of `capacity_` slots, a power of two.
  std::size_t capacity_ = 256;
  std::size_t first_ = 0;
  std::unique_ptr<runnable*[]> slots_ = std::make_unique<runnable*[]>(capacity_);
  std::atomic<std::uint64_t> started_{0};  // both written under guard_, read by anybody
  std::atomic<std::size_t> count_{0};
};

}  // namespace errand::detail
