// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// task<T>: started by async(), awaited by other coroutines, got by anybody, dropped unbegun; and co_await of futures.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;
using errand_test::thread_number;

errand::task<int> value(int n) { co_return n; }
errand::task<int> sum(int a, int b) {
  int const first = co_await value(a);
  int const second = co_await value(b);
  co_return first + second;
}
errand::task<> throws() {
  throw std::runtime_error{"from a coroutine"};
  co_return;
}
errand::task<> sleeps() {
  co_await errand::async([] { errand::this_task::sleep_for(24h); });
}

TEST(coroutine, async_starts_a_coroutine_and_flattens_its_result) {
  static_assert(std::is_same_v<decltype(errand::async(value(1))), errand::future<int>>);
  static_assert(std::is_same_v<decltype(errand::async(value, 1)), errand::future<int>>);
  static_assert(std::is_same_v<decltype(errand::async({}, value, 1)), errand::future<int>>);
  errand::pool own{1};
  EXPECT_EQ(errand::async(value(1)).get(), 1);
  EXPECT_EQ(errand::async(value, 2).get(), 2);
  EXPECT_EQ(errand::async(own, value, 3).get(), 3);
  EXPECT_EQ(errand::async(own, value(4)).get(), 4);
  EXPECT_EQ(errand::async(errand::inplace, value, 5).get(), 5);
  EXPECT_EQ(errand::async({.name = "coroutine"}, value, 6).get(), 6);
  EXPECT_EQ(errand::async({.on = own}, value(7)).get(), 7);
  EXPECT_EQ(errand::async(sum, 3, 4).get(), 7);
}

TEST(coroutine, get_runs_it_from_anywhere) {
  EXPECT_EQ(value(1).get(), 1);
  EXPECT_EQ(errand::async([] { return sum(1, 2).get(); }).get(), 3);
}

TEST(coroutine, does_nothing_before_it_is_started_and_is_merely_destroyed_if_it_never_is) {
  bool ran = false;
  {
    auto const body = [&](counted) -> errand::task<> {
      ran = true;
      co_return;
    };
    auto t = body(counted{});
    EXPECT_EQ(counted::alive(), 1);
    auto moved = std::move(t);
    EXPECT_EQ(counted::alive(), 1);
    moved = body(counted{});
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine, a_lambda_with_captures_lives_as_long_as_its_coroutine) {
  errand::pool other{1};
  flag let_go;
  auto f = errand::async([text = std::string(100, 'x'), c = counted{}, &other, &let_go]() -> errand::task<std::string> {
    auto wait = errand::async(other, [&let_go] { let_go.wait(); });
    co_await wait;
    co_return text;  // the captures of a lambda that was a temporary
  });
  let_go.raise();
  EXPECT_EQ(f.get(), std::string(100, 'x'));
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine, arguments_and_captures_are_destroyed_before_the_future_is_ready) {
  for (int i = 0; i < 100; ++i) {
    auto f = errand::async(
        [c = counted{}](counted argument) -> errand::task<int> {
          auto started = errand::async([] {});
          co_await started;
          co_return c.value + argument.value;
        },
        counted{1});
    f.wait();
    ASSERT_EQ(counted::alive(), 0);
    ASSERT_EQ(f.get(), 1);
  }
}

TEST(coroutine, exceptions_pass_through_every_await) {
  auto const outer = []() -> errand::task<int> {
    try {
      co_await throws();
    } catch (std::runtime_error const&) {
      co_return 1;
    }
    co_return 2;
  };
  EXPECT_EQ(errand::async(outer).get(), 1);
  EXPECT_THROW(errand::async(throws).get(), std::runtime_error);
  EXPECT_THROW(throws().get(), std::runtime_error);
  EXPECT_THROW(errand::async([]() -> errand::task<> { co_await throws(); }).get(), std::runtime_error);
}

TEST(coroutine, a_function_that_throws_before_it_has_made_its_coroutine_fails_the_task) {
  auto const refuses = [](int n) -> errand::task<int> {
    if (n < 0) throw std::invalid_argument{"negative"};
    return value(n);
  };
  EXPECT_THROW(static_cast<void>(errand::async(refuses, -1).get()), std::invalid_argument);
  EXPECT_EQ(errand::async(refuses, 1).get(), 1);
}

TEST(coroutine, awaits_futures_kept_and_temporary_done_and_running) {
  auto const body = []() -> errand::task<int> {
    auto kept = errand::async([] { return 1; });
    int const a = co_await kept;
    int const b = co_await errand::async([] { return 2; });
    auto done = errand::async([] { return 3; });
    done.wait();
    int const c = co_await done;
    int const d = co_await errand::async(value, 4);
    auto slow = errand::async([] {
      errand::this_task::sleep_for(1ms);
      return 5;
    });
    int const e = co_await std::move(slow);
    co_return a + b + c + d + e;
  };
  EXPECT_EQ(errand::async(body).get(), 15);
  EXPECT_EQ(errand::async(errand::inplace, body).get(), 15);
  EXPECT_EQ(errand::async([&] { return errand::async(errand::inplace, body).get(); }).get(), 15);
}

TEST(coroutine, awaiting_an_empty_future_throws) {
  auto const body = []() -> errand::task<int> {
    errand::future<int> empty;
    co_return co_await empty;
  };
  EXPECT_THROW(static_cast<void>(errand::async(body).get()), std::logic_error);
}

TEST(coroutine, move_only_values_and_references_pass_through) {
  auto const owner = []() -> errand::task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); };
  auto const body = [&]() -> errand::task<int> {
    auto const p = co_await owner();
    co_return *p;
  };
  EXPECT_EQ(errand::async(body).get(), 5);
  static int global = 6;
  auto const refers = []() -> errand::task<int&> { co_return global; };
  EXPECT_EQ(&errand::async(refers).get(), &global);
}

TEST(coroutine, a_stop_reaches_a_coroutine_and_what_it_awaits) {
  auto f = errand::async([]() -> errand::task<> { co_await sleeps(); });
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  auto late = errand::async({.timeout = 1us}, sleeps);
  EXPECT_THROW(late.get(), errand::timed_out);
}

TEST(coroutine, takes_a_stop_token_first_if_it_needs_one) {
  EXPECT_TRUE(errand::async([](std::stop_token t) -> errand::task<bool> { co_return t.stop_possible(); }).get());
  auto f =
      errand::async([](std::stop_token t, int n) -> errand::task<int> { co_return t.stop_requested() ? -1 : n; }, 3);
  EXPECT_EQ(f.get(), 3);
}

TEST(coroutine, stays_in_its_pool_across_awaits) {
  errand::pool own{1};
  int const worker = errand::async(own, thread_number).get();
  auto const body = [&]() -> errand::task<bool> {
    bool same = thread_number() == worker;
    for (int i = 0; i < 100; ++i) {
      co_await errand::async([] { errand::this_task::yield(); });
      same = same && thread_number() == worker;
    }
    co_return same;
  };
  EXPECT_TRUE(errand::async(own, body).get());
}

TEST(coroutine, knows_its_name_across_awaits) {
  auto const body = []() -> errand::task<std::string> {
    auto started = errand::async([] { errand::this_task::sleep_for(1ms); });
    co_await started;
    co_return std::string{errand::this_task::name()};
  };
  EXPECT_EQ(errand::async({.name = "report"}, body).get(), "report");
}

TEST(coroutine, may_block_like_any_task) {
  auto const body = []() -> errand::task<int> {
    errand::this_task::sleep_for(1ms);
    int const n = errand::async([] { return 1; }).get();
    errand::this_task::yield();
    co_return n + co_await value(1);
  };
  errand::pool one{1};
  EXPECT_EQ(errand::async(one, body).get(), 2);
}

TEST(coroutine, a_long_loop_of_awaits_needs_no_more_stack) {
  auto const body = []() -> errand::task<int> {
    int n = 0;
    for (int i = 0; i < 100'000; ++i) n += co_await value(1);
    co_return n;
  };
  EXPECT_EQ(errand::async(body).get(), 100'000);
}

TEST(coroutine, many_suspended_at_once_all_go_on) {
  errand::pool other{1};
  flag let_go;
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 1000; ++i)
    all.push_back(errand::async([&, i]() -> errand::task<int> {
      auto wait = errand::async(other, [&] { let_go.wait(); });
      co_await wait;
      co_return i;
    }));
  let_go.raise();
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

}  // namespace
