// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Cycles of waits that several tasks close at the same time, by chance: each cycle is refused once, whoever is last, and all
// who wait into one get their results.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/task.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include "support/seed.hpp"

namespace {

using errand_test::generator;
using errand_test::rounds;
using errand_test::test_seed;
using shared = errand::shared_future<int>;

/// Tasks 0 … n - 1, each of which waits for one of them, or for none: `next[i]` is n then.
std::vector<std::size_t> choose(generator& random, std::size_t n) {
  std::vector<std::size_t> next(n);
  for (auto& one : next) one = random.below(static_cast<unsigned>(n) + 1);
  for (std::size_t i = 0; i < n; ++i)
    if (next[i] == i) next[i] = n;  // who waits for itself is told by another rule
  return next;
}

int count_cycles(std::vector<std::size_t> const& next) {
  std::vector<std::size_t> seen_by(next.size() + 1, next.size());
  int cycles = 0;
  for (std::size_t start = 0; start < next.size(); ++start) {
    std::size_t at = start;
    while (at != next.size() && seen_by[at] == next.size()) {
      seen_by[at] = start;
      at = next[at];
    }
    if (at != next.size() && seen_by[at] == start) ++cycles;
  }
  return cycles;
}

errand::task<int> await_it(shared const& other) { co_return co_await other; }

int wait_in_some_way(shared const& other, unsigned way) {
  switch (way) {
    case 0:
      return other.get();
    case 1:
      return other.then([](int x) { return x; }).get();
    case 2:
      return errand::async(errand::inplace, [&other] { return other.get(); }).get();
    case 3:
      return await_it(other).get();
    case 4:
      return std::get<0>(errand::when_all(other.then([](int x) { return x; }), errand::async([] {})).get());
    default:
      return errand::async([&other] { return other.get(); }).get();
  }
}

TEST(cycles_race, each_cycle_is_refused_once_whoever_closes_it) {
  generator random{test_seed()};
  errand::pool other_pool{2};
  for (rounds r{300}; r.next();) {
    std::size_t const n = 2 + random.below(8);
    auto const next = choose(random, n);
    std::vector<shared> tasks(n);
    std::atomic<bool> all_there{false};
    std::atomic<int> refused{0};
    for (std::size_t i = 0; i < n; ++i) {
      auto body = [&, i, way = random.below(6)] {
        while (!all_there.load(std::memory_order_acquire)) errand::this_task::yield();
        if (next[i] == n) return 1;
        try {
          return wait_in_some_way(tasks[next[i]], way);
        } catch (errand::deadlock const&) {
          ++refused;
          return 1;
        }
      };
      switch (random.below(3)) {
        case 0:
          tasks[i] = errand::async(other_pool, body).share();
          break;
        case 1:
          tasks[i] = errand::async(errand::blocking, body).share();
          break;
        default:
          tasks[i] = errand::async(body).share();
      }
    }
    all_there.store(true, std::memory_order_release);
    for (auto& one : tasks) EXPECT_EQ(one.get(), 1);
    EXPECT_EQ(refused.load(), count_cycles(next));
    if (HasFailure()) return;
  }
}

/// Two that wait for each other, one of which is stopped meanwhile: nobody waits for ever, and nothing is refused twice.
TEST(cycles_race, a_cycle_against_a_stop) {
  generator random{test_seed()};
  for (rounds r{500}; r.next();) {
    std::vector<shared> tasks(2);
    std::atomic<bool> all_there{false};
    std::atomic<int> refused{0};
    for (std::size_t i = 0; i < 2; ++i)
      tasks[i] = errand::async([&, i] {
                   while (!all_there.load(std::memory_order_acquire)) std::this_thread::yield();
                   try {
                     tasks[1 - i].wait();
                   } catch (errand::deadlock const&) {
                     ++refused;
                   }
                   return 1;
                 }).share();
    std::thread stopper{[&, n = random.below(3000)]() mutable {
      while (!all_there.load(std::memory_order_acquire)) std::this_thread::yield();
      for (; n > 0; --n) asm volatile("" ::: "memory");
      tasks[0].request_stop();
    }};
    all_there.store(true, std::memory_order_release);
    EXPECT_TRUE(tasks[1].result().has_value() || tasks[1].result().stopped());
    static_cast<void>(tasks[0].result());
    stopper.join();
    EXPECT_LE(refused.load(), 1);
    if (HasFailure()) return;
  }
}

}  // namespace
