// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The handle: every operation of future and outcome, with a task in each state, and without one.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <chrono>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;

static_assert(std::is_nothrow_default_constructible_v<errand::future<int>>);
static_assert(std::is_nothrow_move_constructible_v<errand::future<int>>);
static_assert(std::is_nothrow_move_assignable_v<errand::future<int>>);
static_assert(!std::is_copy_constructible_v<errand::future<int>>);
static_assert(!std::is_copy_assignable_v<errand::future<int>>);
static_assert(std::is_same_v<decltype(std::declval<errand::future<int>&>().wait_for(1s)), std::future_status>);

// A task that runs until it is let go, on a worker of its own, so that it can be looked at from everywhere.
class running_task {
 public:
  running_task() {
    future = errand::async(home_, [this] {
      begun_.raise();
      let_go.wait();
      return 42;
    });
    begun_.wait();
  }
  ~running_task() { let_go.raise(); }
  running_task(running_task const&) = delete;
  running_task& operator=(running_task const&) = delete;

 private:
  flag begun_;
  errand::pool home_{1};

 public:
  flag let_go;
  errand::future<int> future;
};

// What holds for a wait by an ordinary thread must hold for a task's wait too.
template <class Use>
void by_a_thread_and_by_a_task(Use use) {
  use();
  errand::async(use).get();
}

TEST(future, get_returns_the_value_and_leaves_the_future_empty) {
  by_a_thread_and_by_a_task([] {
    auto f = errand::async([] { return std::string{"value"}; });
    EXPECT_TRUE(f.valid());
    EXPECT_EQ(f.get(), "value");
    EXPECT_FALSE(f.valid());
    EXPECT_FALSE(f.ready());
  });
}

TEST(future, get_that_throws_leaves_the_future_empty_too) {
  by_a_thread_and_by_a_task([] {
    auto f = errand::async([]() -> int { throw std::runtime_error{"failed"}; });
    EXPECT_THROW(static_cast<void>(f.get()), std::runtime_error);
    EXPECT_FALSE(f.valid());
  });
}

TEST(future, wait_keeps_the_result_for_later) {
  by_a_thread_and_by_a_task([] {
    auto f = errand::async([] { return 3; });
    f.wait();
    f.wait();
    EXPECT_TRUE(f.ready());
    EXPECT_TRUE(f.valid());
    EXPECT_EQ(f.get(), 3);
  });
}

TEST(future, wait_does_not_throw_what_the_task_threw) {
  auto f = errand::async([] { throw std::runtime_error{"failed"}; });
  EXPECT_NO_THROW(f.wait());
  EXPECT_THROW(f.get(), std::runtime_error);
}

TEST(future, ready_tells_without_waiting) {
  running_task t;
  EXPECT_FALSE(t.future.ready());
  t.let_go.raise();
  t.future.wait();
  EXPECT_TRUE(t.future.ready());
  EXPECT_EQ(t.future.get(), 42);
}

TEST(future, timed_waits_of_a_running_task_end_with_timeout) {
  running_task t;
  by_a_thread_and_by_a_task([&] {
    EXPECT_EQ(t.future.wait_for(0s), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_for(1us), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_for(-1h), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_for(std::chrono::nanoseconds::min()), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_for(std::chrono::hours::min()), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_for(std::chrono::duration<double>{1e-6}), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_until(std::chrono::steady_clock::now() + 1us), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_until(std::chrono::system_clock::now() + 1us), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_until(std::chrono::steady_clock::time_point{}), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_until(std::chrono::system_clock::time_point{}), std::future_status::timeout);
    EXPECT_EQ(errand::future_status::timeout, std::future_status::timeout);
  });
  t.let_go.raise();
  EXPECT_EQ(t.future.get(), 42);
}

TEST(future, timed_waits_up_to_the_distant_past_end_at_once) {
  running_task t;
  by_a_thread_and_by_a_task([&] {
    EXPECT_EQ(t.future.wait_until(std::chrono::steady_clock::time_point::min()), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_until(std::chrono::system_clock::time_point::min()), std::future_status::timeout);
    EXPECT_EQ(t.future.wait_until(std::chrono::sys_days{std::chrono::year{1000} / 1 / 1}), std::future_status::timeout);
  });
}

TEST(future, timed_waits_that_are_long_enough_end_with_ready) {
  using std::chrono::steady_clock;
  using std::chrono::system_clock;
  std::function<std::future_status(errand::future<int>&)> const waits[] = {
      [](auto& f) { return f.wait_for(1h); },
      [](auto& f) { return f.wait_for(std::chrono::nanoseconds::max()); },
      [](auto& f) { return f.wait_for(std::chrono::hours::max()); },
      [](auto& f) { return f.wait_for(std::chrono::duration<double>::max()); },
      [](auto& f) { return f.wait_until(steady_clock::now() + 1h); },
      [](auto& f) { return f.wait_until(system_clock::now() + 1h); },
      [](auto& f) { return f.wait_until(steady_clock::time_point::max()); },
      [](auto& f) { return f.wait_until(system_clock::time_point::max()); },
      [](auto& f) { return f.wait_until(std::chrono::sys_days{std::chrono::year{9999} / 1 / 1}); },
  };
  for (auto const& wait : waits)
    by_a_thread_and_by_a_task([&] {
      errand::pool other{1};
      flag begun;
      auto f = errand::async(other, [&] {
        begun.raise();
        for (int i = 0; i < 100; ++i) errand::this_task::yield();
        return 1;
      });
      begun.wait();
      EXPECT_EQ(wait(f), std::future_status::ready);
      EXPECT_EQ(f.get(), 1);
    });
}

TEST(future, timed_waits_of_a_task_that_is_done_end_with_ready_however_short) {
  auto f = errand::async([] { return 1; });
  f.wait();
  EXPECT_EQ(f.wait_for(-1h), std::future_status::ready);
  EXPECT_EQ(f.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(f.wait_until(std::chrono::system_clock::time_point{}), std::future_status::ready);
  EXPECT_EQ(f.get(), 1);
}

TEST(future, an_empty_one_refuses_what_needs_a_task_and_says_which_operation_it_was) {
  auto const expect_refusal = [](auto operation, std::string const& name) {
    errand::future<int> empty;
    try {
      operation(empty);
      ADD_FAILURE() << name << " did not throw";
    } catch (std::logic_error const& e) {
      EXPECT_NE(std::string{e.what()}.find("future::" + name), std::string::npos) << e.what();
    }
  };
  expect_refusal([](auto& f) { static_cast<void>(f.get()); }, "get()");
  expect_refusal([](auto& f) { f.wait(); }, "wait()");
  expect_refusal([](auto& f) { static_cast<void>(f.result()); }, "result()");
  expect_refusal([](auto& f) { static_cast<void>(f.wait_for(1s)); }, "wait_for()");
  expect_refusal([](auto& f) { static_cast<void>(f.wait_until(std::chrono::steady_clock::now())); }, "wait_until()");
}

TEST(future, an_empty_one_ignores_stop_and_detach) {
  errand::future<int> empty;
  empty.request_stop();
  empty.detach();
  EXPECT_FALSE(empty.ready());
  EXPECT_FALSE(empty.valid());
}

TEST(future, moving_hands_the_task_over) {
  auto first = errand::async([] { return 1; });
  auto second = std::move(first);
  EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_THROW(first.wait(), std::logic_error);
  EXPECT_EQ(second.get(), 1);
}

TEST(future, move_assignment_drops_the_task_that_was_held) {
  flag begun, stopped;
  auto f = errand::async(errand::threads, [&] {
    begun.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      stopped.raise();
    }
    return 1;
  });
  begun.wait();
  f = errand::async([] { return 2; });
  EXPECT_TRUE(stopped.is_raised());
  EXPECT_EQ(f.get(), 2);
}

TEST(future, move_assignment_to_itself_changes_nothing) {
  auto f = errand::async([] { return 1; });
  auto& same = f;
  f = std::move(same);
  EXPECT_EQ(f.get(), 1);
}

TEST(future, a_task_may_wait_for_a_future_that_was_made_outside) {
  running_task t;
  auto waiting = errand::async([&] { return t.future.get(); });
  t.let_go.raise();
  EXPECT_EQ(waiting.get(), 42);
}

TEST(outcome, holds_the_value) {
  auto o = errand::async([] { return std::string{"value"}; }).result();
  EXPECT_TRUE(o.has_value());
  EXPECT_TRUE(static_cast<bool>(o));
  EXPECT_FALSE(o.stopped());
  EXPECT_FALSE(o.error());
  EXPECT_EQ(std::move(o).value(), "value");
}

TEST(outcome, holds_the_error_and_throws_it_only_when_asked_for_the_value) {
  auto f = errand::async([]() -> int { throw std::runtime_error{"failed"}; });
  auto o = f.result();
  EXPECT_FALSE(f.valid());
  EXPECT_FALSE(o.has_value());
  EXPECT_FALSE(o.stopped());
  EXPECT_THROW(std::rethrow_exception(o.error()), std::runtime_error);
  EXPECT_THROW(static_cast<void>(std::move(o).value()), std::runtime_error);
}

TEST(outcome, holds_that_the_task_was_stopped) {
  auto f = errand::async([] { errand::this_task::sleep_for(24h); });
  f.request_stop();
  auto o = f.result();
  EXPECT_TRUE(o.stopped());
  EXPECT_FALSE(o.has_value());
  EXPECT_FALSE(o.error());
  EXPECT_THROW(std::move(o).value(), errand::operation_cancelled);
}

TEST(outcome, holds_that_the_time_ran_out_as_an_error) {
  auto o = errand::async({.timeout = 1ns}, [] { errand::this_task::sleep_for(24h); }).result();
  EXPECT_FALSE(o.stopped());
  EXPECT_THROW(std::rethrow_exception(o.error()), errand::timed_out);
}

TEST(outcome, moves_with_its_value_and_destroys_it_once) {
  {
    auto o = errand::async([] { return counted{5}; }).result();
    auto moved = std::move(o);
    EXPECT_EQ(std::move(moved).value().value, 5);
  }
  EXPECT_EQ(counted::alive(), 0);
}

}  // namespace
