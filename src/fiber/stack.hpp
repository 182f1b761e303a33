// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where stacks come from: a process-wide pool of guarded stacks, and each worker's small cache in front of it.
// The scheduler takes a stack when a task blocks and gives back the one that the task leaves behind. Taking the stack
// that was given back last keeps memory warm. What a stack is and how to run on one: fiber/switch.hpp.
#pragma once

#include <atomic>
#include <cstddef>

#include "fiber/switch.hpp"

namespace errand::detail {

// A stack nobody uses, the most recently released first. Throws std::bad_alloc where the kernel has no memory or
// address space left for even one more. Any thread may call it.
stack* acquire_stack();

// Gives back `unused`, on which the caller does not run. Frames still on it are abandoned: nothing is destroyed.
// Any thread may call it.
void release_stack(stack* unused) noexcept;

// Sets the address space of every stack, guard included (256 KiB unless set); rounded up to pages. Only before the
// first stack is acquired: all stacks of a process are alike. Throws std::logic_error later, std::invalid_argument if
// it is too small (below 32 KiB).
void set_stack_size(std::size_t bytes);
std::size_t stack_size() noexcept;

// Gives the memory of all stacks in the pool back to the kernel, and returns how many had any. For a process that has
// been idle for a while: the pool itself trims only what exceeds its bound (README.md), and only as stacks are
// released.
std::size_t trim_stacks() noexcept;

struct stack_statistics {
  std::size_t live;     // acquired and not released
  std::size_t created;  // ever used
  std::size_t slabs;    // mappings they were cut from
  std::size_t warm;     // idle in the pool or a cache, memory kept
  std::size_t trimmed;  // idle, memory given back to the kernel
};

// Exact while no thread acquires or releases; otherwise each number was true a moment ago.
stack_statistics stack_counts() noexcept;

// A worker's own few stacks. Only the owning thread calls it, so it takes no lock until it is empty or full; then it
// exchanges half its capacity with the pool. The destructor gives all back.
class stack_cache {
 public:
  stack_cache() noexcept;
  ~stack_cache();
  stack_cache(const stack_cache&) = delete;
  stack_cache& operator=(const stack_cache&) = delete;

  stack* acquire() {
    std::size_t held = held_.load(std::memory_order_relaxed);
    if (held == 0) held = refill();
    held_.store(held - 1, std::memory_order_relaxed);
    return stacks_[held - 1];
  }

  // As release_stack().
  void release(stack* unused) noexcept {
    abandon_frames(*unused);
    std::size_t held = held_.load(std::memory_order_relaxed);
    if (held == capacity) held = spill();
    stacks_[held] = unused;
    held_.store(held + 1, std::memory_order_relaxed);
  }

 private:
  friend class stack_pool;
  static constexpr std::size_t capacity = 16;

  std::size_t refill();          // returns the number held, at least 1
  std::size_t spill() noexcept;  // returns the number held, at most half

  std::atomic<std::size_t> held_{0};  // owner writes; stack_counts() reads
  stack* stacks_[capacity];           // owner only
  stack_cache* next_ = nullptr;       // the pool's list of caches, under its lock
  stack_cache* previous_ = nullptr;
};

}  // namespace errand::detail
