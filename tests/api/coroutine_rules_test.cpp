// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of behaviour 1, 15 and 16 for coroutines: they suspend with no stack, go on where they ran until resume_on() moves
// them, and may be continued by another worker of their pool.
#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;
using errand_test::thread_number;
using errand_test::wait_until_asleep;

// Where on which stack the caller runs.
[[gnu::noinline]] std::uintptr_t place_on_stack() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}
bool on_one_stack(std::uintptr_t a, std::uintptr_t b) { return (a > b ? a - b : b - a) < 96 * 1024; }

errand::task<> raised(errand::pool& by, flag const& f) {
  auto wait = errand::async(by, [&f] { f.wait(); });
  co_await wait;
}

// ---- rule 1 ----------------------------------------------------------------------------------------------------------

TEST(waiting, rule_01_coroutines_that_sleep_keep_no_stack) {
  errand::pool one{1};
  auto const before = errand::async(one, place_on_stack).get();
  std::vector<errand::future<void>> sleepers;
  for (int i = 0; i < 1000; ++i)
    sleepers.push_back(errand::async(one, []() -> errand::task<> { co_await errand::sleep_for(24h); }));
  auto const after = errand::async(one, [&] {
                       for (auto& f : sleepers) EXPECT_FALSE(f.ready());
                       return place_on_stack();
                     }).get();
  EXPECT_TRUE(on_one_stack(before, after));
  for (auto& f : sleepers) f.request_stop();
  for (auto& f : sleepers) EXPECT_TRUE(f.result().stopped());
}

TEST(waiting, rule_01_children_of_a_coroutine_suspend_with_no_stack_however_deep) {
  errand::pool one{1};
  errand::pool other{1};
  flag let_go;
  struct nested {
    static errand::task<int> down(int levels, errand::pool& other, flag& let_go) {
      if (levels == 0) {
        co_await raised(other, let_go);
        co_return 0;
      }
      co_return 1 + co_await down(levels - 1, other, let_go);
    }
  };
  auto const before = errand::async(one, place_on_stack).get();
  auto deep = errand::async(one, nested::down, 1000, std::ref(other), std::ref(let_go));
  EXPECT_TRUE(on_one_stack(before, errand::async(one, place_on_stack).get()));
  EXPECT_FALSE(deep.ready());
  let_go.raise();
  EXPECT_EQ(deep.get(), 1000);
}

// ---- rule 15 ---------------------------------------------------------------------------------------------------------

TEST(places, rule_15_a_coroutine_resumes_in_the_pool_where_it_ran_whoever_wakes_it) {
  errand::pool own{1};
  errand::pool other{1};
  int const worker = errand::async(own, thread_number).get();
  auto const body = [&]() -> errand::task<bool> {
    bool same = thread_number() == worker;
    auto elsewhere = errand::async(other, [] { errand::this_task::yield(); });
    co_await elsewhere;  // woken by a worker of another pool
    same = same && thread_number() == worker;
    co_await errand::sleep_for(1ms);  // by the thread that keeps the time
    same = same && thread_number() == worker;
    auto here = errand::async(errand::inplace, [] {});
    co_await here;  // by nobody
    co_return same && thread_number() == worker;
  };
  EXPECT_TRUE(errand::async(own, body).get());
  EXPECT_TRUE(errand::async(own, [&] { return errand::async(errand::inplace, body).get(); }).get());
}

TEST(places, rule_15_resume_on_moves_a_coroutine_and_there_it_stays) {
  errand::pool first{1};
  errand::pool second{1};
  int const in_first = errand::async(first, thread_number).get();
  int const in_second = errand::async(second, thread_number).get();
  auto const body = [&]() -> errand::task<int> {
    int wrong = thread_number() != in_first;
    for (int i = 0; i < 100; ++i) {
      co_await errand::resume_on(second);
      wrong += thread_number() != in_second;
      auto f = errand::async(first, [] {});
      co_await f;
      wrong += thread_number() != in_second;
      auto const back = errand::place{first};
      co_await errand::resume_on(back);
      wrong += thread_number() != in_first;
      co_await errand::resume_on(first);  // it is there
      wrong += thread_number() != in_first;
    }
    co_await errand::resume_on(errand::threads);
    wrong += thread_number() == in_first || thread_number() == in_second;
    co_return wrong;
  };
  EXPECT_EQ(errand::async(first, body).get(), 0);
}

TEST(places, rule_15_a_child_that_moves_takes_its_parent_along) {
  errand::pool first{1};
  errand::pool second{1};
  int const in_second = errand::async(second, thread_number).get();
  auto const child = [&]() -> errand::task<> { co_await errand::resume_on(second); };
  auto const parent = [&]() -> errand::task<bool> {
    co_await child();
    co_return thread_number() == in_second;
  };
  EXPECT_TRUE(errand::async(first, parent).get());
}

TEST(places, rule_15_resume_on_moves_a_coroutine_begun_in_place_off_a_foreign_thread) {
  errand::pool own{1};
  int const worker = errand::async(own, thread_number).get();
  int const here = thread_number();
  flag let_go;
  auto f = errand::async(errand::inplace, [&]() -> errand::task<bool> {
    bool right = thread_number() == here;
    co_await errand::resume_on(own);
    let_go.wait();  // were we still on the thread that raises it, for ever
    co_return right && thread_number() == worker;
  });
  EXPECT_FALSE(f.ready());
  let_go.raise();
  EXPECT_TRUE(f.get());
}

TEST(places, rule_15_resume_on_a_place_that_is_no_pool_throws) {
  auto const body = [](errand::place where) -> errand::task<int> {
    co_await errand::resume_on(where);
    co_return 1;
  };
  EXPECT_THROW(static_cast<void>(errand::async(body, errand::place{errand::inplace}).get()), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(errand::async(body, errand::place{errand::blocking}).get()), std::invalid_argument);
  EXPECT_EQ(errand::async(body, errand::place{errand::threads}).get(), 1);
}

TEST(places, rule_15_a_pool_does_not_wait_for_a_coroutine_that_has_left_it) {
  errand::pool other{1};
  errand::pool second{1};
  flag let_go;
  errand::future<int> f;
  {
    errand::pool first{1};
    f = errand::async(first, [&]() -> errand::task<int> {
      co_await errand::resume_on(second);
      co_await raised(other, let_go);
      co_return 1;
    });
  }
  EXPECT_FALSE(f.ready());
  let_go.raise();
  EXPECT_EQ(f.get(), 1);
}

TEST(places, rule_15_a_pool_waits_for_a_coroutine_that_has_come_to_it) {
  errand::pool other{1};
  errand::pool first{1};
  std::optional<errand::pool> second{std::in_place, 1U};
  flag let_go, moved;
  auto f = errand::async(first, [&]() -> errand::task<int> {
    co_await errand::resume_on(*second);
    moved.raise();
    co_await raised(other, let_go);
    co_return 1;
  });
  moved.wait();
  std::atomic<int> number{0};
  std::jthread ends_it([&] {
    number = thread_number();
    number.notify_all();
    second.reset();
    EXPECT_TRUE(f.ready());
  });
  number.wait(0);
  wait_until_asleep(number);
  EXPECT_FALSE(f.ready());
  let_go.raise();
  ends_it.join();
  EXPECT_EQ(f.get(), 1);
}

TEST(places, rule_15_to_move_is_no_point_of_cancellation) {
  errand::pool second{1};
  int const in_second = errand::async(second, thread_number).get();
  flag begun, stopped;
  std::atomic<bool> moved{false};
  auto f = errand::async([&]() -> errand::task<> {
    begun.raise();
    stopped.wait();
    co_await errand::resume_on(second);
    moved = thread_number() == in_second;
    errand::this_task::check_stop();
  });
  begun.wait();
  f.request_stop();
  stopped.raise();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_TRUE(moved);
}

// ---- rule 16 ---------------------------------------------------------------------------------------------------------

TEST(places, rule_16_a_coroutine_may_be_continued_by_another_worker_of_its_pool) {
  errand::pool two{2};
  errand::pool other{1};
  flag let_go;
  std::atomic<int> before{0};
  auto f = errand::async(two, [&]() -> errand::task<int> {
    before = thread_number();
    before.notify_all();
    co_await raised(other, let_go);
    co_return thread_number();
  });
  before.wait(0);
  // Both workers are held, so the coroutine is suspended; then the one that has not run it is let go.
  struct held {
    std::atomic<int> by{0};
    flag end;
  } holds[2];
  std::vector<errand::future<void>> holding;
  for (auto& h : holds)
    holding.push_back(errand::async(two, [&h] {
      h.by = thread_number();
      h.by.notify_all();
      h.end.wait();
    }));
  for (auto& h : holds) h.by.wait(0);
  bool const first_ran_it = holds[0].by == before;
  holds[first_ran_it ? 1 : 0].end.raise();
  let_go.raise();
  int const after = f.get();
  EXPECT_NE(after, before);
  EXPECT_EQ(after, holds[first_ran_it ? 1 : 0].by);
  holds[first_ran_it ? 0 : 1].end.raise();
}

}  // namespace
