// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Items in a row. What waits in a queue is a record that has not begun, a coroutine that comes back, or another queue's entry;
// each has room for a link somewhere else. By who pushes it, before anybody else can see it there, and by who holds the queue.
#pragma once

#include "task/place.hpp"
#include "task/rare_fields.hpp"

#include <errand/detail/record.hpp>

#include <array>
#include <utility>

namespace errand::detail {

class queue_core;

/// A queue that has something to run, as its pool's or its target's.
struct alignas(16) queue_entry : runnable {
  queue_core* queue = nullptr;
  runnable* next = nullptr;  // in its target's list
};

/// By whoever takes it from a pool. In a list it is told by this.
void run_entry(runnable* entry) noexcept;

[[nodiscard]] inline bool is_entry(runnable const& x) noexcept { return x.run == &run_entry; }

// Of a record that has not begun: the link, and whether it is a coroutine, are in `interrupt_`, where a begun task shows its
// waiter. README.md, "Links of items".
struct unbegun_item {
  static constexpr std::uintptr_t apart = 4;  // it shall not run on the stack of who waits for it: it is a coroutine
  // A search for cycles may have seen the record begun, as a link that waits for its input, or stopped unrun, and look here while
  // it stands in the list: it must find nothing that it would follow.
  static_assert((apart & (shown_as::parked | shown_as::coroutine)) == 0);

  static void enter(record& r) noexcept {
    r.interrupt_.store(r.inplace_allowed_ ? 0 : apart, std::memory_order_relaxed);
  }
  /// Before it begins, or is found to have been stopped.
  static void leave(record& r) noexcept {
    r.interrupt_.store(0, std::memory_order_release);  // (B1) before it can be seen begun
  }
  static bool is_apart(record const& r) noexcept { return (r.interrupt_.load(std::memory_order_relaxed) & apart) != 0; }
  static runnable* next(record const& r) noexcept {
    return reinterpret_cast<runnable*>(r.interrupt_.load(std::memory_order_relaxed) & ~apart);
  }
  static void link(record& r, runnable* next) noexcept {
    auto const flags = r.interrupt_.load(std::memory_order_relaxed) & apart;
    r.interrupt_.store(reinterpret_cast<std::uintptr_t>(next) | flags, std::memory_order_relaxed);
  }
};

/// Whether a record in a list is a coroutine that comes back: begun, and not by who has stopped it unrun.
[[nodiscard]] inline bool comes_back(record const& r) noexcept {
  auto const s = r.state_.load(std::memory_order_relaxed);
  return (s & (record_state::begun | record_state::unrun)) == record_state::begun;
}

[[nodiscard]] inline runnable* next_item(runnable& x) noexcept {
  if (is_entry(x)) return static_cast<queue_entry&>(x).next;
  auto& r = static_cast<record&>(x);
  if (comes_back(r)) return r.rare_.load(std::memory_order_relaxed)->next_in_queue;
  return unbegun_item::next(r);
}

inline void link_item(runnable& x, runnable* next) noexcept {
  if (is_entry(x)) {
    static_cast<queue_entry&>(x).next = next;
    return;
  }
  auto& r = static_cast<record&>(x);
  if (comes_back(r))
    r.rare_.load(std::memory_order_relaxed)->next_in_queue = next;
  else
    unbegun_item::link(r, next);
}

[[nodiscard]] inline lane lane_of(runnable& x) noexcept {
  return is_entry(x) ? lane::normal : static_cast<record&>(x).home_->items_lane();
}

/// First in, first out, and a list for each priority.
class item_list {
 public:
  [[nodiscard]] bool empty() const noexcept {
    return rows_[0].first == nullptr && rows_[1].first == nullptr && rows_[2].first == nullptr;
  }
  /// The one that is next, or null.
  [[nodiscard]] runnable* front() const noexcept {
    for (auto const& row : rows_)
      if (row.first != nullptr) return row.first;
    return nullptr;
  }
  runnable* pop_front() noexcept {
    for (auto& row : rows_)
      if (runnable* const x = row.first; x != nullptr) {
        row.first = next_item(*x);
        if (row.first == nullptr) row.last = nullptr;
        return x;
      }
    return nullptr;
  }
  [[nodiscard]] bool has(runnable const& x) const noexcept {
    for (auto const& row : rows_)
      for (runnable* one = row.first; one != nullptr; one = next_item(*one))
        if (one == &x) return true;
    return false;
  }
  /// Takes out one that may be there: whether it was.
  bool remove(runnable& x) noexcept {
    for (auto& row : rows_) {
      runnable* before = nullptr;
      for (runnable* one = row.first; one != nullptr; before = std::exchange(one, next_item(*one))) {
        if (one != &x) continue;
        if (before != nullptr)
          link_item(*before, next_item(x));
        else
          row.first = next_item(x);
        if (row.last == &x) row.last = before;
        return true;
      }
    }
    return false;
  }
  /// Items linked from the newest to the oldest, behind those that are there.
  void append_newest_first(runnable* newest) noexcept {
    if (newest == nullptr) return;
    runnable* const last = newest;
    runnable* oldest = nullptr;
    bool all_normal = true;
    while (newest != nullptr) {
      runnable* const before = next_item(*newest);
      lane const l = lane_of(*newest);
      all_normal = all_normal && l != lane::high && l != lane::low;
      link_item(*newest, oldest);
      oldest = newest;
      newest = before;
    }
    if (all_normal) return append(rows_[1], oldest, last);
    while (oldest != nullptr) {
      runnable* const after = next_item(*oldest);
      link_item(*oldest, nullptr);
      lane const l = lane_of(*oldest);
      append(rows_[l == lane::high ? 0 : l == lane::low ? 2 : 1], oldest, oldest);
      oldest = after;
    }
  }

 private:
  struct one_row {
    runnable* first = nullptr;
    runnable* last = nullptr;
  };

  static void append(one_row& where, runnable* first, runnable* last) noexcept {
    if (where.last != nullptr)
      link_item(*where.last, first);
    else
      where.first = first;
    where.last = last;
  }

  std::array<one_row, 3> rows_{};  // high, the others, low
};

}  // namespace errand::detail
