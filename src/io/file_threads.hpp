// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The few threads that do the work on files. Each takes one operation at a time and carries it out from begin to end; it
// may block there. Started by the first operations, gone after ten idle seconds; the child of a fork has new ones.
#pragma once

#include "base/lock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace errand::detail {

/// Something that a file thread carries out. It lives until `run` has been called, or cancel() has said true.
struct file_operation {
  /// On a file thread, once. The operation may be gone when it returns.
  void (*run)(file_operation* self) noexcept = nullptr;
  // In the queue, under its lock.
  file_operation* next = nullptr;
  file_operation* previous = nullptr;
  bool queued = false;
};

class file_threads {
 public:
  struct settings {
    unsigned most;                             // threads at a time
    std::int64_t idle_limit = 10'000'000'000;  // ns that a thread waits for another operation before it goes away
    void (*before_start)() = nullptr;          // called before each thread is started; a test's, to make that fail
    file_threads* parents = nullptr;           // of the process that forked this one: kept where leak checkers look
  };
  explicit file_threads(settings const& s) noexcept : settings_{s} {}
  /// Only when no operation is under way; waits for the idle threads.
  ~file_threads();
  file_threads(file_threads const&) = delete;
  file_threads& operator=(file_threads const&) = delete;

  /// The process's own, made by the first call: four threads at most, or as many as there are processors if these are more.
  /// Never destroyed; after a fork the child has another one. Ends the program where there is no memory for it.
  [[nodiscard]] static file_threads& of_process() noexcept;

  /// Queues it; first come, first served. Any thread; never waits. If no thread can be started and none runs, the caller's
  /// own thread carries it out.
  void submit(file_operation& op) noexcept;
  /// Takes it off the queue. False: a thread has it, or had it, or it was never queued. Any thread.
  [[nodiscard]] bool cancel(file_operation& op) noexcept;

  [[nodiscard]] unsigned most() const noexcept { return settings_.most; }
  struct counts {
    unsigned threads;    // all
    unsigned idle;       // of these, waiting for an operation
    std::size_t queued;  // operations that wait for a thread
  };
  [[nodiscard]] counts now() noexcept;

 private:
  // An idle thread, in its own frame.
  struct idle_thread {
    idle_thread* next = nullptr;
    std::atomic<std::uint32_t> woken{0};  // set under guard_ by who takes it off the list
  };

  void thread() noexcept;
  // The next operation for a thread that has none; null when it shall go away.
  [[nodiscard]] file_operation* next_operation() noexcept;
  void could_not_start() noexcept;

  // Under guard_.
  void push(file_operation& op) noexcept;
  void take_off(file_operation& op) noexcept;
  [[nodiscard]] file_operation* pop() noexcept;
  void forget(idle_thread& self) noexcept;
  file_operation* leave() noexcept;  // the calling thread is gone; null

  settings const settings_;
  small_lock guard_;                  // all below
  file_operation* first_ = nullptr;   // the queue. While it is not empty, there is a thread that will look here before it idles
  file_operation* last_ = nullptr;
  std::size_t queued_ = 0;
  idle_thread* idle_ = nullptr;       // the one that fell idle last comes first, so that the others get old
  unsigned threads_ = 0;              // running, idle or being started
  bool closing_ = false;
  std::atomic<std::uint32_t> gone_{0};  // what the destructor sleeps on: bumped under the lock by each thread that leaves
};

}  // namespace errand::detail
