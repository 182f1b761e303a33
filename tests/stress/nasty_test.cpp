// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a hostile user would write: stops that race with completion, exceptions from copies, moves and destructors,
// pools of one worker with deep waits, pools that go while others wait for their tasks, futures inside results and
// exceptions, and programs that end at the worst moment. Every test checks its own sums and leaves nothing behind.
#include <gtest/gtest.h>

#include <errand/group.hpp>

#include <array>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/counted.hpp"

namespace {

using namespace std::chrono_literals;
namespace this_task = errand::this_task;
using errand_test::counted;

struct boom {};

/// Counts its living copies, as counted does; the copy or move that finds the fuse at zero throws.
struct fused {
  std::atomic<int>* fuse;
  counted alive;
  explicit fused(std::atomic<int>* f) : fuse{f} {}
  fused(fused const& other) : fuse{burnt(other.fuse)} {}
  fused(fused&& other) : fuse{burnt(other.fuse)} {}  // NOLINT: throwing is its purpose
  fused& operator=(fused const&) = delete;

 private:
  static std::atomic<int>* burnt(std::atomic<int>* fuse) {
    if ((*fuse)-- == 0) throw boom{};
    return fuse;
  }
};

int four(fused const&, fused const&) { return 4; }

errand::task<int> four_later(fused, fused) {
  co_await errand::async([] {});
  co_return 4;
}

TEST(nasty, a_stop_that_races_with_completion_ends_in_exactly_one_outcome) {
  for (int i = 0; i < 500; ++i) {
    std::stop_source source;
    counted const c;
    auto f = errand::async({.stop = source.get_token()}, [c, i] {
      auto child = errand::async([c] {
        this_task::yield();
        return 1;
      });
      for (int k = 0; k < i % 5; ++k) this_task::yield();
      return i + child.get();
    });
    std::thread stopper{[&] { source.request_stop(); }};
    std::thread taker{[i, moved = std::move(f)]() mutable {
      auto mine = std::move(moved);
      if (i % 3 == 0) mine.request_stop();
      if (i % 11 == 0) return;  // dropped here
      auto o = mine.result();
      EXPECT_EQ(o.error(), nullptr);
      EXPECT_NE(o.has_value(), o.stopped());
      if (o) {
        EXPECT_EQ(std::move(o).value(), i + 1);
      }
    }};
    taker.join();
    stopper.join();
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(nasty, copies_and_moves_that_throw_anywhere_leak_nothing) {
  errand::pool one{1};
  std::array<errand::place, 3> const places{one, errand::threads, errand::inplace};
  for (auto where : places)
    for (int k = 0; k < 14; ++k) {
      auto const burning_at_k = [k](auto attempt) {
        std::atomic<int> fuse{k};
        try {
          fused const a{&fuse}, b{&fuse};
          attempt(a, b);
        } catch (boom const&) {
        }
        EXPECT_EQ(counted::alive(), 0);
      };
      burning_at_k([&](auto& a, auto& b) { EXPECT_EQ(errand::async(where, four, a, b).get(), 4); });
      burning_at_k([&](auto& a, auto& b) { EXPECT_EQ(errand::async(where, four_later, a, b).get(), 4); });
      burning_at_k([&](auto& a, auto&) {
        EXPECT_EQ(errand::map(where, std::vector<int>(6), [a](int) { return fused{a}; }).size(), 6u);
      });
    }
}

errand::pool& odd() {
  static errand::pool p{1};
  return p;
}
errand::pool& even() {
  static errand::pool p{1};
  return p;
}

int ping(int n) {
  if (n == 0) return 0;
  this_task::yield();
  return 1 + errand::async(n % 2 != 0 ? odd() : even(), ping, n - 1).get();
}

errand::task<int> ping_later(int n) {
  if (n == 0) co_return 0;
  auto next = errand::async(n % 2 != 0 ? odd() : even(), ping_later, n - 1);
  if (n % 5 == 0) co_return 1 + next.get();
  co_return 1 + co_await next;
}

TEST(nasty, two_pools_of_one_worker_wait_for_each_other_thousands_deep) {
  EXPECT_EQ(errand::async(odd(), ping, 2000).get(), 2000);
  EXPECT_EQ(errand::async(even(), ping_later, 2000).get(), 2000);
}

TEST(nasty, a_pool_goes_while_tasks_of_another_wait_for_its_own) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> begun{0}, given{0};
    std::vector<errand::future<int>> waiting;
    {
      errand::pool dying{1 + static_cast<unsigned>(round % 3)};
      for (int i = 0; i < 20; ++i)
        waiting.push_back(errand::async([&, i] {
          auto f = errand::async(dying, [&, i] {
            ++begun;
            this_task::yield();
            return i + errand::async(dying, [&] { return ++begun, 1; }).get();
          });
          ++given;
          return f.get();
        }));
      while (given < 20) std::this_thread::yield();
    }
    int sum = 0;
    for (auto& f : waiting) sum += f.get();
    EXPECT_EQ(sum, 190 + 20);
    EXPECT_EQ(begun, 40);
  }
}

TEST(nasty, futures_in_results_and_in_exceptions_are_joined_wherever_they_end) {
  struct failure {
    std::shared_ptr<errand::future<void>> sleeper;
  };
  errand::pool one{1};
  for (int i = 0; i < 200; ++i) {
    auto seven = [&] { return errand::async(one, [] { return 7; }); };
    auto f = errand::async(one, [&one, seven] { return errand::async(one, seven); });
    if (i % 3 == 0) continue;
    auto inner = f.get();
    if (i % 3 == 1) continue;
    EXPECT_EQ(inner.get().get(), 7);
  }
  for (int i = 0; i < 200; ++i) {
    auto f = errand::async(one, [&, c = counted{}] {
      throw failure{std::make_shared<errand::future<void>>(errand::async(one, [c] { this_task::sleep_for(1h); }))};
    });
    EXPECT_THROW(f.get(), failure);
  }
  EXPECT_EQ(counted::alive(), 0);
}

errand::task<int> awaits(counted, errand::future<int> f) { co_return co_await f; }

TEST(nasty, coroutines_dropped_unbegun_or_suspended_leave_no_frame_behind) {
  errand::pool one{1};
  auto sleeper = [] { return errand::async([] { return this_task::sleep_for(1h), 1; }); };
  for (int i = 0; i < 200; ++i) {
    { auto unbegun = awaits(counted{}, sleeper()); }
    auto f = errand::async(one, awaits, counted{}, sleeper());
    for (int k = 0; k < i % 20; ++k) std::this_thread::yield();
    if (i % 3 == 0) {
      f.request_stop();
      EXPECT_TRUE(f.result().stopped());
    }
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(nasty, loops_in_loops_in_a_coroutine_on_one_worker_fail_and_go_on) {
  errand::pool one{1};
  auto rounds = [&](bool failing) -> errand::task<int> {
    int failed = 0;
    for (int r = 0; r < 5; ++r) {
      try {
        errand::for_each_index(one, 20, [&](std::size_t i) {
          errand::for_each_index(one, 5, [&](std::size_t j) {
            if (failing && i == 7 && j == 3) throw std::logic_error("seven and three");
            this_task::yield();
          });
        });
      } catch (std::logic_error const&) {
        ++failed;
      }
      co_await errand::async(one, [] {});
    }
    co_return failed;
  };
  auto good = errand::async(one, rounds, false);
  auto bad = errand::async(one, rounds, true);
  EXPECT_EQ(good.get(), 0);
  EXPECT_EQ(bad.get(), 5);
}

TEST(nasty, two_hundred_threads_begin_at_once) {
  std::barrier start{200};
  std::atomic<int> sum{0};
  {
    std::vector<std::jthread> all;
    for (int i = 0; i < 200; ++i)
      all.emplace_back([&] {
        start.arrive_and_wait();
        std::vector<errand::future<int>> mine;
        auto nested = [] { return errand::async([] { return 1; }).get(); };
        for (int k = 0; k < 50; ++k) mine.push_back(errand::async(nested));
        for (auto& f : mine) sum += f.get();
      });
  }
  EXPECT_EQ(sum, 200 * 50);
}

int pools_in_pools(int depth) {
  if (depth == 0) return 1;
  errand::pool own{1};
  auto a = errand::async(own, pools_in_pools, depth - 1);
  auto b = errand::async(own, pools_in_pools, depth - 1);
  return a.get() + b.get();
}

TEST(nasty, tasks_start_pools_whose_tasks_start_pools) { EXPECT_EQ(errand::async(pools_in_pools, 6).get(), 64); }

int caught(errand::pool& p, int i, int depth) {
  try {
    throw i;
  } catch (int) {
    this_task::yield();
    if (depth > 0) errand::async(p, caught, std::ref(p), 2 * i + 1, depth - 1).get();
    try {
      throw;
    } catch (int again) {
      return again;
    }
  }
}

TEST(nasty, each_parked_handler_keeps_its_own_current_exception) {
  errand::pool one{1};
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 60; ++i) all.push_back(errand::async(one, caught, std::ref(one), i, 4));
  for (int i = 0; i < 60; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

TEST(nasty_death, exit_in_a_task_ends_the_program_while_others_wait) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::vector<errand::future<void>> all;
        for (int i = 0; i < 50; ++i) all.push_back(errand::async([] { this_task::sleep_for(1h); }));
        errand::async([&] { errand::async([] { std::exit(7); }).get(); }).get();
      },
      testing::ExitedWithCode(7), "");
}

__attribute__((noinline)) int use_stack(std::size_t bytes) {
  auto* const block = static_cast<char volatile*>(__builtin_alloca(bytes));
  for (std::size_t i = bytes; i >= 512; i -= 512) block[i - 1] = 1;
  return block[bytes - 1];
}
__attribute__((noinline)) int use_stack_and_wait(errand::pool& on, std::size_t bytes, std::size_t childs) {
  auto* const block = static_cast<char volatile*>(__builtin_alloca(bytes));
  for (std::size_t i = bytes; i >= 512; i -= 512) block[i - 1] = 1;
  return block[bytes - 1] + errand::async(on, use_stack, childs).get();
}

TEST(nasty, a_child_that_needs_much_stack_is_not_run_on_top_of_a_parent_that_does) {
  errand::pool one{1};
  for (std::size_t const kib : {4U, 40U, 100U, 150U})
    EXPECT_EQ(errand::async(one, use_stack_and_wait, std::ref(one), kib * 1024, std::size_t{150 * 1024}).get(), 2);
}

}  // namespace
