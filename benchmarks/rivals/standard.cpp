// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// std::async and std::thread: a thread for each task.
#include "allocations.hpp"
#include "alternation.hpp"
#include "fine_grained.hpp"
#include "round_trips.hpp"

#include <future>
#include <thread>

#include <sched.h>

namespace microbench {

namespace {

template <class Join>
repetition one_after_the_other(std::size_t count, Join join) {
  return [=] {
    roll_call const who;
    auto const begin = now_ns();
    for (std::size_t i = 0; i < count; ++i) join();
    auto const end = now_ns();
    return sample{ns_each(begin, end, count), who.end(count).facts()};
  };
}

void by_async() { std::async(std::launch::async, empty_task).get(); }
void by_thread() { std::thread{empty_task}.join(); }

add const async_1{"spawn-join-1", role::rival, "std::async",
                  [](settings const& s) { return one_after_the_other(s.times(2000), &by_async); }};
add const thread_1{"spawn-join-1", role::rival, "std::thread",
                   [](settings const& s) { return one_after_the_other(s.times(2000), &by_thread); }};
add const async_2{"spawn-join-2", role::rival, "std::async",
                  [](settings const& s) { return one_after_the_other(s.times(2000), &by_async); }};

struct asker {
  explicit asker(unsigned) {}
  template <class F>
  void ask(F f) {
    std::async(std::launch::async, f).get();
  }
};
constexpr auto starts_a_thread = "std::async, starts a thread";
add const cold{"wake-cold", role::rival, starts_a_thread, &cold_asker<asker, false>, place::own_process};
add const both_asleep{"wake-both-asleep", role::rival, starts_a_thread, &cold_asker<asker, true>, place::own_process};
add const hot{"wake-hot", role::rival, starts_a_thread, &hot_asker<asker, 2000>};

add const allocations{"allocations", role::rival, "std::async", [](settings const& s) -> repetition {
                        return [n = s.times(1000)] {
                          allocation_count const count;
                          for (std::size_t i = 0; i < n; ++i) by_async();
                          auto const all = static_cast<double>(count.so_far());
                          require(all > 0, "the counter of allocations does not count");
                          return sample{all / static_cast<double>(n)};
                        };
                      }};

add const fine_grained{"fine-grained", role::rival, "std::async", [](settings const& s) -> repetition {
                         return [s] {
                           return added_by_dispatch(s, [](std::size_t i, seat const* here) {
                             return std::async(std::launch::async, &counted_task, i, here).get();
                           });
                         };
                       }};

// On one processor, as our two tasks are.
add const yield{"yield", role::rival, "two threads, one processor", [](settings const& s) -> repetition {
                  return [n = s.times(50'000)] {
                    alternation turns{n};
                    auto const run = [&](int me) {
                      stay_on_one_processor();
                      turns.take_turns(me, &sched_yield);
                    };
                    std::thread one{run, 1};
                    std::thread two{run, 2};
                    one.join();
                    two.join();
                    return turns.result();
                  };
                }};

}  // namespace

}  // namespace microbench
