// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One thread of a pool: its deque, its few stacks, and the loop that finds something to run. The loop itself runs on a
// pooled stack; when a task that it called waits, the loop's frames stay behind with the task's, and the thread goes on
// with a new loop on a fresh stack. No frame keeps a pointer to a worker across a switch: ask this_thread() again.
#pragma once

#include "fiber/stack.hpp"
#include "sched/deque.hpp"
#include "sched/inbox.hpp"

#include <memory>
#include <thread>

namespace errand::detail {

class pool_core;
struct fiber_waiter;

class worker {
 public:
  worker() = default;
  worker(worker const&) = delete;
  worker& operator=(worker const&) = delete;

  void start(pool_core& home, unsigned index);
  void join() { thread_.join(); }
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

  /// Leaves the running stack to `parked` and runs the loop on a fresh one, which first completes the parking. Returns when
  /// somebody resumes it, perhaps on another worker. Throws std::bad_alloc if there is no stack to be had.
  static void leave_stack_to(fiber_waiter& parked);
  /// Continues a parked fiber in place of the running loop, whose stack is given back.
  [[noreturn]] static void resume(fiber_waiter& parked) noexcept;

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

  static void loop(void* parked) noexcept;
  void run_thread() noexcept;
  [[nodiscard]] runnable* find_work() noexcept;
  [[nodiscard]] runnable* take_arrivals() noexcept;
  [[nodiscard]] runnable* steal_from_others() noexcept;
  [[nodiscard]] runnable* search() noexcept;
  void drop_stale_entries() noexcept;
  static void bump(std::atomic<std::uint64_t>& n) noexcept {
    n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  deque work_;
  pool_core* home_ = nullptr;
  stack* running_on_ = nullptr;  // owner only
  stack* native_ = nullptr;      // owner only: the thread's own stack, left at its start and returned to at its end
  stack_cache stacks_;
  unsigned index_ = 0;
  std::uint32_t only_ = any_worker;
  std::unique_ptr<inbox> mail_;  // in a pinned pool: parked fibers and suspended coroutines that are ready again
  std::uint32_t tick_ = 0;
  std::uint32_t random_ = 0;
  std::uint32_t stale_ = 0;
  std::uint32_t woken_in_vain_ = 0;  // in a row
  std::atomic<std::uint64_t> started_{0};
  std::atomic<std::uint64_t> ended_{0};
  std::atomic<std::uint64_t> stolen_{0};

  // Sleeping; see README.md.
  alignas(128) std::atomic<std::uint32_t> woken_{0};  // (Z1) set by the waker, cleared by the sleeper before it is counted
  worker* next_sleeper_ = nullptr;                    // under the pool's sleep_guard_
  bool asleep_ = false;                               // likewise: it stands in the list

  std::thread thread_;
};

}  // namespace errand::detail
