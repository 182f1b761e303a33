// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A thread that serves queues of its own, as the main thread. When it waits without serving, two things are to be seen to: if it
// waits for an item that only it could run, it runs that; and searches for cycles of waits find it. src/queue/events.md.
#pragma once

#include "base/lock.hpp"

#include <errand/detail/record.hpp>

namespace errand::detail {

class queue_gate;
struct thread_state;

class served_thread {
 public:
  served_thread(served_thread const&) = delete;
  served_thread& operator=(served_thread const&) = delete;

  /// Of the calling thread; null for nearly all.
  [[nodiscard]] static served_thread* of(thread_state& t) noexcept;
  /// The one of the main thread, if it has one; the one it has from now on: false if it has one.
  [[nodiscard]] static served_thread* main() noexcept;
  [[nodiscard]] static bool set_main(served_thread& s) noexcept;
  [[nodiscard]] static bool is_main_thread() noexcept;

  /// By anybody, after something has come into one of its queues: if the thread waits, it looks again.
  void look_again() noexcept;

  // ---- by the thread itself, for its waits ------------------------------------------------------------------------------
  /// Runs the task here if it waits in one of its queues, and nothing of these is under way. Whether it was there; a queue that is
  /// suspended keeps it.
  virtual bool run_if_item(record& r) noexcept = 0;
  /// Whether it is one of its queues.
  [[nodiscard]] virtual bool serves(queue_gate const* q) noexcept = 0;
  /// Shows in its queues that this record waits, or that none does.
  virtual void show_as_holder(record* waiting) noexcept = 0;
  [[nodiscard]] record& self() noexcept { return self_; }
  [[nodiscard]] std::uint64_t calls() const noexcept { return calls_.load(std::memory_order_relaxed); }
  /// False if it was called since `calls`: then it does not wait.
  [[nodiscard]] bool begin_wait(waiter& w, std::uint64_t calls) noexcept;
  void end_wait() noexcept;

 protected:
  explicit served_thread(char const* name);
  ~served_thread() = default;

 private:
  struct thread_record;
  record self_;  // the thread, as one that waits
  small_lock guard_;
  waiter* waits_ = nullptr;             // under guard_
  std::atomic<std::uint64_t> calls_{0};  // counted up under guard_
};

}  // namespace errand::detail
