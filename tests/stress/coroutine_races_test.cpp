// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What happens to a suspended coroutine at one moment, thousands of times: the end of whom it awaits, the end of its sleep, a
// stop, a deadline, a drop, a detach, the end of its pool, a move to another one.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <atomic>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "stress/by_chance.hpp"

namespace {

using errand_test::by_chance;
using errand_test::counted;
using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;
using std::chrono::nanoseconds;

class coroutine_races : public by_chance {
 protected:
  struct life {
    coroutine_races& test;
    explicit life(coroutine_races& t) : test{t} { ++test.begun; }
    life(life const&) = delete;
    ~life() { ++test.ended; }
  };

  // Waits in one way or another, several times, for others that do the same.
  errand::task<int> lives(generator mine, int depth, counted) {
    life const here{*this};
    for (auto waits = mine.below(3) + 1; waits > 0; --waits) switch (mine.below(depth > 0 ? 6 : 4)) {
        case 0:
          co_await errand::sleep_for(nanoseconds{mine.below(20'000)});
          break;
        case 1: {
          auto f = errand::async([] { errand::this_task::yield(); });
          co_await f;
          break;
        }
        case 2:
          dither(mine);
          if (mine.one_in(10)) throw std::runtime_error{"by chance"};
          break;
        case 3:
          co_await errand::resume_on(mine.one_in(2) ? errand::place{errand::threads} : errand::place{second});
          break;
        case 4: {
          auto child = lives(mine.split(), depth - 1, counted{});
          co_await child;
          break;
        }
        case 5: {
          auto started = mine.one_in(3)   ? errand::async(errand::inplace, &coroutine_races::lives, this, mine.split(), depth - 1, counted{})
                         : mine.one_in(2) ? errand::async(second, &coroutine_races::lives, this, mine.split(), depth - 1, counted{})
                                          : errand::async(&coroutine_races::lives, this, mine.split(), depth - 1, counted{});
          if (mine.one_in(3)) started.request_stop();
          if (mine.one_in(4)) break;  // dropped
          co_await started;
          break;
        }
      }
    co_return 1;
  }

  auto start(int depth) { return errand::async(&coroutine_races::lives, this, random.split(), depth, counted{}); }
  auto start(errand::how const& options, int depth) {
    return errand::async(options, &coroutine_races::lives, this, random.split(), depth, counted{});
  }

  // Takes what came of it.
  static void take(errand::future<int> f) {
    auto o = f.result();
    if (o.has_value()) {
      EXPECT_EQ(std::move(o).value(), 1);
    }
  }

  errand::pool second{1};
};

TEST_F(coroutine_races, a_stop_against_all_that_a_coroutine_does) {
  for (rounds r{3000}; r.next();) {
    int const before = begun;
    auto f = start(3);
    if (random.one_in(2))
      while (begun == before) std::this_thread::yield();
    dither(random);
    if (random.one_in(2)) f.request_stop();
    take(std::move(f));
    ASSERT_EQ(begun, ended);
  }
}

TEST_F(coroutine_races, a_drop_against_all_that_a_coroutine_does) {
  for (rounds r{3000}; r.next();) {
    int const before = begun;
    auto f = start(3);
    if (random.one_in(2))
      while (begun == before) std::this_thread::yield();
    dither(random);
    f = {};
    ASSERT_EQ(begun, ended);
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(coroutine_races, a_deadline_against_all_that_a_coroutine_does) {
  for (rounds r{2000}; r.next();) {
    nanoseconds const timeout{random.below(100'000)};
    take(start({.timeout = timeout}, 3));
    ASSERT_EQ(begun, ended);
  }
}

TEST_F(coroutine_races, a_detach_against_all_that_a_coroutine_does) {
  auto const all_have_ended = [&] {
    while (begun != ended || counted::alive() != 0) std::this_thread::yield();
  };
  int detached = 0;
  for (rounds r{1000}; r.next();) {
    auto f = start(2);
    dither(random);
    f.detach();
    if (++detached % 64 == 0) all_have_ended();
  }
  all_have_ended();
}

TEST_F(coroutine_races, the_end_of_a_sleep_against_a_stop) {
  for (rounds r{3000}; r.next();) {
    auto const span = nanoseconds{random.below(30'000)};
    auto f = errand::async(
        [](nanoseconds d, counted) -> errand::task<int> {
          co_await errand::sleep_for(d);
          co_return 1;
        },
        span, counted{});
    if (random.one_in(2)) std::this_thread::sleep_for(span);
    f.request_stop();
    take(std::move(f));
  }
}

TEST_F(coroutine_races, a_stop_and_a_completion_from_two_threads_against_one_suspended_coroutine) {
  for (rounds r{300}; r.next();) {
    std::atomic<bool> go{false};
    std::atomic<bool> end{false};
    auto awaited = errand::async(second, [&] {
      while (!end) std::this_thread::yield();
      return 1;
    });
    auto waits = errand::async(
        [](errand::future<int>& f, counted) -> errand::task<int> { co_return co_await f; }, std::ref(awaited), counted{});
    auto one = random.split(), two = random.split();
    std::jthread stops([&] {
      while (!go) std::this_thread::yield();
      dither(one);
      waits.request_stop();
    });
    std::jthread completes([&] {
      while (!go) std::this_thread::yield();
      dither(two);
      end = true;
    });
    go = true;
    stops.join();
    take(std::move(waits));
    completes.join();
    if (awaited.valid()) take(std::move(awaited));
  }
}

TEST_F(coroutine_races, moves_between_pools_against_the_end_of_the_pools) {
  for (rounds r{150}; r.next();) {
    std::vector<errand::future<int>> all;
    {
      errand::pool stays{1 + random.below(2)};
      {
        errand::pool goes{1 + random.below(2)};
        for (int i = 0; i < 8; ++i)
          all.push_back(errand::async(
              random.one_in(2) ? goes : stays,
              [](errand::pool& from, errand::pool& to, generator mine, counted) -> errand::task<int> {
                for (auto moves = mine.below(4); moves > 0; --moves) {
                  co_await errand::resume_on(from);
                  if (mine.one_in(2)) co_await errand::sleep_for(nanoseconds{mine.below(5'000)});
                  co_await errand::resume_on(to);
                }
                co_return 1;
              },
              std::ref(goes), std::ref(stays), random.split(), counted{}));
        dither(random);
        if (random.one_in(2)) all[random.below(8)].request_stop();
        // Those given to `stays` may still want to go over: it is the user's part to see that they do not come too late.
        for (auto& f : all) f.wait();
        all.clear();
        for (int i = 0; i < 8; ++i)
          all.push_back(errand::async(
              goes,
              [](errand::pool& to, generator mine, counted) -> errand::task<int> {
                dither(mine);
                co_await errand::resume_on(to);
                if (mine.one_in(2)) co_await errand::sleep_for(nanoseconds{mine.below(20'000)});
                dither(mine);
                co_return 1;
              },
              std::ref(stays), random.split(), counted{}));
      }  // the first pool ends while its coroutines leave it
      if (random.one_in(2)) dither(random);
    }  // the second one waits for them
    for (auto& f : all) {
      ASSERT_TRUE(f.ready());
      take(std::move(f));
    }
    ASSERT_EQ(counted::alive(), 0);
  }
}

}  // namespace
