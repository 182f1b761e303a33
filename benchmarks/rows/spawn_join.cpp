// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Spawn and join inside a task: in place where it can be, by a hop to another stack where it cannot.
#include "system_state.hpp"
#include "who_ran.hpp"

#include <errand/task.hpp>

#include <memory>

namespace microbench {

namespace {

// Times `step` inside a task of the pool, where each step starts and joins `tasks` empty tasks.
template <class Step>
repetition inside_a_task(unsigned workers, std::size_t count, std::uint64_t tasks, Step step) {
  auto pool = std::make_shared<errand::pool>(workers);
  return [=] {
    return errand::async(*pool,
                         [&] {
                           roll_call const who;
                           auto const begin = now_ns();
                           for (std::size_t i = 0; i < count; ++i) step(*pool);
                           auto const end = now_ns();
                           return sample{ns_each(begin, end, count), who.end(count * tasks).facts()};
                         })
        .get();
  };
}

void spawn_and_join(errand::pool& pool) { errand::async(pool, empty_task).get(); }

// What the hops count: whether the child found its parent at the wait, which it can only if the parent's stack was left.
struct hops {
  bool waiting = false;
  std::size_t parked = 0;
};

// Times a join that sets `waiting` before it waits, and whose child calls `seen`.
template <class Join>
repetition by_a_hop(std::size_t count, std::uint64_t tasks, Join join) {
  auto pool = std::make_shared<errand::pool>(1U);
  return [=] {
    return errand::async(
               *pool,
               [&] {
                 hops h;
                 roll_call const who;
                 auto const begin = now_ns();
                 for (std::size_t i = 0; i < count; ++i) {
                   h.waiting = false;
                   join(*pool, h);
                 }
                 auto const end = now_ns();
                 auto facts = who.end(count * tasks).facts();
                 facts.push_back({"% parked", 100 * static_cast<double>(h.parked) / static_cast<double>(count)});
                 return sample{ns_each(begin, end, count), std::move(facts)};
               })
        .get();
  };
}

auto child_of(hops& h) {
  return [&h] {
    h.parked += h.waiting;
    visit();
  };
}

// A timed wait never runs the child in place. It arms a timer, and takes it back.
void join_in_time(errand::pool& pool, hops& h) {
  auto child = errand::async(pool, child_of(h));
  h.waiting = true;
  child.wait_for(std::chrono::hours{1});
  child.get();
}

// The task that waits did not start the child. Two tasks are started; the other runs in place.
void join_by_another(errand::pool& pool, hops& h) {
  auto child = errand::async(pool, child_of(h));
  errand::async(pool, [&] {
    visit();
    h.waiting = true;
    child.get();
  }).get();
}

// A coroutine does not run on the stack of who waits for it.
errand::task<void> coroutine_child(hops& h) {
  child_of(h)();
  co_return;
}
void join_a_coroutine(errand::pool& pool, hops& h) {
  auto child = errand::async(pool, coroutine_child(h));
  h.waiting = true;
  child.get();
}

add const one{"spawn-join-1", role::ours, "errand",
              [](settings const& s) { return inside_a_task(1, s.times(500'000), 1, &spawn_and_join); }};
add const two{"spawn-join-2", role::ours, "errand",
              [](settings const& s) { return inside_a_task(2, s.times(200'000), 1, &spawn_and_join); }};

add const coroutine{"spawn-join-hop", role::ours, "errand, child a coroutine",
                    [](settings const& s) { return by_a_hop(s.times(200'000), 1, &join_a_coroutine); }};
add const another{"spawn-join-hop", role::ours, "errand, joined by another (2 tasks)",
                  [](settings const& s) { return by_a_hop(s.times(200'000), 2, &join_by_another); }};
add const timed{"spawn-join-hop", role::ours, "errand, with a time limit",
                [](settings const& s) { return by_a_hop(s.times(100'000), 1, &join_in_time); }};

}  // namespace

}  // namespace microbench
