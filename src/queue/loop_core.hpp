// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A run loop: how its thread learns that its queue has something to run, and sleeps until then. The queue calls scheduled() once
// for each time it has something; events.md of this folder, has the steps.
#pragma once

#include "base/descriptor.hpp"
#include "base/lock.hpp"
#include "queue/queue_core.hpp"
#include "sched/served_thread.hpp"

#include <errand/detail/run_loop.hpp>

#include <memory>

namespace errand::detail {

/// A thread with the loops that belong to it.
class loop_thread final : public served_thread {
 public:
  explicit loop_thread(bool is_main);
  /// The main thread's, made if need be. Throws std::bad_alloc.
  [[nodiscard]] static loop_thread& of_main();
  /// The calling thread's, made if need be. Throws std::bad_alloc.
  [[nodiscard]] static loop_thread& of_this_thread();

  void add(loop_core& l) noexcept;
  void remove(loop_core& l) noexcept;

 private:
  bool run_if_item(record& r) noexcept override;
  [[nodiscard]] bool serves(queue_gate const* q) noexcept override;
  void show_as_holder(record* waiting) noexcept override;

  small_lock loops_guard_;
  loop_core* loops_ = nullptr;    // under it
  loop_thread* next_ = nullptr;   // of all that were made; set once
};

class loop_core final : public queue_driver {
 public:
  /// The main thread's if `main` is its thread.
  explicit loop_core(loop_thread* main) noexcept : of_main_thread_{main != nullptr}, thread_{main} {}
  loop_core(loop_core const&) = delete;
  loop_core& operator=(loop_core const&) = delete;

  void attach(queue_core& q) noexcept override;
  void close() noexcept;

  // ---- by the loop's thread -----------------------------------------------------------------------------------------------
  void run_until_stopped();
  void run_until_done(record& r);
  [[nodiscard]] bool run_until(std::int64_t deadline);
  std::size_t poll();

  // ---- by anybody -----------------------------------------------------------------------------------------------------------
  void stop() noexcept;
  [[nodiscard]] int descriptor();
  void set_hook(std::unique_ptr<loop_hook> hook);
  [[nodiscard]] bool scheduled() noexcept override;
  void push_begins() noexcept override;
  void push_is_over() noexcept override;
  [[nodiscard]] bool is_here() const noexcept override;
  void gone() noexcept override;

 private:
  friend class loop_thread;
  friend struct end_of_task;
  ~loop_core() = default;

  class service;
  void require_thread(char const* operation);
  [[nodiscard]] bool there_is_something() const noexcept { return entry_given_.load(std::memory_order_relaxed); }
  std::size_t serve(bool present_only, bool (*enough)(void const* of) noexcept, void const* of) noexcept;
  template <class Enough>
  [[nodiscard]] bool sleep(std::int64_t deadline, Enough enough) noexcept;
  void ring() noexcept;
  void call_hook() noexcept;

  static constexpr std::uint32_t awake = 0, asleep = 1;

  bool const of_main_thread_;
  queue_core* queue_ = nullptr;
  std::atomic<loop_thread*> thread_{nullptr};  // whose it is; written once
  loop_core* next_of_thread_ = nullptr;        // under that thread's guard
  std::atomic<bool> entry_given_{false};       // scheduled() was called, and nobody has served since
  std::atomic<std::uint32_t> bell_{awake};     // what the thread sleeps on
  std::atomic<bool> stopped_{false};
  std::atomic<bool> closed_{false};
  std::atomic<int> ringing_{0};                // who pushes, or is in scheduled()
  std::atomic<int> descriptor_{-1};
  std::atomic<bool> hook_due_{false};          // it is to be called next time: by one, (RL4)
  std::atomic<bool> has_hook_{false};
  small_lock guard_;
  std::shared_ptr<loop_hook> hook_{};          // under guard_
};

}  // namespace errand::detail
