// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A chain of tasks of which each waits for the one before: so many are suspended at the same time, each once. The first
// one waits until all others have begun, then ends, and all go on one after the other.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

namespace microbench {

// Touched by one thread at a time: the tasks of a chain share one worker.
struct chain {
  explicit chain(std::size_t length) : expected{length - 1} {}

  std::size_t expected;     // to wait
  std::size_t waiting = 0;  // have begun, and wait
  std::size_t ended = 0;
  double resident = 0;  // bytes, when all waited; only if `weigh`
  bool weigh = false;

  // Called by the first one until it is true.
  bool all_wait() {
    if (waiting != expected) return false;
    require(ended == 0, "a task of the chain did not wait for the one before");
    if (weigh) resident = resident_bytes();
    return true;
  }
};

// Bytes of the frame of a coroutine with such a task's parameters and body and the smallest promise there can be: the user's
// own share of what a suspended one takes.
[[nodiscard]] std::size_t bare_frame_of_a_chain();

}  // namespace microbench
