// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Threads for tasks that block: each task gets one to itself, from a stock that grows with the need up to a limit and
// shrinks when idle. Called by start_on() for the place `blocking`. On such a thread there is a current task but no worker,
// so waits block it. No frame of a task stays behind, and no pool counts these tasks.
#pragma once

#include "base/lock.hpp"

#include <errand/detail/record.hpp>

#include <deque>
#include <exception>

namespace errand::detail {

class blocking_threads {
 public:
  struct settings {
    unsigned most = 256;                             // threads at a time
    std::int64_t idle_limit = 10'000'000'000;        // ns that a thread waits for another task before it goes away
    void (*before_start)() = nullptr;                // called before each thread is started; a test's, to make that fail
    blocking_threads* parents = nullptr;             // of the process that forked this one: kept where leak checkers look
  };
  explicit blocking_threads(settings const& s) noexcept : settings_{s} {}
  /// Only when no task is under way; waits for the idle threads.
  ~blocking_threads();
  blocking_threads(blocking_threads const&) = delete;
  blocking_threads& operator=(blocking_threads const&) = delete;

  /// The process's own, made by the first call: the limit is ERRAND_BLOCKING_THREADS. Never destroyed; after a fork the
  /// child has another one. Ends the program where there is no memory for it.
  [[nodiscard]] static blocking_threads& of_process() noexcept;

  /// Runs an unbegun record, of no pool, on a thread that is idle, on a new one, or on the next that has done with its task.
  /// If there is no thread and none can be started, the task ends with that error. Takes over the queue's reference.
  void run(record& r) noexcept;

  [[nodiscard]] unsigned most() const noexcept { return settings_.most; }
  struct counts {
    unsigned threads;    // all
    unsigned idle;       // of these, waiting for a task
    std::size_t queued;  // tasks that wait for a thread
  };
  [[nodiscard]] counts now() noexcept;

 private:
  // An idle thread, in its own frame.
  struct idle_thread {
    idle_thread* next = nullptr;
    record* given = nullptr;               // under guard_; set by who takes it off the list
    std::atomic<std::uint32_t> woken{0};
  };

  void thread() noexcept;
  // The next task for a thread that has none; null when it shall go away.
  [[nodiscard]] record* next_task() noexcept;
  record* leave() noexcept;  // under guard_: the calling thread is gone; null
  void could_not_start(std::exception_ptr const& error) noexcept;

  settings const settings_;
  small_lock guard_;                  // all below
  std::deque<record*> queue_;         // while it is not empty, there is a thread that will look here before it idles
  idle_thread* idle_ = nullptr;       // the one that fell idle last comes first, so that the others get old
  unsigned threads_ = 0;              // running, idle or being started
  bool closing_ = false;
  std::atomic<std::uint32_t> gone_{0};  // what the destructor sleeps on: bumped under the lock by each thread that leaves
};

}  // namespace errand::detail
