// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Many tasks at once, in shapes chosen by chance: trees with failures, stops and drops in them, fibers that move from
// worker to worker, pools that come and go, crowds of foreign threads. Sums say whether anything was lost.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "stress/by_chance.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::by_chance;
using errand_test::counted;
using errand_test::generator;
using errand_test::rounds;

struct failure {};

class trees : public by_chance {};

// Starts children to the given depth in every way there is; returns how many leaves it saw.
int grow(generator random, int depth, bool gentle, counted const&) {
  if (depth == 0) {
    switch (random.below(4)) {
      case 0:
        errand::this_task::yield();
        break;
      case 1:
        errand::this_task::sleep_for(std::chrono::microseconds{random.below(50)});
        break;
      default:
        break;
    }
    if (!gentle && random.one_in(20)) throw failure{};
    return 1;
  }
  int leaves = 0;
  std::vector<errand::future<int>> children;
  for (int i = 0; i < 3; ++i) {
    auto mine = random.split();
    if (random.one_in(8))
      children.push_back(errand::async(errand::inplace, grow, mine, depth - 1, gentle, counted{}));
    else if (!gentle && random.one_in(8))
      children.push_back(errand::async({.timeout = std::chrono::microseconds{random.below(500)}}, grow, mine, depth - 1,
                                       gentle, counted{}));
    else
      children.push_back(errand::async(grow, mine, depth - 1, gentle, counted{}));
  }
  while (!children.empty()) {
    auto const i = random.below(static_cast<unsigned>(children.size()));
    auto f = std::move(children[i]);
    children.erase(children.begin() + i);
    if (!gentle && random.one_in(10)) f.request_stop();
    if (!gentle && random.one_in(10)) continue;  // dropped
    if (random.one_in(4)) static_cast<void>(f.wait_for(std::chrono::microseconds{random.below(20)}));
    try {
      leaves += f.get();
    } catch (errand::timed_out const&) {
    } catch (failure const&) {
      if (random.one_in(2)) throw;  // the others are dropped with the frame
    }
  }
  return leaves;
}

TEST_F(trees, gentle_ones_lose_no_leaf) {
  for (rounds r{5}; r.next();) ASSERT_EQ(errand::async(grow, random.split(), 6, true, counted{}).get(), 729);
}

TEST_F(trees, wild_ones_end_and_leave_nothing_behind) {
  for (rounds r{60}; r.next();) {
    auto f = errand::async(grow, random.split(), 5, false, counted{});
    if (random.one_in(3)) {
      static_cast<void>(f.wait_for(std::chrono::microseconds{random.below(300)}));
      f.request_stop();
    }
    if (!random.one_in(4)) static_cast<void>(f.result());
    f = {};
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(trees, of_coroutines_and_functions_mixed_lose_no_leaf) {
  struct mixed {
    static errand::task<int> coroutine(generator random, int depth, counted) {
      if (depth == 0) co_return 1;
      auto a = errand::async(coroutine, random.split(), depth - 1, counted{});
      auto b = errand::async(function, random.split(), depth - 1, counted{});
      int const c = co_await coroutine(random.split(), depth - 1, counted{});
      int const from_b = co_await b;
      co_return co_await a + from_b + c;
    }
    static int function(generator random, int depth, counted) {
      if (depth == 0) return 1;
      auto a = errand::async(coroutine, random.split(), depth - 1, counted{});
      if (random.one_in(2)) errand::this_task::yield();
      return a.get() + coroutine(random.split(), depth - 1, counted{}).get() + 1;
    }
    static int expected(int depth, bool is_coroutine) {
      if (depth == 0) return 1;
      return is_coroutine ? 2 * expected(depth - 1, true) + expected(depth - 1, false)
                          : 2 * expected(depth - 1, true) + 1;
    }
  };
  for (rounds r{15}; r.next();) {
    ASSERT_EQ(errand::async(mixed::coroutine, random.split(), 6, counted{}).get(), mixed::expected(6, true));
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(trees, fibers_that_yield_sleep_and_wait_move_between_workers_unharmed) {
  for (rounds r{2}; r.next();) {
    std::atomic<int> sum{0};
    std::vector<errand::future<void>> all;
    for (int i = 0; i < 150; ++i)
      all.push_back(errand::async([&sum, mine = random.split(), i]() mutable {
        std::string const own = "storm " + std::to_string(i) + std::string(100, '.');
        int steps = 0;
        for (int step = 0; step < 40; ++step, ++steps) {
          switch (mine.below(5)) {
            case 0:
              errand::this_task::sleep_for(std::chrono::microseconds{mine.below(30)});
              break;
            case 1:
              errand::async([] { errand::this_task::yield(); }).get();
              break;
            case 2:
              try {
                errand::async([] { throw failure{}; }).get();
              } catch (failure const&) {
                errand::this_task::yield();  // moves with an exception being handled
                if (!std::current_exception()) return;
              }
              break;
            default:
              errand::this_task::yield();
              break;
          }
          if (own.compare(0, 6, "storm ") != 0) return;
        }
        sum += steps;
      }));
    for (auto& f : all) f.get();
    ASSERT_EQ(sum, 150 * 40);
  }
}

TEST_F(trees, foreign_threads_in_crowds_submit_wait_stop_and_drop) {
  for (rounds r{4}; r.next();) {
    std::atomic<int> entered{0};
    std::atomic<int> left{0};
    std::atomic<int> values{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, mine = random.split()]() mutable {
        std::vector<errand::future<int>> kept;
        for (int i = 0; i < 300; ++i) {
          kept.push_back(errand::async([&, inner = mine.split(), c = counted{}]() mutable {
            ++entered;
            if (inner.one_in(5)) errand::async([] { errand::this_task::yield(); }).get();
            ++left;
            return 1;
          }));
          if (mine.one_in(3)) {
            auto const at = mine.below(static_cast<unsigned>(kept.size()));
            values += kept[at].get();
            kept.erase(kept.begin() + at);
          }
        }
        for (auto& f : kept) values += f.get();
      });
    threads.clear();
    ASSERT_EQ(entered, 8 * 300);
    ASSERT_EQ(left, entered);
    ASSERT_EQ(values, entered);
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(trees, pools_come_and_go_with_work_in_flight) {
  for (rounds r{150}; r.next();) {
    std::atomic<int> left{0};
    int started = 0;
    {
      errand::pool first{1 + random.below(3)};
      errand::pool second{1 + random.below(2)};
      for (unsigned i = 1 + random.below(20); i > 0; --i, ++started) {
        bool const sleeps = random.one_in(3);
        errand::async(first, [&, sleeps, c = counted{}] {
          if (sleeps) errand::this_task::sleep_for(20us);
          errand::async(second, [&] { errand::this_task::yield(); }).get();  // woken by a foreign worker
          errand::async([] {}).get();
          ++left;
        }).detach();
      }
      if (random.one_in(3)) std::this_thread::yield();
      // `second` would go first, while `first` still gives it work: let the givers end.
      while (left != started) std::this_thread::yield();
    }
    ASSERT_EQ(left, started);
  }
}

TEST_F(trees, a_pool_goes_the_moment_its_last_task_was_woken_from_outside) {
  for (rounds r{400}; r.next();) {
    errand::pool own{1 + random.below(2)};
    auto f = errand::async(own, [wait = random.below(3)] {
      if (wait == 0) errand::this_task::sleep_for(1us);
      if (wait == 1) errand::async(errand::threads, [] {}).get();
      if (wait == 2) errand::async(errand::threads, []() -> errand::task<> { co_await errand::async([] {}); }).get();
    });
    if (random.one_in(2))
      f.wait();
    else
      f.detach();
  }
}

TEST_F(trees, loops_with_failures_waits_and_stops_join_all_their_iterations) {
  for (rounds r{150}; r.next();) {
    std::atomic<int> inside{0};
    std::atomic<int> whole{0};
    auto const count = random.below(200);
    bool const fails = random.one_in(2);
    auto const failing = count == 0 ? 0 : random.below(count);
    auto const seed = random();
    auto const loop = [&] {
      errand::for_each_index(count, [&](std::size_t i) {
        generator mine{seed + i};
        struct within {
          std::atomic<int>& n;
          explicit within(std::atomic<int>& count_inside) : n{count_inside} { ++n; }
          ~within() { --n; }
        } const w{inside};
        switch (mine.below(6)) {
          case 0:
            errand::this_task::yield();
            break;
          case 1:
            errand::this_task::sleep_for(std::chrono::microseconds{mine.below(30)});
            break;
          case 2:
            errand::async([] {}).get();
            break;
          default:
            break;
        }
        if (fails && i == failing) throw failure{};
        ++whole;
      });
    };
    bool completed = false;
    try {
      if (random.one_in(3)) {
        loop();
      } else {
        auto f = errand::async(loop);
        if (random.one_in(4)) f.request_stop();
        f.get();
      }
      completed = true;
    } catch (failure const&) {
    } catch (errand::operation_cancelled const&) {
    }
    ASSERT_EQ(inside, 0);
    if (completed) {
      ASSERT_EQ(whole, static_cast<int>(count));
    }
  }
}

}  // namespace
