// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is behind a place where tasks can be given to: a pool, the threads of `blocking`, or a queue. And what tasks and the
// scheduler ask of a queue, which is a module above them: to take an item, to be kept for one, and who holds it.
#pragma once

#include <errand/detail/record.hpp>

#include <string>

namespace errand::detail {

class queue_gate;

class place_core {
 public:
  enum class kind : std::uint8_t { pool, blocking, queue };

  explicit place_core(kind what) noexcept : kind_{what} {}
  /// One of a queue's: its items get into this lane.
  place_core(queue_gate& gate, lane l) noexcept : kind_{kind::queue}, lane_{l}, gate_{&gate} {}

  [[nodiscard]] kind what() const noexcept { return kind_; }
  [[nodiscard]] bool is_queue() const noexcept { return kind_ == kind::queue; }
  /// Of a queue's.
  [[nodiscard]] queue_gate& gate() const noexcept { return *gate_; }
  [[nodiscard]] lane items_lane() const noexcept { return lane_; }

 private:
  kind const kind_;
  lane const lane_ = lane::normal;
  queue_gate* const gate_ = nullptr;
};

/// A queue, as tasks and the scheduler see it. What it says of items and loans: src/queue/README.md.
class queue_gate {
 public:
  queue_gate(queue_gate const&) = delete;
  queue_gate& operator=(queue_gate const&) = delete;

  /// Room for one item more: waits for it, or refuses. With it the queue is lent to the record that will be pushed: it stays as
  /// long as that one. Throws queue_full, deadlock, operation_cancelled, std::logic_error.
  virtual void reserve() = 0;
  /// It will not be.
  virtual void give_room_back() noexcept = 0;
  /// An unbegun record for which there is room.
  virtual void push(record& r) noexcept = 0;
  /// A link that has got its input; a coroutine that was woken, or moves there. Its home is a lane of the queue, which is lent to it.
  virtual void push_lent(record& r) noexcept = 0;
  /// Lends it to one record more. The caller has a handle, or a record to which it is lent.
  virtual void lend() noexcept = 0;
  /// One such record has gone. The queue may be gone after this.
  virtual void give_back() noexcept = 0;

  /// Throws std::logic_error if it is that of a process which forked this one.
  virtual void require_own(char const* operation) const = 0;

  /// `serial queue "cart" (main.cpp:12)`.
  [[nodiscard]] virtual std::string described() const = 0;

  /// The queue whose items its own are; none for one that stands on a pool.
  [[nodiscard]] queue_gate* target() const noexcept { return target_; }
  /// Whether one item at a time is under way.
  [[nodiscard]] bool serial() const noexcept { return serial_; }
  [[nodiscard]] place_core& lane_place(lane l) noexcept { return lanes_[static_cast<std::size_t>(l)]; }
  /// Whether it is one of its lanes, by the address alone.
  [[nodiscard]] bool has(place_core const* p) const noexcept {
    for (auto const& l : lanes_)
      if (p == &l) return true;
    return false;
  }

  /// The task that holds it and waits, if any. Written by that task, before its wait can be seen and after; read by searches for
  /// cycles. (X2) seq_cst, as (S2).
  std::atomic<record*> holder{nullptr};

 protected:
  queue_gate(queue_gate* target, bool serial) noexcept
      : lanes_{{*this, lane::normal}, {*this, lane::high}, {*this, lane::low}, {*this, lane::barrier}},
        target_{target},
        serial_{serial} {}
  ~queue_gate() = default;

 private:
  place_core lanes_[4];
  queue_gate* const target_;
  bool const serial_;
};

/// The queue in which a record has to have a turn, before it begins or to go on: null for most. The queue is there as long as the
/// record. Of a coroutine that is under way it may be another one a moment later.
[[nodiscard]] inline queue_gate* queue_of(record& r) noexcept {
  auto const lent = (r.state_.load(std::memory_order_relaxed) & record_state::lent) != 0;
  place_core const* const home = std::atomic_ref{r.home_}.load(std::memory_order_relaxed);
  return lent && home != nullptr && home->is_queue() ? &home->gate() : nullptr;
}

}  // namespace errand::detail
