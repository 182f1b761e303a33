// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// oneTBB: task_group, task_arena, parallel_for. Its workers belong to the process, and an arena limits how many take part;
// "main comes on top" lets there be as many as errand's pool has beside the main thread, which oneTBB lets work too.
#include "allocations.hpp"
#include "answer.hpp"
#include "fine_grained.hpp"
#include "idle_window.hpp"
#include "loop_of.hpp"
#include "round_trips.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <memory>

namespace microbench {

namespace {

namespace tbb = oneapi::tbb;

// The machine may have fewer processors than an arena shall have threads. The least of all such limits counts, so there is
// one for the whole process, beyond what anybody asks for; the arenas set the real ones.
void allow_many_threads() { static tbb::global_control const limit{tbb::global_control::max_allowed_parallelism, 512}; }

// An arena of so many threads, the caller included.
struct arena {
  explicit arena(unsigned threads) : threads_of{static_cast<int>(threads)} { allow_many_threads(); }
  tbb::task_arena threads_of;
};

repetition in_arena(unsigned threads, sample (*work)(std::size_t), std::size_t count) {
  auto a = std::make_shared<arena>(threads);
  return [=] { return a->threads_of.execute([&] { return work(count); }); };
}

sample spawn_and_join(std::size_t count) {
  tbb::task_group group;
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) {
    group.run(empty_task);
    group.wait();
  }
  auto const end = now_ns();
  return {ns_each(begin, end, count), who.end(count).facts()};
}

sample start_and_join_all(std::size_t count) {
  tbb::task_group group;
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) group.run(empty_task);
  group.wait();
  auto const end = now_ns();
  return {ns_each(begin, end, count), who.end(count).facts()};
}

add const one{"spawn-join-1", role::rival, "oneTBB",
              [](settings const& s) { return in_arena(1, &spawn_and_join, s.times(200'000)); }};
add const two{"spawn-join-2", role::rival, "oneTBB",
              [](settings const& s) { return in_arena(2, &spawn_and_join, s.times(200'000)); }};

add const from_main{"million-from-main", role::rival, "oneTBB",
                    [](settings const& s) { return in_arena(s.workers, &start_and_join_all, s.times(1'000'000)); }};
add const main_comes_on_top{"million-from-main", role::rival, "oneTBB, main comes on top", [](settings const& s) {
                              return in_arena(s.workers + 1, &start_and_join_all, s.times(1'000'000));
                            }};
add const from_inside{"million-from-inside", role::rival, "oneTBB", [](settings const& s) {
                        return in_arena(
                            s.workers,
                            [](std::size_t count) {
                              sample result;
                              tbb::task_group outer;
                              outer.run_and_wait([&] { result = start_and_join_all(count); });
                              return result;
                            },
                            s.times(1'000'000));
                      }};

// An arena without the caller, and one task on it waited for: with a task_group the caller would run it itself.
struct asker {
  explicit asker(unsigned workers) : workers_only{static_cast<int>(workers), 0} { allow_many_threads(); }
  template <class F>
  void ask(F f) {
    workers_only.enqueue([this, f] {
      f();
      done.give();
    });
    done.take();
  }
  tbb::task_arena workers_only;
  answer done{};
};

add const cold{"wake-cold", role::rival, "oneTBB", &cold_asker<asker, false>, place::own_process};
add const both_asleep{"wake-both-asleep", role::rival, "oneTBB", &cold_asker<asker, true>, place::own_process};
add const hot{"wake-hot", role::rival, "oneTBB", &hot_asker<asker, 20'000>};

add const idle{"idle-cpu", role::rival, "oneTBB",
               [](settings const& s) -> repetition {
                 return [s] {
                   arena a{idle_workers + 1};
                   return idle_window(
                       s, [&] { a.threads_of.execute([] { static_cast<void>(start_and_join_all(1'000'000)); }); });
                 };
               },
               place::own_process};

add const fine_grained{"fine-grained", role::rival, "oneTBB, from main", [](settings const& s) -> repetition {
                         auto it = std::make_shared<asker>(s.workers);
                         return [=] {
                           return added_by_dispatch(s, [&](std::size_t i, seat const* here) {
                             std::size_t count = 0;
                             it->ask([&count, i, here] { count = counted_task(i, here); });
                             return count;
                           });
                         };
                       }};
add const fine_grained_group{"fine-grained", role::rival, "oneTBB, task_group", [](settings const& s) -> repetition {
                               auto a = std::make_shared<arena>(s.workers);
                               return [=] {
                                 return a->threads_of.execute([&] {
                                   tbb::task_group group;
                                   return added_by_dispatch(s, [&](std::size_t i, seat const* here) {
                                     std::size_t count = 0;
                                     group.run_and_wait([&count, i, here] { count = counted_task(i, here); });
                                     return count;
                                   });
                                 });
                               };
                             }};

add const allocations{"allocations", role::rival, "oneTBB", [](settings const& s) {
                        return in_arena(
                            s.workers,
                            [](std::size_t count) {
                              allocation_count const counter;
                              static_cast<void>(spawn_and_join(count));
                              auto const all = static_cast<double>(counter.so_far());
                              return sample{all / static_cast<double>(count), {{"in all", all}}};
                            },
                            10'000);
                      }};

template <std::size_t Length>
repetition parallel_for(settings const& s) {
  auto a = std::make_shared<arena>(s.workers);
  return [=] {
    return a->threads_of.execute([&] {
      return loop_of<Length>(s, [] { tbb::parallel_for(std::size_t{0}, Length, [](std::size_t) { visit(); }); });
    });
  };
}
add const loop_1{"loop-1", role::rival, "oneTBB parallel_for", &parallel_for<1>};
add const loop_1000{"loop-1000", role::rival, "oneTBB parallel_for", &parallel_for<1000>};
add const loop_million{"loop-million", role::rival, "oneTBB parallel_for", &parallel_for<1'000'000>};

}  // namespace

}  // namespace microbench
