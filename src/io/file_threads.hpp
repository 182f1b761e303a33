// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The few threads that do the work on files. Each takes one operation at a time and carries it out from begin to end; it
// may block there. Started by the first operation, gone after ten idle seconds; the child of a fork has new ones.
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
  file_operation* next = nullptr;  // in the queue, under its lock
};

class file_threads {
 public:
  /// The process's own. Never destroyed.
  [[nodiscard]] static file_threads& of_process() noexcept;

  /// Queues it; first come, first served. Any thread; never waits. If no thread can be started and none runs, the caller's
  /// own thread carries it out.
  void submit(file_operation& op) noexcept;
  /// Takes it off the queue. False: a thread has it, or had it. Any thread.
  [[nodiscard]] bool cancel(file_operation& op) noexcept;

  struct counts {
    unsigned threads;
    unsigned idle;
    std::size_t queued;
  };
  [[nodiscard]] counts now() noexcept;
};

}  // namespace errand::detail
