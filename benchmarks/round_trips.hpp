// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One task to another thread and back, cold and hot: what ours, the rivals and the raw futex are all timed by. A subject
// brings `dispatch`, which starts an empty task on another thread and returns when it has ended.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

namespace microbench {

// Cold: everybody else is asleep before each. For subjects in a process of their own. Median, in microseconds.
template <class Dispatch>
sample cold_round_trips(settings const& s, Dispatch dispatch) {
  auto const count = s.times(400);
  for (int i = 0; i < 20; ++i) {
    wait_until_others_sleep();
    dispatch();
  }
  std::vector<double> times;
  double slept = 0;
  roll_call const who;
  for (std::size_t i = 0; i < count; ++i) {
    wait_until_others_sleep();
    auto const before = times_slept_by_this_thread();
    auto const begin = now_ns();
    dispatch();
    auto const end = now_ns();
    if (times_slept_by_this_thread() != before) ++slept;
    times.push_back(ns_each(begin, end, 1000));
  }
  auto facts = who.end(count).facts();
  facts.push_back({"% main slept", 100 * slept / static_cast<double>(count)});
  facts.push_back({"p99", percentile(times, 99)});
  return {median(times), std::move(facts)};
}

// Hot: one after the other. Mean, in microseconds.
template <class Dispatch>
sample hot_round_trips(std::size_t count, Dispatch dispatch) {
  dispatch();
  roll_call const who;
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) dispatch();
  auto const end = now_ns();
  auto facts = who.end(count).facts();
  facts.push_back({"CPU", ns_each(cpu, cpu_ns(), 1) / ns_each(begin, end, 1)});
  return {ns_each(begin, end, 1000 * count), std::move(facts)};
}

}  // namespace microbench
