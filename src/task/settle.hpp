// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A record whose end ends others: the links of a chain, when_all and when_any hook waiters to what they wait for, and are
// completed by whoever completes that. So that a chain of a million needs no deeper stack than one of two, the wakes of
// such waiters take turns on their thread instead of nesting. Why and how: README.md, "Composites".
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

class settle_list;

/// From `w.wake`: calls step(&w), now or, if the thread is in the midst of such a step, after it. A step may complete records
/// and make them ready; it calls no code of the user's and parks nothing. `w` may be gone after it.
void settle(waiter& w, void (*step)(waiter* w) noexcept) noexcept;

/// From a step that has to run code of the user's (asking others to stop calls their callbacks): calls apart(&w) when no
/// step is under way, and then, as a step, what that has left in `w.wake`.
void settle_apart(waiter& w, void (*apart)(waiter* w) noexcept) noexcept;

/// While one lives, the flow of control is in the midst of no step, although it is: code of the user's may run, and it may
/// go on on another thread. For what hardly ever happens; settle_apart() is for the rest.
class pause_of_settling {
 public:
  pause_of_settling() noexcept;
  ~pause_of_settling();
  pause_of_settling(pause_of_settling const&) = delete;
  pause_of_settling& operator=(pause_of_settling const&) = delete;

 private:
  settle_list* settling_;
  record** told_;
};

/// Whether the thread is in the midst of a step.
[[nodiscard]] bool is_settling() noexcept;

}  // namespace errand::detail
