// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Coroutines under abuse: thousands of levels that are stopped, dropped and timed out at the deepest one, exceptions that are
// swallowed and replaced on the way up; and coroutines in strangers' hands: resumed on threads and in tasks that errand knows
// nothing of, before the suspension is over, then stopped and dropped there.
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "stress/hostile.hpp"

namespace {

using namespace errand_test;

constexpr int depth = scaled(2000);

/// Tells when it goes, and whether all levels below went before.
struct level_guard {
  int level;
  std::vector<int>* left;
  counted alive{};
  ~level_guard() { left->push_back(level); }
};

errand::task<int> down(int level, flag& at_bottom, std::vector<int>& left) {
  level_guard const here{level, &left};
  if (level == 0) {
    at_bottom.raise();
    co_await errand::sleep_for(1h);
    co_return 0;
  }
  auto below = down(level - 1, at_bottom, left);
  co_return 1 + co_await std::move(below);
}

/// Odd levels turn what comes up from below into an error, even ones turn that into a stop.
errand::task<int> down_replacing(int level, flag& at_bottom) {
  counted const here;
  std::exception_ptr instead;
  try {
    if (level == 0) {
      at_bottom.raise();
      co_await errand::sleep_for(1h);
      co_return 0;
    }
    auto below = down_replacing(level - 1, at_bottom);
    co_return 1 + co_await std::move(below);
  } catch (errand::operation_cancelled const&) {
    instead = std::make_exception_ptr(std::runtime_error{"an error instead of a stop"});
  } catch (std::runtime_error const&) {
    instead = std::make_exception_ptr(errand::operation_cancelled{});
  }
  if (level == 0) throw errand::operation_cancelled{};
  std::rethrow_exception(instead);
}

using hostile_coroutines = hostile;

TEST_F(hostile_coroutines, of_thousands_of_levels_are_left_in_order_if_stopped_or_dropped_at_the_deepest) {
  for (bool const dropped : {false, true}) {
    flag at_bottom;
    std::vector<int> left;
    {
      auto f = errand::async(down, depth, std::ref(at_bottom), std::ref(left));
      at_bottom.wait();
      if (!dropped) {
        f.request_stop();
        EXPECT_TRUE(f.result().stopped());
      }
    }
    EXPECT_EQ(left.size(), std::size_t{depth + 1});
    for (int i = 0; int const level : left) EXPECT_EQ(level, i++);
    EXPECT_EQ(counted::alive(), 0);
  }
}

TEST_F(hostile_coroutines, whose_time_runs_out_at_any_level_say_so) {
  for (int i = 0; i < scaled(200); ++i) {
    flag at_bottom;
    std::vector<int> left;
    auto f = errand::async({.timeout = i * 1us}, down, depth / 10, std::ref(at_bottom), std::ref(left));
    EXPECT_THROW(f.get(), errand::timed_out);
    EXPECT_TRUE(left.empty() || left.back() == depth / 10) << "left in the midst";
  }
}

TEST_F(hostile_coroutines, may_replace_a_stop_by_an_error_and_back_at_every_level) {
  for (int const levels : {depth, depth + 1}) {
    flag at_bottom;
    auto f = errand::async(down_replacing, levels, std::ref(at_bottom));
    at_bottom.wait();
    f.request_stop();
    auto o = f.result();
    EXPECT_EQ(o.stopped(), levels % 2 == 0);
    EXPECT_EQ(o.error() != nullptr, levels % 2 != 0);
    EXPECT_EQ(counted::alive(), 0);
  }
}

/// Swallows its stop, and finds that every further wait is one again, but that a move is none; then gives in.
errand::task<int> stubborn(std::atomic<int>& refusals) {
  std::exception_ptr stop;
  try {
    co_await errand::sleep_for(1h);
  } catch (errand::operation_cancelled const&) {
    stop = std::current_exception();
    ++refusals;
  }
  try {
    co_await errand::sleep_for(1h);
  } catch (errand::operation_cancelled const&) {
    ++refusals;
  }
  auto child = errand::async(sleep_long);
  child.request_stop();
  try {
    co_await child;
  } catch (errand::operation_cancelled const&) {
    ++refusals;
  }
  co_await errand::resume_on(errand::threads);
  std::rethrow_exception(stop);
}

TEST_F(hostile_coroutines, that_swallow_a_stop_meet_it_at_every_further_wait) {
  constexpr int n = scaled(100);
  std::atomic<int> refusals{0};
  std::vector<errand::future<int>> all;
  std::atomic<int> begun{0};
  for (int i = 0; i < n; ++i)
    all.push_back(errand::async([&]() -> errand::task<int> {
      ++begun;
      auto inner = stubborn(refusals);
      co_return co_await std::move(inner);
    }));
  until([&] { return begun == n; });
  for (int i = 0; auto& f : all) {
    if (i++ % 2 == 0) continue;  // dropped below
    f.request_stop();
    EXPECT_TRUE(f.result().stopped());
  }
  all.clear();
  EXPECT_EQ(refusals, 3 * n);
}

/// Awaitables of somebody else: one resumes on a thread of its own, maybe before await_suspend has returned.
class strangers : public hostile {
 protected:
  struct on_thread {
    strangers* self;
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> h) const {
      std::lock_guard const guard{self->mutex_};
      self->threads_.emplace_back([h] { h.resume(); });
    }
    void await_resume() const {}
  };
  /// One resumes in a task that knows nothing of the coroutine.
  struct in_task {
    errand::pool* where;
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> h) const {
      errand::async(*where, [h] { h.resume(); }).detach();
    }
    void await_resume() const {}
  };
  /// One is ready at once, or changes its mind when asked to suspend.
  struct at_once {
    bool ready;
    [[nodiscard]] bool await_ready() const { return ready; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<>) const { return false; }
    void await_resume() const {}
  };
  static errand::task<int> four(bool fails) {
    counted const here;
    co_await errand::sleep_for(1us);
    if (fails) throw std::runtime_error{"no four"};
    co_return 4;
  }

  errand::task<int> ours(bool fails) {
    counted const here;
    co_await at_once{fails};
    co_await on_thread{this};
    auto f = errand::async(two_, [] { return this_task::yield(), 5; });
    int sum = co_await f;
    co_await errand::sleep_for(1us);
    auto last = four(fails);
    sum += co_await std::move(last);
    co_return sum;
  }

  errand::task<int> ours_in_a_task() {
    counted const here;
    co_await in_task{&two_};
    auto f = errand::async(one_, [] { return this_task::yield(), 5; });
    int const five = co_await f;
    co_await errand::sleep_for(1us);
    co_return five;
  }

  /// After the coroutines: these threads may be the last to leave them.
  void join_threads() {
    std::vector<std::thread> all;
    {
      std::lock_guard const guard{mutex_};
      all.swap(threads_);
    }
    for (auto& t : all) t.join();
  }

  errand::pool one_{1}, two_{2};

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

using hostile_strangers = strangers;

TEST_F(hostile_strangers, resume_ours_on_their_threads_and_in_other_tasks) {
  for (int round = 0; round < scaled(20); ++round) {
    std::vector<errand::future<int>> all;
    for (int i = 0; i < 14; ++i)
      all.push_back(errand::async(i % 2 == 0 ? one_ : two_, [this, i] { return ours(i % 7 == 6); }));
    for (int i = 0; i < 10; ++i) all.push_back(errand::async(one_, [this] { return ours_in_a_task(); }));
    for (int i = 0; auto& f : all) {
      if (i < 14 && i % 7 == 6) {
        EXPECT_THROW(f.get(), std::runtime_error);
      } else {
        EXPECT_EQ(f.get(), i < 14 ? 9 : 5);
      }
      ++i;
    }
    join_threads();
  }
}

TEST_F(hostile_strangers, hold_ours_while_they_are_stopped_and_dropped) {
  for (int round = 0; round < scaled(20); ++round) {
    for (int i = 0; i < 10; ++i) {
      auto f = errand::async(one_, [this] { return ours(false); });
      if (i % 2 == 0) f.request_stop();
      if (i % 3 == 0) continue;  // dropped
      auto o = f.result();
      EXPECT_EQ(o.error(), nullptr);
      EXPECT_NE(o.has_value(), o.stopped());
    }
    join_threads();
    EXPECT_EQ(counted::alive(), 0);
  }
}

}  // namespace
