// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who ran the tasks, and how many ran. The body of every "empty" task here is visit(): one increment of the running
// thread's own counter, the same for errand and for every rival. So each repetition proves afterwards that every task
// ran exactly once, and shows on how many threads, and how many not on the thread that started them.
#pragma once

#include "harness.hpp"

#include <atomic>
#include <cstdint>

namespace microbench {

// A thread's counter. It alone writes; a roll_call reads when the tasks have been joined.
struct alignas(128) seat {
  std::atomic<std::uint64_t> visits{0};
  std::atomic<std::uint64_t> dispatched{0};  // of them: by another thread, where visit_from() was told by whom
  seat* next = nullptr;
  bool taken = false;
};

inline constinit thread_local seat* my_seat = nullptr;
[[nodiscard]] seat& sit_down();

inline void visit() noexcept {
  seat* s = my_seat;
  if (s == nullptr) [[unlikely]]
    s = &sit_down();
  s->visits.store(s->visits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// Of the calling thread; not inlined, so that a task that changed threads asks the new one.
[[nodiscard]] seat* seat_of_this_thread() noexcept;

// The same where the dispatching thread is known: it may change as the task that dispatches moves.
inline void visit_from(seat const* dispatcher) noexcept {
  visit();
  if (my_seat != dispatcher)
    my_seat->dispatched.store(my_seat->dispatched.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// What every row calls an empty task.
inline constexpr auto empty_task = [] { visit(); };

struct turnout {
  std::uint64_t visits;
  std::uint64_t elsewhere;   // on other threads than the one that called the roll
  std::uint64_t dispatched;  // on other threads than visit_from() was told
  unsigned threads;

  // As facts of a sample.
  [[nodiscard]] std::vector<fact> facts() const;
};

// From its construction to end(), on one thread or another. Neither may overlap a running task that visits, and there is
// one at a time.
class roll_call {
 public:
  roll_call();
  [[nodiscard]] turnout end() const;
  // The same, and verifies the number.
  [[nodiscard]] turnout end(std::uint64_t expected) const;
  // Returns when so many have visited, seen every 20 us: for pools that cannot say when all their tasks have ended. Throws
  // wrong_result if they have not after a minute.
  void wait_for(std::uint64_t visits) const;
};

}  // namespace microbench
