// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of behaviour 6 to 10: where a stop is noticed, whom it reaches, what it looks like, and what dropping does.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

// ---- rule 6 ----------------------------------------------------------------------------------------------------------

struct point {
  char const* name;
  void (*enter)(errand::future<int>& someone);
};
point const points_of_cancellation[] = {
    {"sleep_for", [](auto&) { errand::this_task::sleep_for(24h); }},
    {"sleep_until", [](auto&) { errand::this_task::sleep_until(std::chrono::system_clock::now() + 24h); }},
    {"sleep for no time", [](auto&) { errand::this_task::sleep_for(-1s); }},
    {"get", [](auto& someone) { static_cast<void>(someone.get()); }},
    {"wait", [](auto& someone) { someone.wait(); }},
    {"wait_for", [](auto& someone) { static_cast<void>(someone.wait_for(24h)); }},
    {"wait_for no time", [](auto& someone) { static_cast<void>(someone.wait_for(0s)); }},
    {"wait_until",
     [](auto& someone) { static_cast<void>(someone.wait_until(std::chrono::steady_clock::now() + 24h)); }},
    {"result", [](auto& someone) { static_cast<void>(someone.result()); }},
    {"yield", [](auto&) { errand::this_task::yield(); }},
    {"check_stop", [](auto&) { errand::this_task::check_stop(); }},
};

TEST(stopping, rule_06_a_task_that_was_asked_to_stop_ends_at_the_next_point_of_cancellation) {
  for (auto const& p : points_of_cancellation) {
    SCOPED_TRACE(p.name);
    errand::pool busy{1};
    flag let_go, begun, asked;
    auto someone = errand::async(busy, [&] {
      let_go.wait();
      return 1;
    });
    bool passed = false;
    auto f = errand::async([&] {
      begun.raise();
      asked.wait();
      p.enter(someone);
      passed = true;
    });
    begun.wait();
    f.request_stop();
    asked.raise();
    EXPECT_TRUE(f.result().stopped());
    EXPECT_FALSE(passed);
    let_go.raise();
    EXPECT_EQ(someone.get(), 1);  // whom it waited for was neither stopped nor taken
  }
}

TEST(stopping, rule_06_a_stop_ends_a_wait_that_has_begun) {
  for (auto const& p : points_of_cancellation) {
    SCOPED_TRACE(p.name);
    errand::pool busy{1};
    errand::pool one{1};
    flag let_go, begun;
    auto someone = errand::async(busy, [&] {
      let_go.wait();
      return 1;
    });
    auto f = errand::async(one, [&] {
      begun.raise();
      for (;;) p.enter(someone);
    });
    begun.wait();
    if (std::string{p.name}.find("no time") == std::string::npos && p.name != std::string{"yield"} &&
        p.name != std::string{"check_stop"})
      errand::async(one, [] {}).get();  // the worker goes on: the task has parked
    f.request_stop();
    EXPECT_TRUE(f.result().stopped());
    let_go.raise();
    EXPECT_EQ(someone.get(), 1);
  }
}

TEST(stopping, rule_06_a_stop_ends_the_wait_of_a_foreign_threads_task_in_place) {
  errand::pool busy{1};
  flag let_go, begun;
  auto someone = errand::async(busy, [&] { let_go.wait(); });
  std::stop_source source;
  std::jthread stops([&] {
    begun.wait();
    source.request_stop();
  });
  auto f = errand::async({.on = errand::inplace, .stop = source.get_token()}, [&] {
    begun.raise();
    someone.wait();
  });
  EXPECT_TRUE(f.result().stopped());
  let_go.raise();
}

TEST(stopping, rule_06_get_of_a_child_that_nobody_has_begun_is_a_point_of_cancellation_too) {
  errand::pool one{1};
  flag begun, asked;
  bool child_ran = false;
  auto f = errand::async(one, [&] {
    auto child = errand::async(one, [&] { child_ran = true; });
    begun.raise();
    asked.wait();
    child.get();
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_FALSE(child_ran);
}

TEST(stopping, rule_06_co_await_is_a_point_of_cancellation) {
  errand::pool busy{1};
  errand::pool one{1};
  flag let_go, begun;
  auto someone = errand::async(busy, [&] { let_go.wait(); });
  auto const awaits = [&]() -> errand::task<> {
    begun.raise();
    co_await someone;
  };
  auto f = errand::async(one, awaits);
  begun.wait();
  errand::async(one, [] {}).get();
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  let_go.raise();
  someone.get();
}

TEST(stopping, rule_06_destructors_wait_to_the_end_in_a_stopped_task) {
  errand::pool busy{1};
  flag let_go, begun, asked, dropped;
  auto f = errand::async([&] {
    {
      auto child = errand::async(busy, [&] {
        begun.raise();
        let_go.wait();
      });
      asked.wait();
    }
    dropped.raise();
    errand::this_task::check_stop();
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_EQ(f.wait_for(1ms), errand::future_status::timeout);
  EXPECT_FALSE(dropped.is_raised());
  let_go.raise();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_TRUE(dropped.is_raised());
}

TEST(stopping, rule_06_no_point_throws_while_an_exception_unwinds) {
  int passed = 0;
  errand::pool busy{1};
  auto someone = errand::async(busy, [] {});
  struct waits_in_destructor {
    errand::future<void>& someone;
    int& passed;
    ~waits_in_destructor() {
      errand::this_task::check_stop();
      errand::this_task::yield();
      errand::this_task::sleep_for(1us);
      static_cast<void>(someone.wait_for(1us));
      someone.wait();
      ++passed;
    }
  };
  flag begun, asked;
  auto f = errand::async([&] {
    begun.raise();
    asked.wait();
    waits_in_destructor const w{someone, passed};
    throw std::runtime_error{"unwinding"};
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_THROW(f.get(), std::runtime_error);
  EXPECT_EQ(passed, 1);
}

TEST(stopping, rule_06_a_task_that_parks_while_unwinding_does_not_make_others_immune) {
  errand::pool one{1};
  errand::pool busy{1};
  flag let_go, parked, begun, asked;
  auto blocker = errand::async(busy, [&] { let_go.wait(); });
  struct parks_in_destructor {
    errand::future<void>& blocker;
    flag& parked;
    ~parks_in_destructor() {
      parked.raise();
      blocker.wait();
    }
  };
  auto unwinds = errand::async(one, [&] {
    parks_in_destructor const p{blocker, parked};
    throw std::runtime_error{"unwinding"};
  });
  auto other = errand::async(one, [&] {
    begun.raise();
    asked.wait();
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    errand::this_task::check_stop();
  });
  parked.wait();
  begun.wait();
  other.request_stop();
  asked.raise();
  EXPECT_TRUE(other.result().stopped());
  let_go.raise();
  EXPECT_THROW(unwinds.get(), std::runtime_error);
}

TEST(stopping, rule_06_outside_any_task_the_points_just_do_their_work) {
  EXPECT_NO_THROW(errand::this_task::check_stop());
  EXPECT_NO_THROW(errand::this_task::yield());
  EXPECT_NO_THROW(errand::this_task::sleep_for(1us));
}

// ---- rule 7 ----------------------------------------------------------------------------------------------------------

TEST(stopping, rule_07_a_stop_reaches_children_and_grandchildren_that_wait) {
  flag begun;
  int stopped = 0;
  auto const sleep_and_count = [&](auto&& below) {
    try {
      below();
    } catch (errand::operation_cancelled const&) {
      ++stopped;  // one after the other: each parent joins its child before it ends
      throw;
    }
  };
  auto f = errand::async([&] {
    sleep_and_count([&] {
      auto child = errand::async([&] {
        sleep_and_count([&] {
          auto grandchild = errand::async([&] {
            sleep_and_count([&] {
              begun.raise();
              errand::this_task::sleep_for(24h);
            });
          });
          grandchild.get();
        });
      });
      child.get();
    });
  });
  begun.wait();
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_EQ(stopped, 3);
}

TEST(stopping, rule_07_a_stop_reaches_a_child_that_looks_at_its_token_while_its_parent_computes) {
  errand::pool two{2};
  flag begun, seen;
  auto f = errand::async(two, [&] {
    auto child = errand::async(two, [&](std::stop_token token) {
      begun.raise();
      while (!token.stop_requested()) std::this_thread::yield();
      seen.raise();
    });
    seen.wait();
    child.get();
  });
  begun.wait();
  f.request_stop();
  static_cast<void>(f.result());
  EXPECT_TRUE(seen.is_raised());
}

TEST(stopping, rule_07_a_stop_calls_back_through_the_token) {
  flag begun, called;
  auto f = errand::async([&](std::stop_token token) {
    std::stop_callback const on_stop{token, [&] { called.raise(); }};
    begun.raise();
    called.wait();
  });
  begun.wait();
  f.request_stop();
  f.get();
}

TEST(stopping, rule_07_a_token_asked_for_after_the_stop_says_so) {
  flag begun, asked;
  auto f = errand::async([&] {
    begun.raise();
    asked.wait();
    return errand::this_task::stop_token().stop_requested();
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_TRUE(f.get());
}

TEST(stopping, rule_07_a_stop_reaches_a_child_that_is_started_after_it) {
  flag begun, asked;
  auto f = errand::async([&] {
    begun.raise();
    asked.wait();
    bool heard = false;
    {
      auto child = errand::async(errand::inplace, [&] { heard = errand::this_task::stop_token().stop_requested(); });
      EXPECT_TRUE(child.ready());
    }
    return heard;
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_TRUE(f.get());
}

TEST(stopping, rule_07_a_stop_reaches_neither_siblings_nor_parents) {
  auto f = errand::async([&] {
    flag begun;
    auto stopped = errand::async([&] {
      begun.raise();
      errand::this_task::sleep_for(24h);
    });
    auto sibling = errand::async([&] { return errand::this_task::stop_token(); });
    if (stopped.wait_for(0s) == errand::future_status::timeout) stopped.request_stop();
    EXPECT_TRUE(stopped.result().stopped());
    EXPECT_FALSE(sibling.get().stop_requested());
    errand::this_task::check_stop();
    return 1;
  });
  EXPECT_EQ(f.get(), 1);
}

TEST(stopping, rule_07_a_stop_does_not_reach_a_detached_child) {
  errand::pool other{1};
  flag detached, parent_has_ended, looked;
  bool stopped = true;
  auto f = errand::async([&] {
    errand::async(other, [&] {
      auto const token = errand::this_task::stop_token();
      parent_has_ended.wait();
      stopped = token.stop_requested();
      looked.raise();
    }).detach();
    detached.raise();
    errand::this_task::sleep_for(24h);
  });
  detached.wait();
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  parent_has_ended.raise();
  looked.wait();
  EXPECT_FALSE(stopped);
}

TEST(stopping, rule_07_a_stopped_task_that_has_not_begun_is_stopped_at_once_without_a_worker) {
  errand::pool one{1};
  flag release, holding;
  auto hold = errand::async(one, [&] {
    holding.raise();
    release.wait();
  });
  holding.wait();
  bool ran = false;
  auto f = errand::async(one, [&] { ran = true; });
  f.request_stop();
  EXPECT_TRUE(f.ready());  // the only worker is held
  EXPECT_TRUE(f.result().stopped());
  release.raise();
  hold.get();
  EXPECT_EQ(errand::async(one, [] { return 1; }).get(), 1);  // what was left in the queue does no harm
  EXPECT_FALSE(ran);
}

TEST(stopping, rule_07_who_waits_for_a_task_that_is_stopped_unrun_is_woken) {
  errand::pool one{1};
  flag release, waits;
  auto hold = errand::async(one, [&] { release.wait(); });
  std::stop_source source;
  auto f = errand::async({.on = one, .stop = source.get_token()}, [] {});
  auto waiting = errand::async([&] {
    waits.raise();
    return f.result().stopped();
  });
  waits.wait();
  source.request_stop();
  EXPECT_TRUE(waiting.get());
  release.raise();
}

TEST(stopping, rule_07_an_outer_token_stops_the_task_before_in_and_after_its_run) {
  std::stop_source source;
  source.request_stop();
  bool ran = false;
  EXPECT_TRUE(errand::async({.stop = source.get_token()}, [&] { ran = true; }).result().stopped());
  EXPECT_TRUE(
      errand::async({.on = errand::inplace, .stop = source.get_token()}, [&] { ran = true; }).result().stopped());
  EXPECT_FALSE(ran);

  std::stop_source later;
  flag begun;
  auto f = errand::async({.stop = later.get_token()}, [&] {
    begun.raise();
    errand::this_task::sleep_for(24h);
  });
  begun.wait();
  later.request_stop();
  EXPECT_TRUE(f.result().stopped());

  std::stop_source too_late;
  auto done = errand::async({.stop = too_late.get_token()}, [] { return 1; });
  done.wait();
  too_late.request_stop();
  EXPECT_EQ(done.get(), 1);
}

TEST(stopping, rule_07_asking_twice_is_asking_once) {
  flag begun;
  auto f = errand::async([&] {
    begun.raise();
    errand::this_task::sleep_for(24h);
  });
  begun.wait();
  f.request_stop();
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
}

TEST(stopping, rule_07_a_task_may_ask_itself_to_stop) {
  flag handed_over;
  errand::future<void> own;
  own = errand::async([&] {
    handed_over.wait();
    own.request_stop();
    errand::this_task::check_stop();
  });
  handed_over.raise();
  while (!own.ready()) std::this_thread::yield();
  EXPECT_TRUE(own.result().stopped());
}

// ---- rule 8 ----------------------------------------------------------------------------------------------------------

static_assert(!std::is_base_of_v<std::exception, errand::operation_cancelled>);
static_assert(std::is_base_of_v<std::runtime_error, errand::timed_out>);

TEST(stopping, rule_08_get_of_a_stopped_task_throws_operation_cancelled) {
  auto f = errand::async([] { errand::this_task::sleep_for(24h); });
  f.request_stop();
  EXPECT_THROW(f.get(), errand::operation_cancelled);
  EXPECT_FALSE(f.valid());
}

TEST(stopping, rule_08_get_of_a_task_that_ran_out_of_time_throws_timed_out_with_name_and_line) {
  try {
    errand::async({.timeout = 1ms, .name = "slow"}, [] { errand::this_task::sleep_for(24h); }).get();
    FAIL();
  } catch (errand::timed_out const& e) {
    EXPECT_NE(std::string{e.what()}.find("\"slow\""), std::string::npos) << e.what();
    EXPECT_NE(std::string{e.what()}.find("stopping_rules_test.cpp:" + std::to_string(__LINE__ - 4)), std::string::npos)
        << e.what();
  }
}

TEST(stopping, rule_08_a_deadline_is_a_timeout_and_the_nearer_counts) {
  auto const now = std::chrono::steady_clock::now();
  auto const sleeps = [] { errand::this_task::sleep_for(24h); };
  EXPECT_THROW(errand::async({.deadline = now}, sleeps).get(), errand::timed_out);
  EXPECT_THROW(errand::async({.timeout = 24h, .deadline = now}, sleeps).get(), errand::timed_out);
  EXPECT_THROW(errand::async({.timeout = 1us, .deadline = now + 24h}, sleeps).get(), errand::timed_out);
  EXPECT_THROW(errand::async({.timeout = -1s}, sleeps).get(), errand::timed_out);
  EXPECT_THROW(errand::async({.on = errand::inplace, .timeout = 1us}, sleeps).get(), errand::timed_out);
  EXPECT_THROW(errand::async({.deadline = std::chrono::steady_clock::time_point::min()}, sleeps).get(),
               errand::timed_out);
}

TEST(stopping, rule_08_a_far_deadline_changes_nothing) {
  EXPECT_EQ(errand::async({.timeout = 24h}, [] { return 1; }).get(), 1);
  EXPECT_EQ(errand::async({.timeout = std::chrono::nanoseconds::max()}, [] { return 1; }).get(), 1);
}

TEST(stopping, rule_08_the_time_runs_out_for_a_task_that_waits_for_its_child) {
  auto f = errand::async({.timeout = 1ms}, [&] {
    auto child = errand::async([&] { errand::this_task::sleep_for(24h); });
    child.get();
  });
  EXPECT_THROW(f.get(), errand::timed_out);
}

TEST(stopping, rule_08_a_childs_timeout_is_an_error_that_its_parent_may_catch) {
  auto f = errand::async([] {
    try {
      errand::async({.timeout = 1us}, [] { errand::this_task::sleep_for(24h); }).get();
    } catch (errand::timed_out const&) {
      errand::this_task::check_stop();  // the parent itself was not asked
      return 1;
    }
    return 2;
  });
  EXPECT_EQ(f.get(), 1);
}

TEST(stopping, rule_08_catching_std_exception_does_not_swallow_a_stop) {
  flag begun;
  auto f = errand::async([&] {
    begun.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (std::exception const&) {
      return 1;
    }
    return 2;
  });
  begun.wait();
  f.request_stop();
  EXPECT_THROW(static_cast<void>(f.get()), errand::operation_cancelled);
}

TEST(stopping, rule_08_if_the_work_finished_all_the_same_its_value_stands) {
  flag begun, asked;
  auto f = errand::async([&] {
    begun.raise();
    asked.wait();
    return 42;
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_EQ(f.get(), 42);

  auto late = errand::async({.on = errand::inplace, .timeout = 1ns}, [](std::stop_token token) {
    while (!token.stop_requested()) std::this_thread::yield();
    return 43;
  });
  try {
    EXPECT_EQ(late.get(), 43);
  } catch (errand::timed_out const&) {
    // the nanosecond had passed before it began
  }
}

TEST(stopping, rule_08_if_the_work_failed_all_the_same_its_error_stands) {
  flag begun, asked;
  auto f = errand::async([&] {
    begun.raise();
    asked.wait();
    throw std::runtime_error{"failed"};
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_THROW(f.get(), std::runtime_error);
}

// ---- rule 9 ----------------------------------------------------------------------------------------------------------

TEST(stopping, rule_09_code_without_points_of_cancellation_finishes_late_and_can_be_looked_at_meanwhile) {
  flag begun, end;
  auto f = errand::async([&] {
    begun.raise();
    end.wait();
    return 7;
  });
  begun.wait();
  f.request_stop();
  EXPECT_EQ(f.wait_for(2ms), errand::future_status::timeout);
  EXPECT_EQ(f.wait_for(0s), errand::future_status::timeout);
  end.raise();
  EXPECT_EQ(f.get(), 7);
}

// ---- rule 10 ---------------------------------------------------------------------------------------------------------

TEST(stopping, rule_10_dropping_a_future_asks_for_a_stop_and_joins) {
  for (int i = 0; i < 100; ++i) {
    bool begun = false;
    bool ended = false;
    flag running;
    {
      auto f = errand::async([&] {
        begun = true;
        running.raise();
        try {
          errand::this_task::sleep_for(24h);
        } catch (errand::operation_cancelled const&) {
          ended = true;
          throw;
        }
      });
      if (i % 2 == 0) running.wait();
    }
    ASSERT_EQ(begun, ended);  // plain variables: joined, or never begun
  }
}

TEST(stopping, rule_10_dropping_a_future_waits_for_code_that_does_not_stop) {
  bool ended = false;
  flag begun;
  {
    auto f = errand::async([&] {
      begun.raise();
      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
      ended = true;
    });
    begun.wait();
  }
  EXPECT_TRUE(ended);
}

TEST(stopping, rule_10_dropping_a_future_whose_task_is_done_does_nothing_more) {
  auto f = errand::async([] { return 1; });
  f.wait();
}

TEST(stopping, rule_10_an_exception_that_leaves_the_scope_stops_and_joins_its_tasks) {
  flag begun;
  bool ended = false;
  EXPECT_THROW(
      {
        auto f = errand::async([&] {
          begun.raise();
          try {
            errand::this_task::sleep_for(24h);
          } catch (errand::operation_cancelled const&) {
            ended = true;
            throw;
          }
        });
        begun.wait();
        throw std::runtime_error{"leaving"};
      },
      std::runtime_error);
  EXPECT_TRUE(ended);
}

TEST(stopping, rule_10_detach_neither_stops_nor_waits) {
  flag begun, let_go, ended;
  bool stopped = true;
  {
    auto f = errand::async([&] {
      begun.raise();
      let_go.wait();
      stopped = errand::this_task::stop_token().stop_requested();
      ended.raise();
    });
    f.detach();
    EXPECT_FALSE(f.valid());
  }
  begun.wait();
  let_go.raise();
  ended.wait();
  EXPECT_FALSE(stopped);
}

TEST(stopping, rule_10_a_detached_task_that_has_not_begun_runs_all_the_same) {
  errand::pool one{1};
  flag release, ran;
  auto hold = errand::async(one, [&] { release.wait(); });
  errand::async(one, [&] { ran.raise(); }).detach();
  release.raise();
  ran.wait();
}

TEST(stopping, rule_10_destroying_a_pool_lets_all_its_tasks_end_unstopped) {
  std::atomic<int> ended{0};
  {
    errand::pool own{2};
    for (int i = 0; i < 100; ++i)
      errand::async(own, [&] {
        errand::this_task::sleep_for(100us);
        errand::async(own, [&] { ++ended; }).detach();
        ++ended;
      }).detach();
  }
  EXPECT_EQ(ended, 200);
}

}  // namespace
