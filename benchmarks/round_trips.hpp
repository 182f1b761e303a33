// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One task to another thread and back, cold and hot: what ours, the rivals and the raw futex are all timed by. A subject
// brings `ask(task)`, which has the task called on another thread and returns when it has ended.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

#include <memory>

namespace microbench {

// So many round trips, each when everybody is asleep, which settle() sees to. Median, in microseconds.
template <class Settle, class Trip>
sample trips_of_sleepers(std::size_t count, Settle settle, Trip trip) {
  std::vector<double> times;
  double slept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    settle();
    auto const before = times_slept_by_this_thread();
    auto const begin = now_ns();
    trip();
    auto const end = now_ns();
    if (times_slept_by_this_thread() != before) ++slept;
    times.push_back(ns_each(begin, end, 1000));
  }
  return {median(times), {{"% main slept", 100 * slept / static_cast<double>(count)}, {"p99", percentile(times, 99)}}};
}

// When the task of a trip began, and when it was about to return because the main thread had fallen asleep.
struct turning {
  std::int64_t begun = 0;
  std::int64_t returns = 0;
};

// The same for trips that return a turning: the two ways apart, and added.
template <class Settle, class Trip>
sample trips_between_sleepers(std::size_t count, Settle settle, Trip trip) {
  std::vector<double> there, back, both;
  for (std::size_t i = 0; i < count; ++i) {
    settle();
    auto const begin = now_ns();
    turning const at = trip();
    auto const end = now_ns();
    there.push_back(ns_each(begin, at.begun, 1000));
    back.push_back(ns_each(at.returns, end, 1000));
    both.push_back(there.back() + back.back());
  }
  return {median(both), {{"there", median(there)}, {"back", median(back)}, {"p99", percentile(both, 99)}}};
}

// What was counted goes before what was timed.
inline sample with_facts(std::vector<fact> counted, sample timed) {
  counted.insert(counted.end(), timed.facts.begin(), timed.facts.end());
  return {timed.cost, std::move(counted)};
}

constexpr int trips_to_warm_up = 20;

// Cold, to another thread. For subjects in a process of their own.
template <class Dispatch>
sample cold_round_trips(settings const& s, Dispatch dispatch) {
  auto const trip = [&] { dispatch(empty_task); };
  static_cast<void>(trips_of_sleepers(trips_to_warm_up, &wait_until_others_sleep, trip));
  auto const count = s.times(400);
  roll_call const who;
  auto timed = trips_of_sleepers(count, &wait_until_others_sleep, trip);
  return with_facts(who.end(count).facts(), std::move(timed));
}

// The same, and the task returns only when the main thread is asleep. A system may run the woken thread at once in place
// of its waker; the waker then finds the answer without ever having slept, and the way back is not measured.
template <class Dispatch>
sample round_trips_between_sleepers(settings const& s, Dispatch dispatch) {
  pid_t const main_thread = this_thread_id();
  for (int i = 0; i < trips_to_warm_up; ++i) {
    wait_until_others_sleep();
    dispatch(empty_task);
  }
  auto const count = s.times(400);
  roll_call const who;
  auto timed = trips_between_sleepers(count, &wait_until_others_sleep, [&] {
    turning at;
    dispatch([&] {
      at.begun = now_ns();
      visit();
      wait_until_asleep(main_thread);
      at.returns = now_ns();
    });
    return at;
  });
  return with_facts(who.end(count).facts(), std::move(timed));
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
