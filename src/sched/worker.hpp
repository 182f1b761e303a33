// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One thread of a pool: its deque, its few stacks, and the loop that finds something to run. The loop itself runs on a
// pooled stack; when a task that it called waits, the loop's frames stay behind with the task's, and the thread goes on
// with another parked task, if one is next, else with a loop on another stack. Whoever runs next completes the parking of
// what was left. No frame keeps a pointer to a worker across a switch: ask this_thread() again.
#pragma once

#include "fiber/stack.hpp"
#include "sched/deque.hpp"
#include "sched/inbox.hpp"
#include "sched/thread_probe.hpp"

#include <memory>
#include <thread>

namespace errand::detail {

class pool_core;
struct fiber_waiter;
struct parked_fiber;
struct thread_state;

/// What a thread sleeps on: 1 wakes it.
using wake_word = std::atomic<std::uint32_t>;

class worker {
 public:
  worker() = default;
  worker(worker const&) = delete;
  worker& operator=(worker const&) = delete;

  /// `spare`: it stands in for others that are blocked. May be started again when it has left. Throws std::bad_alloc,
  /// std::system_error.
  void start(pool_core& home, unsigned index, bool spare = false);
  void join();
  void detach();
  /// The calling worker's thread is about to block for good (exit() inside a task): another thread takes over its loop,
  /// and the caller is a foreign thread from now on.
  void hand_over();

  [[nodiscard]] pool_core& home() const noexcept { return *home_; }
  [[nodiscard]] deque& work() noexcept { return work_; }
  [[nodiscard]] deque const& work() const noexcept { return work_; }
  [[nodiscard]] stack& running_stack() const noexcept { return *running_on_; }
  /// Who may go on with what has begun on this worker: its number in a pinned pool, else any_worker.
  [[nodiscard]] std::uint32_t only() const noexcept { return only_; }
  /// Whether something lies ready that this worker alone may go on with.
  [[nodiscard]] bool has_mail() const noexcept { return mail_ != nullptr && !mail_->seems_empty(); }

  /// Leaves the running stack to `parked`, and the thread to whatever is next. Returns when somebody resumes it, perhaps on
  /// another worker. Throws std::bad_alloc if there is no stack to be had.
  static void leave_stack_to(fiber_waiter& parked);
  /// Lets what has been ready for longest run first, if anything is ready. Else as above. `here`: the calling thread's.
  static void let_others_run(thread_state& here);

  // Owner writes, the closing pool reads while all sleep: tasks that were given to it and that ended on it.
  void count_started() noexcept { bump(started_); }
  void count_ended() noexcept { bump(ended_); }
  [[nodiscard]] std::uint64_t started() const noexcept { return started_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t ended() const noexcept { return ended_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t stolen() const noexcept { return stolen_.load(std::memory_order_relaxed); }

  /// A task was begun in place although another lay above it: its entry stays in the deque, stale.
  void note_stale() noexcept { ++stale_; }
  /// Drops stale entries from the bottom of the deque, so that they cannot pile up beneath a loop that makes them.
  void drop_stale() noexcept {
    if (stale_ != 0) drop_stale_entries();
  }

 private:
  friend class pool_core;

  static void loop(void* left) noexcept;
  [[nodiscard]] bool go_on_as_spare() noexcept;
  static void leave_turn(thread_state& here);
  void leave_work_to_others() noexcept;
  static void run_fiber(runnable* parked) noexcept;
  static void hop(thread_state& here, parked_fiber& parked, runnable* next) noexcept;
  void complete_parking(void* left) noexcept;
  void arm_parked(fiber_waiter& f) noexcept;
  void make_parked_ready(parked_fiber& f) noexcept;
  void keep_a_spare_loop();
  void run_thread() noexcept;
  [[nodiscard]] runnable* next_in_turn() noexcept;
  [[nodiscard]] runnable* find_work() noexcept;
  [[nodiscard]] runnable* take_arrivals() noexcept;
  [[nodiscard]] runnable* take_mail() noexcept;
  [[nodiscard]] runnable* take_from_inbox() noexcept;
  [[nodiscard]] runnable* steal_from_one() noexcept;
  [[nodiscard]] runnable* steal_from_others(bool may_hesitate) noexcept;
  [[nodiscard]] bool hesitates_before(worker const& victim) noexcept;
  [[nodiscard]] std::uint32_t random() noexcept;
  [[nodiscard]] runnable* search() noexcept;
  void drop_stale_entries() noexcept;
  static void bump(std::atomic<std::uint64_t>& n) noexcept {
    n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  deque work_;
  pool_core* home_ = nullptr;
  // Owner only, all up to started_.
  stack* running_on_ = nullptr;
  stack* native_ = nullptr;     // the thread's own, left at its start and returned to at its end
  stack* spare_ = nullptr;      // a loop waits there to go on, or to begin
  stack* abandoned_ = nullptr;  // left for good by the last switch: to be given back by whoever runs after it
  runnable* next_ = nullptr;    // taken already, for the loop that is switched to
  stack_cache stacks_;
  bool is_spare_ = false;
  bool arrived_ = false;
  unsigned index_ = 0;
  std::uint32_t only_ = any_worker;
  std::unique_ptr<inbox> mail_;  // in a pinned pool: parked fibers and suspended coroutines that are ready again
  std::uint32_t tick_ = 0;
  std::uint32_t random_ = 0;
  std::uint32_t stale_ = 0;
  std::uint32_t woken_in_vain_ = 0;  // in a row
  worker const* spared_ = nullptr;   // the victim of the last look whose only piece of work was left to it,
  std::int64_t spared_one_ = 0;      // and which one that was
  std::atomic<std::uint64_t> started_{0};
  std::atomic<std::uint64_t> ended_{0};
  std::atomic<std::uint64_t> stolen_{0};

  // Sleeping; see README.md.
  alignas(128) wake_word woken_{0};  // (Z1) set by the waker, cleared by the sleeper before it is counted
  worker* next_sleeper_ = nullptr;                    // under the pool's sleep_guard_
  bool asleep_ = false;                               // likewise: it stands in the list

  // Spares; see README.md. All under the pool's sleep_guard_, but for the last two.
  enum class presence : std::uint8_t {
    active,   // takes part: each of the pool's own, and a spare that was called
    resting,  // a spare: sleeps and is not asked for work
    leaving,  // a spare: its thread, detached, is about to end
    gone,     // a spare without a thread
  };
  presence presence_ = presence::active;
  bool called_ = false;              // a spare that rested is active again
  worker* stand_in_ = nullptr;       // the spare that came because this one is blocked
  std::atomic<worker*> stands_in_for_{nullptr};  // the other way round; changed under the guard, looked at by itself without
  std::int64_t ran_ = 0;             // how long it had run when somebody last looked whether it still is blocked,
  std::int64_t ran_at_ = 0;          // and when that was
  std::int64_t checked_at_ = 0;      // a spare's own: when it last asked whether it is needed
  std::int64_t seen_run_ = -1;       // the monitor's own: how long it had run at its last look,
  std::int64_t seen_at_ = 0;         // when that was,
  bool seen_asleep_ = false;         // and whether the kernel had put it to sleep
  thread_probe probe_;               // written when its thread starts, read by anybody

  small_lock thread_guard_;  // it may run tasks before who starts it has stored it
  std::thread thread_;       // under it
};

}  // namespace errand::detail
