// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a record that stands for others still waits for: asked by who looks for cycles of waits, answered by links,
// when_all and when_any, and by who waits for a group.
#pragma once

#include "task/thread_state.hpp"

#include <utility>

namespace errand::detail {

class input_visitor {
 public:
  /// One that has not ended, as far as its owner can tell, or has decided what the record ends with. Called under the owner's
  /// lock, which keeps it there. False: that is enough of them.
  virtual bool visit(record& input) noexcept = 0;
  /// Said before them: that the record ends with the first success among them, not with the last end.
  virtual void ends_with_first() noexcept = 0;

 protected:
  ~input_visitor() = default;
};

/// Shows the visitor all that `r` waits for on behalf of its holder. Calls no code of the user's.
inline void visit_inputs(record& r, input_visitor& visitor) noexcept {
  input_visitor*& asking = this_thread().asking_for_inputs;
  asking = &visitor;
  r.act_(&r, record_verb::inputs);
  asking = nullptr;
}

}  // namespace errand::detail
