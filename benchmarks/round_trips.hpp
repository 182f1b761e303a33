// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One task to another thread and back, cold and hot: what ours, the rivals and the raw futex are all timed by. A subject
// brings `ask(task)`, which has the task called on another thread and returns when it has ended.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

#include <memory>

namespace microbench {

// Cold: everybody else is asleep before each. For subjects in a process of their own. Median, in microseconds.
template <class Dispatch>
sample cold_round_trips(settings const& s, Dispatch dispatch) {
  auto const count = s.times(400);
  for (int i = 0; i < 20; ++i) {
    wait_until_others_sleep();
    dispatch(empty_task);
  }
  std::vector<double> times;
  double slept = 0;
  roll_call const who;
  for (std::size_t i = 0; i < count; ++i) {
    wait_until_others_sleep();
    auto const before = times_slept_by_this_thread();
    auto const begin = now_ns();
    dispatch(empty_task);
    auto const end = now_ns();
    if (times_slept_by_this_thread() != before) ++slept;
    times.push_back(ns_each(begin, end, 1000));
  }
  auto facts = who.end(count).facts();
  facts.push_back({"% main slept", 100 * slept / static_cast<double>(count)});
  facts.push_back({"p99", percentile(times, 99)});
  return {median(times), std::move(facts)};
}

// The same, and the task returns only when the main thread is asleep. A system may run the woken thread at once in place
// of its waker; the waker then finds the answer without ever having slept, and the way back is not measured.
template <class Dispatch>
sample round_trips_between_sleepers(settings const& s, Dispatch dispatch) {
  auto const count = s.times(400);
  pid_t const main_thread = this_thread_id();
  for (int i = 0; i < 20; ++i) {
    wait_until_others_sleep();
    dispatch(empty_task);
  }
  std::vector<double> there, back, both;
  roll_call const who;
  for (std::size_t i = 0; i < count; ++i) {
    wait_until_others_sleep();
    std::int64_t begun = 0, returns = 0;
    auto const begin = now_ns();
    dispatch([&] {
      begun = now_ns();
      visit();
      wait_until_asleep(main_thread);
      returns = now_ns();
    });
    auto const end = now_ns();
    there.push_back(ns_each(begin, begun, 1000));
    back.push_back(ns_each(returns, end, 1000));
    both.push_back(there.back() + back.back());
  }
  auto facts = who.end(count).facts();
  facts.push_back({"there", median(there)});
  facts.push_back({"back", median(back)});
  facts.push_back({"p99", percentile(both, 99)});
  return {median(both), std::move(facts)};
}

// Hot: one after the other. Mean, in microseconds.
template <class Dispatch>
sample hot_round_trips(std::size_t count, Dispatch dispatch) {
  dispatch(empty_task);
  roll_call const who;
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) dispatch(empty_task);
  auto const end = now_ns();
  auto facts = who.end(count).facts();
  facts.push_back({"CPU", ns_each(cpu, cpu_ns(), 1) / ns_each(begin, end, 1)});
  return {ns_each(begin, end, 1000 * count), std::move(facts)};
}

// The subjects: an Asker is made for so many workers, and lives from one repetition to the next.
template <class Asker, bool BothAsleep>
repetition cold_asker(settings const& s) {
  auto it = std::make_shared<Asker>(s.workers);
  return [=] {
    auto const dispatch = [&](auto task) { it->ask(task); };
    return BothAsleep ? round_trips_between_sleepers(s, dispatch) : cold_round_trips(s, dispatch);
  };
}

template <class Asker, std::size_t Count>
repetition hot_asker(settings const& s) {
  auto it = std::make_shared<Asker>(s.workers);
  return [it, n = s.times(Count)] { return hot_round_trips(n, [&](auto task) { it->ask(task); }); };
}

}  // namespace microbench
