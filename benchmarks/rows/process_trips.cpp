// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One empty job to another process and back, when all are awake and when all have slept; a hundred thousand of them; what a
// fine-grained dispatch adds; and the first of all in a fresh program. All in a process of its own: the workers are forked
// before its first thread, and what other subjects have left over is not theirs.
#include "process_trips.hpp"

#include "fine_grained.hpp"

#include <errand/process.hpp>

#include <numeric>

namespace microbench {

namespace {

stamp ask(std::uint32_t argument) { return errand::async(errand::processes, &stamped, argument).get(); }

add const hot{"process-hot", role::ours, "errand",
              [](settings const& s) -> repetition {
                return [n = s.times(50'000)] { return hot_process_trips(n, &ask); };
              },
              place::own_process};

// ---- everybody asleep: our threads, and the workers that have answered so far

void settle(attendance const& who) {
  wait_until_others_sleep();
  wait_until_processes_sleep(who.others());
}

sample cold_trips(settings const& s) {
  attendance who;
  auto const trip = [&] { who.note(ask(7), 7); };
  static_cast<void>(trips_of_sleepers(trips_to_warm_up, [&] { settle(who); }, trip));
  who.count_anew();
  auto const count = s.times(400);
  auto timed = trips_of_sleepers(count, [&] { settle(who); }, trip);
  return with_facts(who.facts(count), std::move(timed));
}

struct answer_between_sleepers {
  pid_t process;
  turning at;
};
answer_between_sleepers answer_when_asleep(pid_t asker) {
  auto const begun = now_ns();
  wait_until_process_is_asleep(asker);
  return {::getpid(), {begun, now_ns()}};
}

sample cold_trips_between_sleepers(settings const& s) {
  attendance who;
  for (int i = 0; i < trips_to_warm_up; ++i) who.note(ask(7), 7);
  who.count_anew();
  auto const count = s.times(400);
  auto timed = trips_between_sleepers(count, [&] { settle(who); }, [&] {
    auto const answer = errand::async(errand::processes, &answer_when_asleep, ::getpid()).get();
    who.note(answer.process);
    return answer.at;
  });
  return with_facts(who.facts(count), std::move(timed));
}

add const idle{"process-idle", role::ours, "errand",
               [](settings const& s) -> repetition { return [s] { return cold_trips(s); }; }, place::own_process};
add const idle_both{"process-both-asleep", role::ours, "errand",
                    [](settings const& s) -> repetition { return [s] { return cold_trips_between_sleepers(s); }; },
                    place::own_process};

// ---- many

sample mapped(settings const& s) {
  std::vector<std::uint32_t> arguments(s.times(100'000));
  std::iota(arguments.begin(), arguments.end(), 0U);
  static_cast<void>(errand::map(errand::processes, arguments, &stamped));
  auto const begin = now_ns();
  std::vector<stamp> const answers = errand::map(errand::processes, arguments, &stamped);
  auto const end = now_ns();
  attendance who;
  for (std::uint32_t i = 0; i < answers.size(); ++i) who.note(answers[i], i);
  return {ns_each(begin, end, arguments.size()), who.facts(arguments.size())};
}
add const many{"process-map", role::ours, "errand",
               [](settings const& s) -> repetition { return [s] { return mapped(s); }; }, place::own_process};

// ---- fine-grained

struct counted {
  std::size_t count;
  stamp where;
};
counted count_there(std::uint32_t n) { return {count_to(n), stamped(n)}; }

add const fine{"process-fine", role::ours, "errand",
               [](settings const& s) -> repetition {
                 return [s] {
                   attendance who;
                   slices work{s};
                   for (std::uint32_t i = 0; i < trips_to_warm_up; ++i) static_cast<void>(ask(i));
                   dispatch_slices(work, [&](std::size_t n) {
                     auto const argument = static_cast<std::uint32_t>(n);
                     counted const got = errand::async(errand::processes, &count_there, argument).get();
                     who.note(got.where, argument);
                     return got.count;
                   });
                   return work.result(who.facts(work.dispatches()));
                 };
               },
               place::own_process};

// ---- the first

add const ready{"process-ready", role::ours, "errand",
                [](settings const&) -> repetition {
                  return [] {
                    attendance who;
                    auto const begin = now_ns();
                    stamp const answer = ask(7);
                    auto const end = now_ns();
                    who.note(answer, 7);
                    return sample{ns_each(begin, end, 1'000'000), who.facts(1)};
                  };
                },
                place::own_process};

}  // namespace

}  // namespace microbench
