// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an idle pool costs: used first, then left alone for a while. The whole process is counted, so each subject has one
// of its own; the floor is a process that only sleeps.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

#include <chrono>
#include <thread>

namespace microbench {

inline constexpr unsigned idle_workers = 8;

// `use` keeps the pool busy for a moment, and returns when all has been done. Percent of one processor.
template <class Use>
sample idle_window(settings const& s, Use use) {
  using std::chrono::milliseconds;
  use();
  wait_until_others_sleep();
  std::this_thread::sleep_for(milliseconds{50});
  auto const wakes = times_slept_by_all_threads();
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  std::this_thread::sleep_for(milliseconds{s.quick ? 300 : 3000});
  auto const end = now_ns();
  auto const spent = cpu_ns() - cpu;
  // One sleep is this thread's own.
  return {100 * static_cast<double>(spent) / static_cast<double>(end - begin),
          {{"threads", static_cast<double>(other_threads().size())},
           {"wake-ups", static_cast<double>(times_slept_by_all_threads() - wakes - 1)}}};
}

}  // namespace microbench
