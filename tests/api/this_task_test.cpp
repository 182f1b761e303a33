// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a running task may ask of itself, and what the same calls do outside any task.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

std::string own_name() { return std::string{errand::this_task::name()}; }

TEST(this_task, name_is_what_the_starter_said) {
  EXPECT_EQ(errand::async({.name = "fetch"}, own_name).get(), "fetch");
  EXPECT_EQ(errand::async({.on = errand::inplace, .name = "fetch"}, own_name).get(), "fetch");
  EXPECT_EQ(errand::async(own_name).get(), "");
  EXPECT_EQ(own_name(), "");
}

TEST(this_task, name_was_copied) {
  std::string name(100, 'n');
  auto f = errand::async({.name = name}, [] {
    errand::this_task::sleep_for(1ms);
    return own_name();
  });
  name.assign(100, 'm');
  EXPECT_EQ(f.get(), std::string(100, 'n'));
}

TEST(this_task, name_is_ones_own_again_after_running_another_in_place) {
  errand::pool one{1};
  auto f = errand::async({.on = one, .name = "outer"}, [&] {
    auto child = errand::async({.on = one, .name = "inner"}, own_name);
    EXPECT_EQ(child.get(), "inner");
    EXPECT_EQ(own_name(), "outer");
    EXPECT_EQ(errand::async({.on = errand::inplace, .name = "in place"}, own_name).get(), "in place");
    EXPECT_EQ(own_name(), "outer");
    errand::this_task::sleep_for(1ms);
    return own_name();
  });
  EXPECT_EQ(f.get(), "outer");
}

TEST(this_task, stop_token_is_the_one_the_callable_is_given) {
  EXPECT_TRUE(errand::async([](std::stop_token given) { return given == errand::this_task::stop_token(); }).get());
}

TEST(this_task, outside_any_task_the_token_never_stops) {
  EXPECT_FALSE(errand::this_task::stop_token().stop_possible());
}

TEST(this_task, a_token_outlives_its_task) {
  std::stop_token kept;
  {
    auto f = errand::async([&](std::stop_token t) { kept = t; });
    f.get();
  }
  EXPECT_FALSE(kept.stop_requested());
}

TEST(this_task, yield_lets_others_run_first) {
  errand::pool one{1};
  std::string order;
  auto f = errand::async(one, [&] {
    auto other = errand::async(one, [&] { order += 'b'; });
    order += 'a';
    while (!other.ready()) errand::this_task::yield();
    order += 'c';
  });
  f.get();
  EXPECT_EQ(order, "abc");
}

TEST(this_task, two_that_yield_to_each_other_starve_no_third) {
  errand::pool one{1};
  flag end;
  auto const yields = [&] {
    while (!end.is_raised()) errand::this_task::yield();
  };
  auto a = errand::async(one, yields);
  auto b = errand::async(one, yields);
  errand::async(one, [&] { end.raise(); }).get();
  a.get();
  b.get();
}

TEST(this_task, those_that_yield_take_turns_in_their_order) {
  errand::pool one{1};
  std::string order;
  int begun = 0;
  auto const turns = [&](char name) {
    ++begun;
    while (begun != 3) errand::this_task::yield();
    for (int i = 0; i < 20; ++i) {
      order += name;
      errand::this_task::yield();
    }
  };
  auto a = errand::async(one, turns, 'a');
  auto b = errand::async(one, turns, 'b');
  auto c = errand::async(one, turns, 'c');
  a.get();
  b.get();
  c.get();
  ASSERT_EQ(order.size(), 60U);
  for (std::size_t i = 3; i < order.size(); ++i) EXPECT_EQ(order[i], order[i - 3]) << order;
}

TEST(this_task, what_yields_lets_a_task_that_has_not_begun_begin_before_its_next_turn) {
  errand::pool one{1};
  errand::async(one, [&] {
    std::string order;
    std::vector<errand::future<void>> all;
    for (char const name : {'a', 'b', 'c'}) all.push_back(errand::async(one, [&order, name] { order += name; }));
    for (auto& f : all)
      while (!f.ready()) errand::this_task::yield();
    EXPECT_EQ(order.size(), 3U);
    EXPECT_EQ(order.front(), 'a') << "the oldest comes first: " << order;
  }).get();
}

TEST(this_task, what_has_yielded_to_a_task_that_keeps_its_thread_goes_on_elsewhere) {
  errand::pool two{2};
  for (int i = 0; i < 200; ++i) {
    flag end;
    auto keeps = errand::async(two, [&] {
      auto child = errand::async(two, [&] { end.wait(); });
      errand::this_task::yield();  // to the child, unless the other worker has it
      end.raise();
      child.get();
    });
    keeps.get();
  }
}

TEST(this_task, what_yields_finds_the_work_of_a_worker_that_is_busy_for_long) {
  errand::pool two{2};
  flag begun, end;
  auto busy = errand::async(two, [&] {
    begun.wait();
    auto child = errand::async(two, [&] { end.raise(); });
    end.wait();  // keeps its thread
    child.get();
  });
  auto yields = errand::async(two, [&] {
    begun.raise();
    while (!end.is_raised()) errand::this_task::yield();
  });
  yields.get();
  busy.get();
}

TEST(this_task, a_thousand_that_yield_and_wait_for_each_other_all_end) {
  errand::pool pool;
  errand::async(pool, [&] {
    std::vector<errand::future<int>> all;
    for (int i = 0; i < 1000; ++i)
      all.push_back(errand::async(pool, [&pool, i] {
        auto child = errand::async(pool, [i] {
          for (int k = 0; k < i % 7; ++k) errand::this_task::yield();
          return i;
        });
        for (int k = 0; k < i % 5; ++k) errand::this_task::yield();
        static_cast<void>(child.wait_for(i % 3 == 0 ? 0ns : 1h));
        return child.get();
      }));
    int sum = 0;
    for (auto& f : all) sum += f.get();
    EXPECT_EQ(sum, 1000 * 999 / 2);
  }).get();
}

TEST(this_task, a_task_that_keeps_starting_work_does_not_starve_what_comes_from_outside) {
  errand::pool one{1};
  flag end, begun;
  struct again {
    errand::pool& home;
    flag& end;
    void operator()() const {
      if (!end.is_raised()) errand::async(home, *this).detach();
    }
  };
  auto first = errand::async(one, [&] {
    begun.raise();
    errand::async(one, again{one, end}).detach();
  });
  begun.wait();
  errand::async(one, [&] { end.raise(); }).get();
}

TEST(this_task, sleepers_wake_in_the_order_of_their_times) {
  errand::pool one{1};
  for (bool in_time = false; !in_time;) {  // on a busy machine one may come to sleep only when its time is over: again
    in_time = true;
    std::vector<int> order;
    auto const at = std::chrono::steady_clock::now() + 30ms;
    std::vector<errand::future<void>> all;
    for (int const i : {3, 1, 4, 0, 2})
      all.push_back(errand::async(one, [&, i] {
        if (std::chrono::steady_clock::now() >= at) in_time = false;
        errand::this_task::sleep_until(at + i * 1ms);
        order.push_back(i);
      }));
    for (auto& f : all) f.get();
    if (in_time) {
      EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
    }
  }
}

TEST(this_task, sleep_never_ends_early) {
  auto const never_early = [] {
    for (auto const span : {0us, 1us, 100us, 2000us}) {
      auto const until = std::chrono::steady_clock::now() + span;
      errand::this_task::sleep_for(span);
      EXPECT_GE(std::chrono::steady_clock::now(), until);
      auto const by_system_clock = std::chrono::system_clock::now() + span;
      errand::this_task::sleep_until(by_system_clock);
    }
  };
  never_early();
  errand::async(never_early).get();
}

TEST(this_task, a_thousand_sleepers_all_wake) {
  errand::pool two{2};
  std::atomic<int> woken{0};
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 1000; ++i)
    all.push_back(errand::async(two, [&, i] {
      errand::this_task::sleep_for(std::chrono::microseconds{i * 7919 % 5000});
      ++woken;
    }));
  for (auto& f : all) f.get();
  EXPECT_EQ(woken, 1000);
}

}  // namespace
