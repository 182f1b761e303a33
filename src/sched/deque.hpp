// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A worker's own work: it pushes and pops at the bottom, last in first out; other workers steal at the top, the oldest
// first. Grows, never refuses. The argument, step by step, is in README.md ("Deque").
// After D. Chase and Y. Lev, "Dynamic circular work-stealing deque" (SPAA 2005), in the orderings of N. Lê et al.,
// "Correct and efficient work-stealing for weak memory models" (PPoPP 2013), with the fences folded into the accesses.
#pragma once

#include "base/check.hpp"

#include <errand/detail/record.hpp>

#include <memory>
#include <new>
#include <vector>

namespace errand::detail {

class deque {
 public:
  deque() { buffer_.store(make(initial), std::memory_order_relaxed); }
  deque(deque const&) = delete;
  deque& operator=(deque const&) = delete;

  /// Whether there are no thieves: then the owner needs no ordering against them. True by the owner, while there is none.
  /// False by anybody; a thief may come once it is certain that the owner is not in the midst of an operation. README.md.
  void set_alone(bool alone = true) noexcept { alone_.store(alone, std::memory_order_relaxed); }
  /// By who wants to be certain: the owner is in the midst of the one operation that may wait for a lock.
  [[nodiscard]] bool growing() const noexcept { return growing_.load(std::memory_order_relaxed); }

  /// Owner only. Returns whether it was empty before. Ends the program where not even a larger buffer can be had.
  bool push(runnable* r) noexcept {
    auto const bottom = bottom_.load(std::memory_order_relaxed);
    auto* buffer = buffer_.load(std::memory_order_relaxed);
    // (D3) acquire: the thief has read the slot that we are about to reuse; pairs with the exchange of top_ in steal().
    auto const there = bottom - top_.load(std::memory_order_acquire);
    if (there >= buffer->capacity) buffer = grow(*buffer, bottom);
    buffer->slot(bottom).store(r, std::memory_order_relaxed);
    if (alone())
      bottom_.store(bottom + 1, std::memory_order_release);  // (D1) for a spare, which may come some time
    else
      // (D1) publishes the slot; pairs with the load of bottom_ in steal(). seq_cst: before the look at who sleeps, (P1).
      bottom_.store(bottom + 1, std::memory_order_seq_cst);  // (D1)
    return there <= 0;
  }

  /// Owner only: several, the last of them becoming the newest.
  void push_all(runnable* const* first, std::size_t count) noexcept {
    auto const bottom = bottom_.load(std::memory_order_relaxed);
    auto const end = bottom + static_cast<std::int64_t>(count);
    auto* buffer = buffer_.load(std::memory_order_relaxed);
    // (D3) acquire, as in push()
    while (end - top_.load(std::memory_order_acquire) > buffer->capacity) buffer = grow(*buffer, bottom);
    for (auto i = bottom; i < end; ++i) buffer->slot(i).store(first[i - bottom], std::memory_order_relaxed);
    bottom_.store(end, std::memory_order_seq_cst);  // (D1)
  }

  /// Owner only: the newest, or null.
  [[nodiscard]] runnable* pop() noexcept {
    auto const bottom = bottom_.load(std::memory_order_relaxed) - 1;
    auto* const buffer = buffer_.load(std::memory_order_relaxed);
    if (alone()) {
      if (bottom < top_.load(std::memory_order_relaxed)) return nullptr;
      bottom_.store(bottom, std::memory_order_release);  // (D1) as in push(): of those that are left
      return buffer->slot(bottom).load(std::memory_order_relaxed);
    }
    if (bottom < top_.load(std::memory_order_relaxed)) return nullptr;  // empty: nobody else ever adds
    // (D2) seq_cst: we claim the slot before we look at top_, a thief claims by top_ before it trusts bottom_; pairs with
    // the two loads in steal(). One of the two sees the other.
    bottom_.store(bottom, std::memory_order_seq_cst);
    auto top = top_.load(std::memory_order_seq_cst);  // (D2)
    runnable* taken = nullptr;
    if (top <= bottom) {
      taken = buffer->slot(bottom).load(std::memory_order_relaxed);
      if (top < bottom) return taken;
      // The last one: whoever moves top_ has it. (D2)
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) taken = nullptr;
    }
    bottom_.store(bottom + 1, std::memory_order_relaxed);
    return taken;
  }

  /// Owner only: the newest, if it is `expected`.
  [[nodiscard]] bool pop_if(runnable const* expected) noexcept {
    auto const bottom = bottom_.load(std::memory_order_relaxed);
    auto const* const buffer = buffer_.load(std::memory_order_relaxed);
    if (bottom <= top_.load(std::memory_order_relaxed)) return false;
    if (buffer->slot(bottom - 1).load(std::memory_order_relaxed) != expected) return false;
    if (!alone()) return pop() != nullptr;
    bottom_.store(bottom - 1, std::memory_order_release);  // (D1) likewise
    return true;
  }

  /// Owner only: the oldest, or null. The owner takes part in the thieves' race, but cannot lose to one for good.
  [[nodiscard]] runnable* take_oldest() noexcept {
    auto top = top_.load(std::memory_order_relaxed);
    auto const bottom = bottom_.load(std::memory_order_relaxed);
    auto const* const buffer = buffer_.load(std::memory_order_relaxed);
    while (top < bottom) {
      auto* const r = buffer->slot(top).load(std::memory_order_relaxed);
      if (alone()) {
        top_.store(top + 1, std::memory_order_relaxed);
        return r;
      }
      // (D2) as a thief: whoever moves top_ has it.
      if (top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return r;
    }
    return nullptr;
  }

  /// Anybody: which one is there if it is the only one, by a number that no other has had; else -1. Perhaps no more.
  [[nodiscard]] std::int64_t only_one() const noexcept {
    auto const top = top_.load(std::memory_order_relaxed);
    return bottom_.load(std::memory_order_relaxed) - top == 1 ? top : -1;
  }

  /// Anybody: the oldest; null if there is none or another thief was faster (`lost` then says so).
  [[nodiscard]] runnable* steal(bool& lost) noexcept {
    auto top = top_.load(std::memory_order_seq_cst);           // (D2)
    auto const bottom = bottom_.load(std::memory_order_seq_cst);  // (D1) (D2)
    if (top >= bottom) return nullptr;
    // (D4) acquire: sees the slots copied before a larger buffer was published; pairs with grow().
    auto const* const buffer = buffer_.load(std::memory_order_acquire);
    auto* const r = buffer->slot(top).load(std::memory_order_relaxed);
    // (D2) (D3): if nobody else moved top_, the slot was ours when we read it.
    if (top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return r;
    lost = true;
    return nullptr;
  }

  /// Anybody: whether there seems to be something. seq_cst for the worker that is about to sleep, (P2) in README.md.
  [[nodiscard]] bool seems_empty() const noexcept {
    return top_.load(std::memory_order_seq_cst) >= bottom_.load(std::memory_order_seq_cst);  // (P2)
  }

 private:
  [[nodiscard]] bool alone() const noexcept { return alone_.load(std::memory_order_relaxed); }

  struct ring {
    explicit ring(std::int64_t size) : capacity{size}, mask{size - 1}, slots{new std::atomic<runnable*>[static_cast<std::size_t>(size)]} {}
    [[nodiscard]] std::atomic<runnable*>& slot(std::int64_t i) const noexcept { return slots[static_cast<std::size_t>(i & mask)]; }
    std::int64_t capacity;
    std::int64_t mask;
    std::unique_ptr<std::atomic<runnable*>[]> slots;
  };
  static constexpr std::int64_t initial = 256;

  ring* make(std::int64_t capacity) {
    rings_.push_back(std::make_unique<ring>(capacity));
    return rings_.back().get();
  }
  ring* make_or_end(std::int64_t capacity) noexcept {
    try {
      return make(capacity);
    } catch (std::bad_alloc const&) {
      fatal("there is no memory left to queue more tasks");
    }
  }

  [[gnu::noinline]] ring* grow(ring const& full, std::int64_t bottom) noexcept {
    growing_.store(true, std::memory_order_relaxed);
    auto* const larger = make_or_end(full.capacity * 2);
    for (auto i = top_.load(std::memory_order_relaxed); i < bottom; ++i)
      larger->slot(i).store(full.slot(i).load(std::memory_order_relaxed), std::memory_order_relaxed);
    buffer_.store(larger, std::memory_order_release);  // (D4)
    growing_.store(false, std::memory_order_relaxed);
    return larger;
  }

  // Thieves write, all read. A line of its own: thieves must not slow the owner down.
  alignas(128) std::atomic<std::int64_t> top_{0};
  // Owner writes, thieves read.
  alignas(128) std::atomic<std::int64_t> bottom_{0};
  std::atomic<ring*> buffer_{nullptr};
  std::atomic<bool> alone_{false};
  std::atomic<bool> growing_{false};
  // Owner only. Smaller rings stay until the end: a thief may still be reading one. Their sum is less than the largest.
  std::vector<std::unique_ptr<ring>> rings_{};
};

}  // namespace errand::detail
