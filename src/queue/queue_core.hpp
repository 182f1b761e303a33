// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A queue: its word, who holds it, and how its items come to run. The protocol (Q1 to Q5), and what may run on whose stack, are
// in README.md of this folder; the steps here carry its numbers.
#pragma once

#include "base/lock.hpp"
#include "base/recycler.hpp"
#include "queue/item_list.hpp"
#include "sched/pool_core.hpp"
#include "task/place.hpp"

#include <errand/detail/queue.hpp>
#include <errand/detail/stack_mark.hpp>

#include <string>

namespace errand {
struct queue_statistics;
}

namespace errand::detail {

/// How a queue was left.
enum class left : std::uint8_t {
  to_others,    // whoever comes next
  to_a_caller,  // of sync(), with all that is beneath it: nothing of them is touched any more
};

/// What something needs that is to begin.
enum class need : std::uint8_t {
  the_hold,  // in a serial queue
  a_slot,    // in a concurrent one
  all,       // likewise, as a barrier
};

/// Who runs a queue's items where that is no pool: a run loop's thread. Belongs to the queue.
class queue_driver {
 public:
  virtual void attach(queue_core& q) noexcept = 0;
  /// The queue's entry is there to be taken, by serve(). False: it is the pool's, from now on. Calls the user's hook.
  virtual bool scheduled() noexcept = 0;
  /// Around each push into the queue, or into one that has it for a target.
  virtual void push_begins() noexcept = 0;
  virtual void push_is_over() noexcept = 0;
  /// Whether it is the calling thread that serves.
  [[nodiscard]] virtual bool is_here() const noexcept = 0;
  /// The queue is gone.
  virtual void gone() noexcept = 0;

 protected:
  ~queue_driver() = default;
};

/// Who waits for room in a queue with a bound. In the frame that waits.
struct room_waiter : record {
  explicit room_waiter(std::source_location from) noexcept;
  room_waiter* next = nullptr;
};

class alignas(64) queue_core final : public queue_gate {
 public:
  static void* operator new(std::size_t size) { return recycled_allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { recycled_free(memory, size); }

  /// `target` or `pool`.
  queue_core(queue_shape const& shape, queue_core* target, pool_core& pool);

  // ---- from the scheduler and from async() -----------------------------------------------------------------------------
  void reserve() override;
  void give_room_back() noexcept override;
  void push(record& r) noexcept override;
  void push_lent(record& r) noexcept override;
  void lend() noexcept override;
  void give_back() noexcept override;
  void require_own(char const* operation) const override;
  [[nodiscard]] std::string described() const override;

  // ---- for handles -------------------------------------------------------------------------------------------------------
  /// Handles, queues that have it for a target, suspensions, a slot.
  void add_reference() noexcept;
  void drop_reference() noexcept;
  [[nodiscard]] queue_core* target_queue() const noexcept { return static_cast<queue_core*>(target()); }
  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  [[nodiscard]] pool_core& pool() const noexcept { return pool_; }
  [[nodiscard]] bool is_current() const noexcept;
  [[nodiscard]] bool inherited() const noexcept { return born_in_ != process_generation; }
  [[nodiscard]] queue_statistics statistics() const noexcept;
  void suspend() noexcept;
  void resume() noexcept;
  [[nodiscard]] void* own_local(std::uint64_t key) noexcept;
  void set_local(std::uint64_t key, void* value, void (*destroy)(void*) noexcept);
  void reset_local(std::uint64_t key) noexcept;

  // ---- running ---------------------------------------------------------------------------------------------------------
  /// Its entry has come, on a worker or from the holder of its target: runs some items.
  [[nodiscard]] left run_some() noexcept;

  // ---- for run loops: loop_turns.cpp. By the thread that serves -----------------------------------------------------------
  /// Who runs its items, and those of all queues that have it for a target; null for a pool.
  [[nodiscard]] queue_driver* driver() const noexcept { return driver_; }
  /// Its entry has come: runs items until it is enough, as is asked before each; only what is there now, if `present_only`. How many.
  std::size_t serve(bool present_only, bool (*enough)(void const* of) noexcept, void const* of) noexcept;
  /// In an item: the hold is given up while the thread serves, as if the item had returned; and taken again.
  void leave_for_a_while() noexcept;
  void come_back() noexcept;
  /// The loop is closed: its entry is the pool's.
  void hand_to_pool() noexcept { pool_.push_from_outside(entry_, 1); }
  /// If nothing is under way and it is there to be run: runs this item, or hands over this turn. Whether it was there.
  bool run_this(record& r) noexcept;

  // ---- for sync(): turn.cpp ------------------------------------------------------------------------------------------
  /// Takes an idle queue, and its targets: all or none.
  [[nodiscard]] bool enter_if_idle(need what) noexcept;
  /// Leaves it, and its targets unless somebody got them.
  void leave_all(need what) noexcept;
  /// By a foreign thread in no task: runs what lies ahead of `turn`. True: the caller holds the queue, and the turn is used up.
  [[nodiscard]] bool run_up_to(record& turn) noexcept;
  /// Whether nobody, or only another caller of sync(), is in the way: it will not be for long.
  [[nodiscard]] bool nobody_waits() const noexcept { return (word_.load(std::memory_order_relaxed) & ~held) == open; }
  [[nodiscard]] bool is_held() const noexcept { return (word_.load(std::memory_order_relaxed) & held) != 0; }

 private:
  friend void run_entry(runnable* entry) noexcept;

  // word_: README.md, "The word".
  static constexpr std::uint64_t held = 1;
  static constexpr std::uint64_t entry = 2;
  static constexpr std::uint64_t open = 4;
  static constexpr std::uint64_t bits = 15;
  [[nodiscard]] static runnable* newest(std::uint64_t word) noexcept {
    return reinterpret_cast<runnable*>(word & ~bits);
  }

  // control_: slots taken (from bit 0), suspensions (from bit 24), whether a barrier runs, and for what somebody has stalled.
  static constexpr std::uint64_t one_slot = 1;
  static constexpr std::uint64_t one_suspension = std::uint64_t{1} << 24;
  static constexpr std::uint64_t barrier = std::uint64_t{1} << 48;
  static constexpr std::uint64_t stalled_for_slot = std::uint64_t{1} << 49;
  static constexpr std::uint64_t stalled_for_all = std::uint64_t{1} << 50;
  static constexpr std::uint64_t stalled_by_suspension = std::uint64_t{1} << 51;
  [[nodiscard]] static unsigned slots(std::uint64_t c) noexcept {
    return static_cast<unsigned>(c & (one_suspension - 1));
  }
  [[nodiscard]] static unsigned suspensions(std::uint64_t c) noexcept {
    return static_cast<unsigned>((c >> 24) & (one_suspension - 1));
  }

  ~queue_core();
  [[nodiscard]] bool let_go() noexcept;
  void close() noexcept;
  void destroy() noexcept;
  [[nodiscard]] bool try_enter(need what) noexcept;
  [[nodiscard]] need needed_by(runnable& x) const noexcept;
  [[nodiscard]] bool forbids(std::uint64_t control, need what) const noexcept;
  [[nodiscard]] bool try_take(need what) noexcept;
  void give_slot_back() noexcept;
  void give_all_back() noexcept;

  void look_out_for_priorities(record const& r) noexcept;
  void push_linked(runnable& x) noexcept;
  void push_to_driven(runnable& x) noexcept;
  void push_and_schedule(runnable& x) noexcept;
  void schedule(bool last = false) noexcept;
  [[nodiscard]] bool take_hold(bool with_entry) noexcept;
  void take_more() noexcept;
  [[nodiscard]] bool leave_if_empty() noexcept;
  void leave(bool last = false) noexcept;
  void stall(need what) noexcept;
  [[nodiscard]] bool others_wait() const noexcept;
  [[nodiscard]] left run_in_turn(stack_mark& mark) noexcept;
  [[nodiscard]] left run_in_slot(runnable& first) noexcept;
  [[nodiscard]] runnable* next_for_slot() noexcept;
  [[nodiscard]] left run_item(runnable& x, stack_mark& mark) noexcept;
  [[nodiscard]] std::int64_t waiting() const noexcept;
  [[nodiscard]] bool hand_over(record& turn) noexcept;
  [[nodiscard]] bool hand_over_next() noexcept;
  void count_begun() noexcept;
  void let_one_in() noexcept;
  void refuse_to_wait_for_room_here() const;
  void wait_for_room();

  // Four kinds of lines, so that who pushes and who runs items meet at the word alone. Read by all, and written once:
  unsigned const width_;  // of a concurrent one, how many slots
  bool const refuses_;
  std::uint32_t const born_in_ = process_generation;
  pool_core& pool_;
  queue_driver* const driver_;
  std::size_t const bound_;
  std::source_location const from_;
  std::string const name_;

  // Of those who push:
  alignas(64) std::atomic<std::uint64_t> word_{open};
  std::atomic<std::int64_t> lent_{0};     // items that were given to it by handles, or are about to be
  std::atomic<std::int64_t> others_{0};   // turns of sync(), links, coroutines that came back
  queue_entry entry_{};

  // Of who holds it:
  alignas(64) item_list ready_{};
  std::atomic<std::int64_t> begun_{0};    // begun or skipped
  std::atomic<std::int64_t> entered_{0};  // sync() that found it idle
  std::atomic<bool> prioritised_{false};  // there was an item of another lane than the normal one; written once, by who pushes that

  // Of those who hold a slot, and of suspensions; the holder reads it for each item.
  alignas(64) std::atomic<std::uint64_t> control_{0};

  // Loans given back, less those that lend() has given; and `with_references` as long as there are references, afterwards less
  // lent_: so it is 0 only when nobody can come any more. On a line of its own: those who give back push nothing.
  static constexpr std::int64_t with_references = std::int64_t{1} << 62;
  alignas(64) std::atomic<std::int64_t> returned_{with_references};

  mutable small_lock guard_;  // all below
  std::size_t references_ = 1;
  struct local {
    std::uint64_t key;
    void* value;
    void (*destroy)(void*) noexcept;
    local* next;
  };
  local* locals_ = nullptr;
  room_waiter* waiting_for_room_ = nullptr;
  std::atomic<bool> somebody_waits_for_room_{false};
};

/// What tells a turn from the tasks in a list: its record's `run`. Never called.
void never_run(runnable* turn) noexcept;
[[nodiscard]] inline bool is_turn(runnable const& x) noexcept { return x.run == &never_run; }

}  // namespace errand::detail
