// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What few tasks have: a name, a stop token that was asked for, an outer token, a deadline, a place among the parent's
// children. Made when first needed, by whoever needs it, and kept until the record is destroyed. Which field is whose is
// said beside it.
#pragma once

#include "base/recycler.hpp"

#include <errand/detail/record.hpp>

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace errand::detail {

class queue_gate;

/// A deadline as its maker, the scheduler's timers, sees to it.
class armed_deadline {
 public:
  virtual ~armed_deadline() = default;
  /// It shall not fire any more; if it is firing just now, it holds a reference to the record.
  virtual void disarm() noexcept = 0;
};

/// What a task threw that somebody else stands for, with what is needed to report it when it is gone.
struct further_error {
  std::exception_ptr error;
  std::string task;           // its name, or nothing
  std::source_location from;  // the line that started it
};

struct rare_fields {
  static void* operator new(std::size_t size) { return recycled_allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { recycled_free(memory, size); }

  // Written by the starter before anybody else sees the record.
  std::string name;

  // Asked for by stop_token_of(); a stop of the task is a stop of it. The task's own flow makes it, under the record's lock.
  std::optional<std::stop_source> source;

  // The stop token given in `how`: a stop of it is a stop of the task. Destroyed before the task is done.
  struct forward_stop {
    record* to;
    void operator()() const noexcept;
  };
  std::optional<std::stop_callback<forward_stop>> outer_stop;

  // The deadline given in `how`, armed from start to end; it stops the task by stop_record(). Lives as long as the record.
  std::unique_ptr<armed_deadline> deadline;

  // Whether one of the two above may stop it, though nobody in the program does. Written by the starter.
  bool stopped_by_others = false;

  // Whether a stop of it is another module's work, which is not the timekeeper's to do. Written by the starter.
  bool stop_takes_time = false;

  // Called by the task's own flow just before it waits, if record::tells_of_waits_: a loop hands its share to others.
  void (*on_wait)(void* context) noexcept = nullptr;
  void* on_wait_context = nullptr;

  // (N1) How many share the handle, if it is shared: of shared_future, and of the links that wait for one.
  std::atomic<std::uint32_t> shares{0};

  // Of a record that stands for others: what they threw beside its own error_. Written before it is done; the flag is set
  // by whoever took them, and then nobody else is told of them.
  std::vector<further_error> further_errors;
  std::atomic<bool> further_errors_taken{false};

  // Of a coroutine that comes back to its queue: its place in the list. By who pushes it, then by who holds the queue.
  runnable* next_in_queue = nullptr;
  // The queues that are lent to a coroutine that has moved: under the record's lock. If there is none, that of its home may be.
  std::vector<queue_gate*> loans;

  // In the parent's list of children, under the parent's lock.
  record* next_sibling = nullptr;
  record** link_to_self = nullptr;

  // In the list of those whom one stopper still has to tell; belongs to whoever set the stop bit.
  record* next_to_stop = nullptr;
};

/// The record's rare fields, made if need be; by anybody who holds a reference. Throws std::bad_alloc.
rare_fields& rare_fields_of(record& r);

}  // namespace errand::detail
