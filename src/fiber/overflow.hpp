// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Says "stack overflow in task NAME" instead of a bare segmentation fault when a task runs into the guard below its
// stack. Each worker thread holds an overflow_guard while it runs tasks: a handler cannot run on the stack that has
// just overflowed, so the thread needs another. Faults anywhere else go to whoever handled them before, untouched.
#pragma once

#include <cstddef>

namespace errand::detail {

// Writes what runs on the calling thread, such as `task "fetch" (main.cpp:12)`, into `buffer`, at most `size` bytes and no
// terminator, and returns how many it wrote. Called inside a signal handler: it must be async-signal-safe.
using describe_running = std::size_t (*)(char* buffer, std::size_t size) noexcept;

// The scheduler sets it once, before the first task runs. Without it, reports name no task.
void set_describe_running(describe_running describe) noexcept;

// While one lives, the thread that made it reports overflows of pooled stacks. Make and destroy it on the same
// thread, on the thread's native stack or any other. The first in the process installs the handler for SIGSEGV and
// SIGBUS. A thread that already has an alternate signal stack keeps it. Throws std::system_error where no memory is
// left.
class overflow_guard {
 public:
  overflow_guard();
  ~overflow_guard();
  overflow_guard(const overflow_guard&) = delete;
  overflow_guard& operator=(const overflow_guard&) = delete;

 private:
  void* memory_ = nullptr;  // the alternate stack; null if the thread had its own
};

}  // namespace errand::detail
