// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The floor of sleeping: a thread that asks the system for no slack, and one that takes the usual 50 us.
#include "sleeping.hpp"

#include <thread>

#include <sys/prctl.h>

namespace microbench {

namespace {

repetition thread_that_sleeps(settings const& s, unsigned long slack_ns) {
  return [slack_ns, n = s.times(200)] {
    sample result;
    std::thread{[&] {
      ::prctl(PR_SET_TIMERSLACK, slack_ns, 0, 0, 0);
      result = lateness_of(n, [] { std::this_thread::sleep_for(short_sleep); });
    }}.join();
    return result;
  };
}

// What no sleeper can beat.
repetition one_sleep(settings const&) {
  return [] {
    sleepers all;
    auto const begin = now_ns();
    all.all_started();
    std::this_thread::sleep_for(long_sleep);
    all.woke(begin);
    return all.result(1);
  };
}

add const exact{"sleep-lateness", role::floor, "thread, no slack",
                [](settings const& s) { return thread_that_sleeps(s, 1); }};
add const plain{"sleep-lateness", role::rival, "std::this_thread::sleep_for",
                [](settings const& s) { return thread_that_sleeps(s, 50'000); }};
add const one_of_many{"sleepers-10k", role::floor, "one sleep", &one_sleep, place::own_process};
add const one_of_more{"sleepers-100k", role::floor, "one sleep", &one_sleep, place::own_process};

}  // namespace

}  // namespace microbench
