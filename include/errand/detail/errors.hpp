// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// What errand itself throws: a wait that was ended by a stop, one that ran out of time, one that could never end.
// A task's own exceptions are rethrown as they are.
#pragma once

#include <stdexcept>

namespace errand {

/// Thrown at a point of cancellation of a task that was asked to stop, and by `get()` of a task that ended so.
/// Not a `std::exception`, so that `catch (std::exception const&)` in the task's own code does not swallow a stop.
/// Let it pass; a task that it leaves has ended as *stopped*, which is no error.
struct operation_cancelled {};

/// What `get()` throws for a task that ended because its `timeout` or `deadline` asked it to stop.
class timed_out : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Thrown at a wait that could never end: a task's wait for itself, or for one that waits for it, perhaps by way of others.
/// The message names all of them. Not where a time limit, or somebody outside errand, may still end one of the waits; and not
/// if more than 64 are involved.
class deadlock : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

}  // namespace errand
