// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// task_group: rule of behaviour 11 (the first failure stops the rest, all are joined, it is rethrown), what rules 5 to 8, 10
// and 17 mean for a group, and that nothing is left of its tasks.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;

std::string text_of(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    return e.what();
  }
}

// Counts what is reported while it lives.
class reports {
 public:
  reports() : before_{errand::set_unobserved_error_handler([](errand::unobserved_error const& e) {
                std::lock_guard const held{guard};
                all.push_back(std::string{e.task} + ": " + text_of(e.error));
              })} {}
  ~reports() {
    errand::set_unobserved_error_handler(before_);
    all.clear();
  }
  reports(reports const&) = delete;
  reports& operator=(reports const&) = delete;
  inline static std::mutex guard;
  inline static std::vector<std::string> all;

 private:
  errand::unobserved_error_handler before_;
};

// ---- what a group is -------------------------------------------------------------------------------------------------

TEST(task_group, runs_all_that_was_spawned_and_wait_joins_it) {
  std::atomic<int> sum{0};
  errand::task_group g;
  for (int i = 1; i <= 100; ++i) g.spawn([&sum, i] { sum += i; });
  g.wait();
  EXPECT_EQ(sum, 5050);
}

TEST(task_group, waits_for_nothing_if_it_is_empty_and_may_be_used_again_after_a_wait) {
  errand::task_group g;
  g.wait();
  int ran = 0;
  for (int i = 0; i < 3; ++i) {
    g.spawn([&] { ++ran; });
    g.wait();
  }
  EXPECT_EQ(ran, 3);
}

TEST(task_group, takes_whatever_async_takes_and_ignores_results) {
  std::atomic<int> sum{0};
  auto const add = [&](auto... each) { sum += (0 + ... + each); };
  errand::task_group g;
  g.spawn([&] { return ++sum; });
  g.spawn(add, 1);
  g.spawn(add, 1, 2);
  g.spawn(add, 1, 2, 3);
  g.spawn(add, 1, 2, 3, 4);
  g.spawn(add, 1, 2, 3, 4, 5);
  g.spawn([&](std::stop_token token, int x) { sum += token.stop_requested() ? 0 : x; }, 5);
  g.spawn([&](std::unique_ptr<int> p) { sum += *p; }, std::make_unique<int>(10));
  g.spawn([&](int x) -> errand::task<std::string> {
    co_await errand::async([] {});
    sum += x;
    co_return "ignored";
  }, 20);
  g.spawn({.name = "named"}, [&] { sum += errand::this_task::name() == "named" ? 100 : 0; });
  g.wait();
  EXPECT_EQ(sum, 1 + 1 + 3 + 6 + 10 + 15 + 5 + 10 + 20 + 100);
}

TEST(task_group, has_a_place_that_a_spawn_may_override) {
  errand::pool one{1};
  errand::pool other{1};
  int const on_one = errand::async(one, errand_test::thread_number).get();
  int const on_other = errand::async(other, errand_test::thread_number).get();
  std::vector<int> seen(6);
  errand::task_group g{one};
  g.spawn([&] { seen[0] = errand_test::thread_number(); });
  g.spawn(other, [&] { seen[1] = errand_test::thread_number(); });
  g.spawn(errand::inplace, [&] { seen[2] = errand_test::thread_number(); });
  g.spawn({.name = "x"}, [&] { seen[3] = errand_test::thread_number(); });
  g.spawn({.on = other}, [&] { seen[4] = errand_test::thread_number(); });
  g.spawn(errand::blocking, [&] { seen[5] = errand_test::thread_number(); });
  g.wait();
  EXPECT_EQ(seen[0], on_one);
  EXPECT_EQ(seen[1], on_other);
  EXPECT_EQ(seen[2], errand_test::thread_number());
  EXPECT_EQ(seen[3], on_one);
  EXPECT_EQ(seen[4], on_other);
  EXPECT_TRUE(seen[5] != on_one && seen[5] != on_other && seen[5] != seen[2]);
}

TEST(task_group, in_place_a_spawn_returns_when_its_function_has) {
  int ran = 0;
  errand::task_group g{errand::inplace};
  g.spawn([&] { ++ran; });
  EXPECT_EQ(ran, 1);
  g.spawn([&](int n) { ran += n; }, 2);
  EXPECT_EQ(ran, 3);
  EXPECT_NO_THROW(g.spawn([] { throw std::runtime_error{"in place"}; }));
  g.spawn([&] { ran = 100; });  // the group has been stopped by that
  EXPECT_EQ(ran, 3);
  EXPECT_THROW(g.wait(), std::runtime_error);
}

TEST(task_group, in_place_on_a_worker_joins_a_coroutine_that_goes_on_later) {
  bool ended = false;
  errand::async([&] {
    errand::task_group g{errand::inplace};
    g.spawn([&]() -> errand::task<> {
      co_await errand::async([] {});
      ended = true;
    });
    g.wait();
    EXPECT_TRUE(ended);
  }).get();
}

TEST(task_group, may_be_spawned_into_from_its_own_tasks_while_somebody_waits) {
  std::atomic<int> leaves{0};
  errand::task_group g;
  auto const grow = [&](auto const& self, int depth) -> void {
    if (depth == 0) {
      ++leaves;
      return;
    }
    g.spawn([&self, depth] { self(self, depth - 1); });
    g.spawn([&self, depth] { self(self, depth - 1); });
  };
  grow(grow, 8);
  g.wait();
  EXPECT_EQ(leaves, 256);
}

TEST(task_group, may_be_spawned_into_and_waited_for_from_several_threads) {
  std::atomic<int> ran{0};
  errand::task_group g;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) g.spawn([&] { ++ran; });
      g.wait();
    });
  threads.clear();
  EXPECT_EQ(ran, 800);
}

TEST(task_group, works_inside_a_task_of_a_pool_with_one_worker) {
  errand::pool one{1};
  int const sum = errand::async(one, [&] {
                    std::atomic<int> made{0};
                    errand::task_group g{one};
                    for (int i = 0; i < 10; ++i) g.spawn([&] { made += 1; });
                    g.wait();
                    return made.load();
                  }).get();
  EXPECT_EQ(sum, 10);
}

TEST(task_group, destroys_what_a_task_captured_before_wait_returns) {
  errand::task_group g;
  for (int i = 0; i < 20; ++i) g.spawn([payload = counted{}] { return counted{}; });
  g.spawn([payload = counted{}]() -> errand::task<counted> { co_return counted{}; });
  g.wait();
  EXPECT_EQ(counted::alive(), 0);
}

// ---- rule 11 ---------------------------------------------------------------------------------------------------------

TEST(group_rules, rule_11_the_first_failure_stops_the_rest_all_are_joined_and_it_is_rethrown) {
  errand::pool two{2};
  std::atomic<int> ended{0};
  flag waiting;
  errand::task_group g{two};
  for (int i = 0; i < 5; ++i)
    g.spawn([&] {
      struct at_end {
        std::atomic<int>& count;
        ~at_end() { ++count; }
      } const end{ended};
      waiting.raise();
      errand::this_task::sleep_for(24h);
    });
  waiting.wait();
  g.spawn([] { throw std::runtime_error{"the first"}; });
  try {
    g.wait();
    FAIL();
  } catch (std::runtime_error const& e) {
    EXPECT_STREQ(e.what(), "the first");
  }
  EXPECT_EQ(g.errors().size(), 1U);
  EXPECT_GE(ended, 1);
  EXPECT_THROW(g.wait(), std::runtime_error);  // it stays failed
}

TEST(group_rules, rule_11_later_failures_can_be_inspected_and_are_not_reported) {
  reports seen;
  errand::pool two{2};
  flag both[2];
  {
    errand::task_group g{two};
    for (int i = 0; i < 2; ++i)
      g.spawn([&both, i] {
        both[i].raise();
        both[1 - i].wait();
        throw std::runtime_error{std::to_string(i)};
      });
    std::string first;
    try {
      g.wait();
    } catch (std::runtime_error const& e) {
      first = e.what();
    }
    auto const all = g.errors();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(text_of(all[0]), first);
    EXPECT_NE(text_of(all[1]), first);
  }
  EXPECT_TRUE(reports::all.empty());
}

TEST(group_rules, rule_11_a_failure_keeps_what_has_not_begun_from_beginning_also_where_no_worker_is_free) {
  errand::pool busy{1};
  flag begun, let_go;
  bool ran = false;
  auto holds = errand::async(busy, [&] {
    begun.raise();
    let_go.wait();
  });
  begun.wait();
  errand::task_group g{busy};
  for (int i = 0; i < 10; ++i) g.spawn([&ran, payload = counted{}] { ran = true; });
  g.spawn(errand::inplace, [] { throw std::runtime_error{"fails"}; });
  EXPECT_THROW(g.wait(), std::runtime_error);  // does not wait for the worker
  EXPECT_EQ(counted::alive(), 0);
  EXPECT_FALSE(ran);
  let_go.raise();
  holds.get();
}

TEST(group_rules, rule_11_a_task_that_was_only_stopped_is_no_failure) {
  std::stop_source source;
  errand::task_group g;
  flag begun;
  int others = 0;
  g.spawn({.stop = source.get_token()}, [&] {
    begun.raise();
    errand::this_task::sleep_for(24h);
  });
  begun.wait_yielding();
  source.request_stop();
  g.spawn([&] { ++others; });
  EXPECT_NO_THROW(g.wait());
  EXPECT_EQ(others, 1);
}

TEST(group_rules, rule_11_a_task_that_its_deadline_stopped_has_failed) {
  errand::task_group g;
  g.spawn([] { errand::this_task::sleep_for(24h); });
  g.spawn({.timeout = 1ms, .name = "late"}, [] { errand::this_task::sleep_for(24h); });
  try {
    g.wait();
    FAIL();
  } catch (errand::timed_out const& e) {
    EXPECT_NE(std::string{e.what()}.find("late"), std::string::npos);
  }
}

TEST(group_rules, rule_11_a_deadline_before_the_begin_is_a_failure_too) {
  errand::pool busy{1};
  flag begun, let_go;
  auto holds = errand::async(busy, [&] {
    begun.raise();
    let_go.wait();
  });
  begun.wait();
  bool ran = false;
  errand::task_group g{busy};
  g.spawn({.timeout = 0ns}, [&, payload = counted{}] { ran = true; });
  errand::async([] { errand::this_task::sleep_for(1ms); }).get();  // a later deadline has passed
  let_go.raise();
  EXPECT_THROW(g.wait(), errand::timed_out);
  EXPECT_FALSE(ran);
  EXPECT_EQ(counted::alive(), 0);
}

// ---- stopping --------------------------------------------------------------------------------------------------------

TEST(group_rules, rule_07_a_stop_of_the_group_reaches_its_tasks_and_wait_returns_normally) {
  flag begun;
  errand::task_group g;
  std::atomic<int> stopped{0};
  for (int i = 0; i < 10; ++i)
    g.spawn([&](std::stop_token) {  // so that it has one, which a stop may come to after the point of cancellation has thrown
      begun.raise();
      try {
        errand::this_task::sleep_for(24h);
      } catch (errand::operation_cancelled const&) {
        stopped += errand::this_task::stop_token().stop_requested() ? 1 : 0;
        throw;
      }
    });
  begun.wait_yielding();
  g.request_stop();
  EXPECT_NO_THROW(g.wait());
  EXPECT_GE(stopped, 1);
  bool ran = false;
  g.spawn([&] { ran = true; });
  g.wait();
  EXPECT_FALSE(ran);
}

TEST(group_rules, rule_07_a_stop_of_the_group_reaches_a_task_that_runs_in_place) {
  errand::task_group g;
  flag begun;
  std::jthread stops([&] {
    begun.wait();
    g.request_stop();
  });
  bool stopped = false;
  std::stop_source unused;
  g.spawn({.on = errand::inplace, .stop = unused.get_token()}, [&] {
    begun.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      stopped = true;
      throw;
    }
  });
  EXPECT_TRUE(stopped);
  stops.join();
}

TEST(group_rules, rule_07_a_stop_of_the_task_that_made_the_group_reaches_its_tasks) {
  flag begun;
  std::atomic<bool> stopped{false};
  auto maker = errand::async([&] {
    errand::task_group g;
    g.spawn([&] {
      begun.raise();
      try {
        errand::this_task::sleep_for(24h);
      } catch (errand::operation_cancelled const&) {
        stopped = true;
        throw;
      }
    });
    g.wait();
    ADD_FAILURE() << "wait() is a point of cancellation";
  });
  begun.wait();
  maker.request_stop();
  EXPECT_TRUE(maker.result().stopped());
  EXPECT_TRUE(stopped);
}

TEST(group_rules, rule_06_a_stop_of_a_task_that_waits_for_somebody_elses_group_stops_and_joins_it) {
  flag begun;
  std::atomic<bool> ended{false};
  errand::task_group g{errand::blocking};
  g.spawn([&] {
    begun.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      ended = true;
      throw;
    }
  });
  begun.wait();
  flag about_to_wait;
  auto waits = errand::async([&] {
    about_to_wait.raise();
    try {
      g.wait();
    } catch (errand::operation_cancelled const&) {
      EXPECT_TRUE(ended);
      throw;
    }
  });
  about_to_wait.wait();
  waits.request_stop();
  auto const o = waits.result();
  EXPECT_TRUE(o.stopped() || ended);
  g.request_stop();
}

TEST(group_rules, rule_06_wait_is_a_point_of_cancellation_also_if_nothing_is_left_to_wait_for) {
  flag made, asked;
  bool passed = false;
  auto f = errand::async([&] {
    errand::task_group g;
    made.raise();
    asked.wait();
    g.wait();
    passed = true;
  });
  made.wait();
  f.request_stop();
  asked.raise();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_FALSE(passed);
}

TEST(group_rules, rule_10_the_destructor_stops_and_joins) {
  std::atomic<int> running{0};
  flag begun;
  {
    errand::task_group g;
    for (int i = 0; i < 10; ++i)
      g.spawn([&, payload = counted{}] {
        ++running;
        begun.raise();
        struct at_end {
          std::atomic<int>& count;
          ~at_end() { --count; }
        } const end{running};
        errand::this_task::sleep_for(24h);
      });
    begun.wait_yielding();
  }
  EXPECT_EQ(running, 0);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(group_rules, rule_10_the_destructor_joins_in_a_stopped_task_and_while_an_exception_unwinds) {
  for (bool const by_exception : {false, true}) {
    flag begun;
    bool joined = false;
    auto f = errand::async([&] {
      struct check {
        bool& joined;
        ~check() { joined = counted::alive() == 0; }
      } const after{joined};
      errand::task_group g;
      g.spawn([payload = counted{}] { errand::this_task::sleep_for(24h); });
      begun.raise();
      if (by_exception) throw std::runtime_error{"out"};
      errand::this_task::sleep_for(24h);
    });
    begun.wait();
    f.request_stop();
    EXPECT_FALSE(f.result().has_value());
    EXPECT_TRUE(joined);
  }
}

// ---- errors ----------------------------------------------------------------------------------------------------------

TEST(group_rules, rule_17_an_error_that_nobody_took_is_reported_by_the_destructor_with_the_tasks_name) {
  reports seen;
  flag failed;
  {
    errand::task_group g;
    g.spawn({.name = "lost"}, [&] {
      struct at_end {
        flag& f;
        ~at_end() { f.raise(); }
      } const end{failed};
      throw std::runtime_error{"nobody took me"};
    });
    failed.wait_yielding();
  }
  ASSERT_EQ(reports::all.size(), 1U);
  EXPECT_EQ(reports::all[0], "lost: nobody took me");
}

TEST(group_rules, rule_17_errors_takes_them) {
  reports seen;
  {
    errand::task_group g{errand::inplace};
    g.spawn([] { throw std::runtime_error{"taken"}; });
    ASSERT_EQ(g.errors().size(), 1U);
  }
  EXPECT_TRUE(reports::all.empty());
}

TEST(group_rules, rule_05_a_task_that_waits_for_its_own_group_gets_deadlock) {
  errand::task_group g;
  g.spawn([&] { g.wait(); });
  EXPECT_THROW(g.wait(), errand::deadlock);
}

TEST(group_rules, rule_09_a_stopped_group_waits_for_code_without_points_of_cancellation) {
  errand_test::flag begun, end;
  bool ended = false;
  errand::task_group g;
  g.spawn([&] {
    begun.raise();
    end.wait();
    ended = true;
  });
  begun.wait();
  g.request_stop();
  std::jthread const releases{[&] { end.raise(); }};
  g.wait();
  EXPECT_TRUE(ended);
}

TEST(group_rules_death, rule_05_a_group_destroyed_by_its_own_task_ends_the_program_with_a_message) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto* const g = new errand::task_group;
        g->spawn([g] { delete g; });
        errand_test::flag{}.wait();
      },
      "errand: the task group made at .*group_rules_test.cpp:[0-9]+ is destroyed by one of its own tasks.*: task "
      "\\(.*:[0-9]+\\)");
}

}  // namespace
