// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: queue
//
// The untyped half of queues, compiled once in src/queue: what <errand/queue.hpp> calls.
#pragma once

#include <errand/detail/stack_mark.hpp>
#include <errand/task.hpp>

#include <string_view>

namespace errand::detail {

class queue_core;
class queue_driver;
struct queue_access;

/// What a queue is made of.
struct queue_shape {
  std::string_view name;
  place const& on;
  std::size_t bound;
  bool refuses;
  unsigned width;  // 0: any
  bool serial;
  std::source_location from;
  queue_driver* driver = nullptr;  // who runs its items, if that is no pool; its own from now on
};

/// Throws std::bad_alloc, std::invalid_argument, std::system_error.
[[nodiscard]] queue_core& make_queue(queue_shape const& shape);
void add_handle(queue_core& q) noexcept;
void drop_handle(queue_core& q) noexcept;

/// The queue as a place; with the mark that its items get there.
[[nodiscard]] place_core& place_of(queue_core& q, lane l) noexcept;

[[nodiscard]] std::string_view name_of(queue_core const& q) noexcept;
[[nodiscard]] bool is_current(queue_core const& q) noexcept;
void assert_current(queue_core const& q, std::source_location from);
void suspend(queue_core& q) noexcept;
void resume(queue_core& q) noexcept;

/// The caller's turn in a queue: it lives as long as sync() runs its function. On the caller's stack.
class queue_turn : stack_mark {
 public:
  /// Waits for it. Throws deadlock, operation_cancelled, std::bad_alloc, std::logic_error (of a parent process).
  /// If the items of the queue run on a certain thread, which is another one, there is no turn.
  queue_turn(queue_core& q, bool alone);
  queue_turn(queue_turn const&) = delete;
  queue_turn& operator=(queue_turn const&) = delete;
  ~queue_turn() {
    if (!is_elsewhere()) end();
  }
  /// Then the function is to be run as an item of the queue.
  [[nodiscard]] bool is_elsewhere() const noexcept { return elsewhere_; }

 private:
  void end() noexcept;
  bool const alone_;
  bool elsewhere_ = false;
};

[[nodiscard]] std::uint64_t new_local_key() noexcept;
[[nodiscard]] void* local_here(std::uint64_t key) noexcept;
[[nodiscard]] void* local_of(queue_core const& q, std::uint64_t key) noexcept;
/// Takes the value over, also if it throws std::bad_alloc.
void set_local(queue_core& q, std::uint64_t key, void* value, void (*destroy)(void*) noexcept);
void reset_local(queue_core& q, std::uint64_t key) noexcept;

}  // namespace errand::detail
