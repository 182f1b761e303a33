// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Coroutines that await coroutines: results, exceptions and stops through chains of them, very deep and very many; and
// coroutines among strangers, such as awaitables of the user's own that resume them elsewhere.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <array>
#include <coroutine>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;
using errand_test::thread_number;

constexpr int very_deep = 100'000;

enum class bottom { value, error, stop };

errand::task<int> down(int levels, bottom what, counted) {
  if (levels > 0) {
    auto next = down(levels - 1, what, counted{});
    co_return 1 + co_await next;
  }
  if (what == bottom::error) throw std::runtime_error{"at the bottom"};
  if (what == bottom::stop) co_await errand::sleep_for(24h);
  co_return 0;
}

TEST(coroutine_chains, a_result_comes_up_through_a_hundred_thousand_levels) {
  EXPECT_EQ(errand::async(down, very_deep, bottom::value, counted{}).get(), very_deep);
  EXPECT_EQ(errand::async(errand::inplace, down, very_deep, bottom::value, counted{}).get(), very_deep);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, an_exception_comes_up_through_a_hundred_thousand_levels) {
  EXPECT_THROW(static_cast<void>(errand::async(down, very_deep, bottom::error, counted{}).get()), std::runtime_error);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, a_stop_comes_up_through_a_hundred_thousand_levels) {
  auto f = errand::async(down, very_deep, bottom::stop, counted{});
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, a_drop_ends_one_that_is_suspended_however_deep) {
  {
    errand::pool one{1};
    auto f = errand::async(one, down, 1000, bottom::stop, counted{});
    errand::async(one, [] {}).get();  // it is suspended
    EXPECT_FALSE(f.ready());
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, a_level_may_take_an_exception_and_go_on) {
  auto const tries = []() -> errand::task<int> {
    int caught = 0;
    for (int i = 0; i < 100; ++i) {
      auto fails = down(i, bottom::error, counted{});
      try {
        co_await fails;
      } catch (std::runtime_error const&) {
        ++caught;
      }
      co_await errand::resume_on(errand::threads);
    }
    co_return caught;
  };
  EXPECT_EQ(errand::async(tries).get(), 100);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, what_is_done_for_an_exception_is_done_after_its_handler) {
  // The language allows no co_await in a handler. The exception may be kept, and is the same one after a suspension.
  auto const cleans_up = []() -> errand::task<> {
    std::exception_ptr failure;
    try {
      co_await down(3, bottom::error, counted{});
    } catch (...) {
      failure = std::current_exception();
    }
    co_await errand::sleep_for(1us);
    if (failure) std::rethrow_exception(failure);
  };
  EXPECT_THROW(errand::async(cleans_up).get(), std::runtime_error);
}

TEST(coroutine_chains, a_coroutine_may_be_run_while_an_exception_is_handled) {
  auto const inner = []() -> errand::task<int> {
    auto f = errand::async([] {
      errand::this_task::yield();
      return 1;
    });
    co_return co_await f;
  };
  auto const outer = [&]() -> errand::task<int> {
    int n = 0;
    try {
      throw std::runtime_error{"first"};
    } catch (std::runtime_error const& e) {
      n = errand::async(inner).get();  // parks the stack, and the exception with it
      EXPECT_STREQ(e.what(), "first");
    }
    co_return n;
  };
  EXPECT_EQ(errand::async(outer).get(), 1);
}

// ---- stops -----------------------------------------------------------------------------------------------------------

TEST(coroutine_chains, a_coroutine_that_stops_itself_is_stopped_at_its_next_wait) {
  auto self = std::make_shared<errand::future<void>>();
  flag known;
  bool went_on = false;
  *self = errand::async([&, self]() -> errand::task<> {
    known.wait();
    self->request_stop();
    co_await errand::sleep_for(24h);
    went_on = true;
  });
  known.raise();
  EXPECT_TRUE(self->result().stopped());
  EXPECT_FALSE(went_on);
}

TEST(coroutine_chains, a_suspended_coroutine_is_stopped_by_what_it_awaits) {
  auto self = std::make_shared<errand::future<void>>();
  flag known;
  *self = errand::async([&, self]() -> errand::task<> {
    known.wait();
    auto child = errand::async([self, c = counted{}]() -> errand::task<> {
      self->request_stop();  // reaches this one too
      co_await errand::sleep_for(24h);
    });
    co_await child;
  });
  known.raise();
  EXPECT_TRUE(self->result().stopped());
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, a_stop_before_its_wait_ends_it_at_once) {
  errand::pool one{1};
  flag begun, stopped;
  auto f = errand::async(one, [&]() -> errand::task<> {
    begun.raise();
    stopped.wait();
    co_await errand::sleep_for(24h);
  });
  begun.wait();
  f.request_stop();
  stopped.raise();
  EXPECT_TRUE(f.result().stopped());
}

TEST(coroutine_chains, a_coroutine_may_catch_its_stop_and_end_with_a_value) {
  auto f = errand::async([]() -> errand::task<int> {
    try {
      co_await errand::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      co_return 1;
    }
    co_return 2;
  });
  f.request_stop();
  auto o = f.result();
  EXPECT_TRUE(o.stopped() || std::move(o).value() == 1);  // stopped unrun, or in its sleep
}

// ---- sleeping --------------------------------------------------------------------------------------------------------

TEST(coroutine_sleep, lasts_as_long_as_it_should_and_no_wait_where_there_is_none) {
  auto const body = []() -> errand::task<bool> {
    auto const begin = std::chrono::steady_clock::now();
    co_await errand::sleep_for(2ms);
    bool long_enough = std::chrono::steady_clock::now() - begin >= 2ms;
    co_await errand::sleep_until(begin);
    co_await errand::sleep_for(-1h);
    co_await errand::sleep_for(std::chrono::nanoseconds::min());
    co_await errand::sleep_until(std::chrono::system_clock::now() + 1ms);
    co_return long_enough;
  };
  EXPECT_TRUE(errand::async(body).get());
  EXPECT_TRUE(errand::async(errand::inplace, body).get());  // the thread sleeps
}

TEST(coroutine_sleep, for_ever_ends_with_a_stop_or_a_deadline) {
  auto const for_ever = []() -> errand::task<> { co_await errand::sleep_for(std::chrono::hours::max()); };
  auto f = errand::async(for_ever);
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_THROW(errand::async({.timeout = 1ms}, for_ever).get(), errand::timed_out);
}

TEST(coroutine_sleep, ten_thousand_at_once_all_wake) {
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(errand::async([](int n) -> errand::task<> { co_await errand::sleep_for(std::chrono::microseconds{n}); }, i));
  for (auto& f : all) f.get();
}

// ---- many ------------------------------------------------------------------------------------------------------------

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int very_many = 10'000;
#else
constexpr int very_many = 50'000;
#endif

errand::task<> waits_for_ever(counted) { co_await errand::sleep_for(std::chrono::hours::max()); }

TEST(coroutine_chains, very_many_suspended_at_once_end_when_they_are_stopped) {
  std::vector<errand::future<void>> all;
  for (int i = 0; i < very_many; ++i) all.push_back(errand::async(waits_for_ever, counted{}));
  for (auto& f : all) f.request_stop();
  for (auto& f : all) EXPECT_TRUE(f.result().stopped());
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, very_many_suspended_at_once_end_when_their_parent_is_stopped_or_drops_them) {
  auto parent = errand::async([]() -> errand::task<> {
    std::vector<errand::future<void>> all;
    for (int i = 0; i < very_many / 10; ++i) all.push_back(errand::async(waits_for_ever, counted{}));
    co_await errand::sleep_for(std::chrono::hours::max());
  });
  parent.request_stop();
  EXPECT_TRUE(parent.result().stopped());
  EXPECT_EQ(counted::alive(), 0);
}

// ---- results ---------------------------------------------------------------------------------------------------------

struct throws_when_moved {
  int value = 0;
  throws_when_moved() = default;
  throws_when_moved(throws_when_moved&& other) : value{other.value} {
    if (other.value != 0) throw std::domain_error{"not this one"};
  }
};

TEST(coroutine_chains, a_result_that_throws_when_it_is_moved_is_an_error_of_the_task) {
  // Moved once into the promise, once more to whoever awaits, or into the task's record.
  auto const makes = [](int value) -> errand::task<throws_when_moved> {
    throws_when_moved made;
    made.value = value;
    co_return made;
  };
  auto const awaits = [&](int value) -> errand::task<int> {
    auto child = makes(value);
    auto const got = co_await child;
    co_return got.value;
  };
  EXPECT_EQ(errand::async(makes, 0).get().value, 0);
  EXPECT_THROW(static_cast<void>(errand::async(makes, 1).get()), std::domain_error);
  EXPECT_EQ(errand::async(awaits, 0).get(), 0);
  EXPECT_THROW(static_cast<void>(errand::async(awaits, 1).get()), std::domain_error);
}

struct alignas(64) wide {
  std::array<char, 64> bytes{};
};

TEST(coroutine_chains, results_of_every_kind_come_through) {
  static int global = 1;
  auto const owner = []() -> errand::task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); };
  auto const refers = []() -> errand::task<int&> { co_return global; };
  auto const nothing = []() -> errand::task<> { co_return; };
  auto const aligned = []() -> errand::task<wide> {
    co_await errand::sleep_for(1us);
    co_return wide{};
  };
  auto const all = [&]() -> errand::task<int> {
    auto o = owner();
    auto r = refers();
    auto const p = co_await o;
    int& g = co_await r;
    EXPECT_EQ(&g, &global);
    co_await nothing();
    auto started = errand::async(owner);
    auto const q = co_await started;
    auto started_reference = errand::async(refers);
    EXPECT_EQ(&co_await started_reference, &global);
    co_return *p + *q;
  };
  EXPECT_EQ(errand::async(all).get(), 4);
  auto const w = errand::async(aligned).get();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&w) % 64, 0U);
}

TEST(coroutine_chains, a_lambda_outlives_its_caller_through_suspensions_and_moves) {
  errand::pool second{1};
  errand::future<std::string> f;
  {
    std::string const text(1000, 'x');
    f = errand::async([text, c = counted{}, &second]() -> errand::task<std::string> {
      co_await errand::sleep_for(1us);
      co_await errand::resume_on(second);
      co_return text;
    });
  }
  EXPECT_EQ(f.get(), std::string(1000, 'x'));
  EXPECT_EQ(counted::alive(), 0);
}

TEST(coroutine_chains, awaits_what_runs_in_other_pools_in_place_and_is_woken_by_foreign_threads) {
  errand::pool other{1};
  flag let_go;
  std::jthread raises([&] { let_go.raise(); });
  auto const body = [&]() -> errand::task<int> {
    auto slow = errand::async(other, [&] {
      let_go.wait();
      return 1;
    });
    auto here = errand::async(errand::inplace, [] { return 2; });
    auto coroutine_here = errand::async(errand::inplace, []() -> errand::task<int> {
      co_await errand::sleep_for(1us);
      co_return 3;
    });
    int const a = co_await slow;
    int const b = co_await here;
    int const c = co_await coroutine_here;
    co_return a + b + c;
  };
  EXPECT_EQ(errand::async(body).get(), 6);
  EXPECT_EQ(errand::async(errand::inplace, body).get(), 6);
}

// ---- strangers -------------------------------------------------------------------------------------------------------

// An awaitable of somebody else's: it resumes whoever awaits it on a thread of its own.
struct on_a_new_thread {
  std::jthread& thread;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    thread = std::jthread{[h] { h.resume(); }};
  }
  void await_resume() const noexcept {}
};

TEST(coroutine_strangers, a_task_resumed_by_a_foreign_thread_may_wait_move_back_and_end_there) {
  for (bool const moves_back : {false, true}) {
    std::jthread thread;
    int const here = thread_number();
    {
      errand::pool own{1};
      auto f = errand::async(own, [&, moves_back]() -> errand::task<int> {
        int const worker = thread_number();
        co_await on_a_new_thread{thread};
        int wrong = thread_number() == worker || thread_number() == here;
        auto child = errand::async(own, [] { return 0; });
        wrong += co_await child;  // the foreign thread waits
        co_await errand::sleep_for(1us);
        if (moves_back) {
          try {
            co_await errand::resume_on(own);
            wrong += thread_number() != worker;
          } catch (std::logic_error const&) {
          }
        }
        co_return wrong;
      });
      EXPECT_EQ(f.get(), 0);
    }  // the pool has counted it
  }
}

// Somebody else's coroutine: runs at once, for itself.
struct stranger {
  struct promise_type {
    stranger get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

stranger awaits_ours(int& sum, bool& threw) {
  auto f = errand::async([] {
    errand::this_task::yield();
    return 1;
  });
  sum += co_await f;
  auto t = down(10, bottom::value, counted{});
  sum += co_await t;
  co_await errand::sleep_for(1us);
  auto in_child = []() -> errand::task<int> {
    auto g = errand::async([] {
      errand::this_task::yield();
      return 1;
    });
    co_return co_await g;
  };
  auto u = in_child();
  sum += co_await u;
  try {
    errand::pool elsewhere{1};
    co_await errand::resume_on(elsewhere);
  } catch (std::logic_error const&) {
    threw = true;
  }
}

TEST(coroutine_strangers, a_coroutine_of_another_type_awaits_ours_as_a_function_would) {
  int sum = 0;
  bool threw = false;
  awaits_ours(sum, threw);  // has ended when it returns: nothing was left behind suspended
  EXPECT_EQ(sum, 12);
  EXPECT_TRUE(threw);
  sum = 0;
  errand::async([&] { awaits_ours(sum, threw); }).get();
  EXPECT_EQ(sum, 12);
  sum = 0;
  errand::async([&]() -> errand::task<> {
    awaits_ours(sum, threw);
    co_return;
  }).get();
  EXPECT_EQ(sum, 12);
}

stranger awaits_ours_again_and_again(int& sum) {
  for (int i = 0; i < very_deep; ++i) {
    auto t = down(0, bottom::value, counted{});
    sum += 1 + co_await t;
  }
}

TEST(coroutine_strangers, a_long_loop_of_awaits_needs_no_more_stack_there_either) {
  int sum = 0;
  awaits_ours_again_and_again(sum);
  EXPECT_EQ(sum, very_deep);
  errand::async([&] { awaits_ours_again_and_again(sum); }).get();
  EXPECT_EQ(sum, 2 * very_deep);
  EXPECT_EQ(counted::alive(), 0);
}

}  // namespace
