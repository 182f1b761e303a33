// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of behaviour 1 to 5 and 16: who waits, on which stack, and what goes on meanwhile.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;
using errand_test::thread_number;
using errand_test::wait_until_asleep;

// Where on which stack the caller runs. Stacks of tasks are 256 KiB, so what is nearer than that is the same stack's.
[[gnu::noinline]] std::uintptr_t place_on_stack() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}
bool on_one_stack(std::uintptr_t a, std::uintptr_t b) { return (a > b ? a - b : b - a) < 96 * 1024; }

// ThreadSanitizer counts each parked stack as a thread, and has room for 8128.
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(UNDER_TSAN)
constexpr int ten_thousand = 5'000;
#else
constexpr int ten_thousand = 10'000;
#endif

// ---- rule 1 ----------------------------------------------------------------------------------------------------------

TEST(waiting, rule_01_a_task_that_waits_parks_and_its_worker_goes_on) {
  errand::pool one{1};
  errand::pool other{1};
  flag let_go;
  auto waits = errand::async(one, [&] {
    auto f = errand::async(other, [&] { let_go.wait(); });
    f.get();
  });
  // If the only worker were blocked, nobody would raise the flag.
  auto raises = errand::async(one, [&] { let_go.raise(); });
  waits.get();
  raises.get();
}

TEST(waiting, rule_01_a_task_that_sleeps_parks_and_its_worker_goes_on) {
  errand::pool one{1};
  flag begun;
  auto sleeps = errand::async(one, [&] {
    begun.raise();
    errand::this_task::sleep_for(24h);
  });
  begun.wait();
  EXPECT_EQ(errand::async(one, [] { return 1; }).get(), 1);
  EXPECT_FALSE(sleeps.ready());
}

TEST(waiting, rule_01_a_timed_wait_parks_and_its_worker_goes_on) {
  errand::pool one{1};
  errand::pool other{1};
  flag let_go;
  auto waits = errand::async(one, [&] {
    auto f = errand::async(other, [&] { let_go.wait(); });
    return f.wait_for(24h);
  });
  auto raises = errand::async(one, [&] { let_go.raise(); });
  EXPECT_EQ(waits.get(), errand::future_status::ready);
  raises.get();
}

TEST(waiting, rule_01_a_coroutine_suspends_and_its_worker_goes_on_on_the_same_stack) {
  errand::pool one{1};
  errand::pool other{1};
  flag let_go;
  auto const suspends = [&]() -> errand::task<int> {
    auto f = errand::async(other, [&] {
      let_go.wait();
      return 1;
    });
    co_return co_await f;
  };
  auto const before = errand::async(one, place_on_stack).get();
  std::vector<errand::future<int>> suspended;
  for (int i = 0; i < 100; ++i) suspended.push_back(errand::async(one, suspends));
  auto const after = errand::async(one, [&] {
                       for (auto& f : suspended) EXPECT_FALSE(f.ready());
                       return place_on_stack();
                     }).get();
  EXPECT_TRUE(on_one_stack(before, after));
  let_go.raise();
  for (auto& f : suspended) EXPECT_EQ(f.get(), 1);
}

TEST(waiting, rule_01_a_foreign_thread_that_waits_sleeps) {
  flag let_go;
  errand::pool one{1};
  auto f = errand::async(one, [&] { let_go.wait(); });
  std::atomic<int> number{0};
  std::jthread waits([&] {
    number = thread_number();
    number.notify_all();
    f.get();
  });
  number.wait(0);
  wait_until_asleep(number);  // for ever, if it spun
  let_go.raise();
}

TEST(waiting, rule_01_ten_thousand_tasks_that_wait_for_one_another_nested_end_on_one_worker) {
  errand::pool one{1};
  struct nest {
    errand::pool& home;
    int operator()(int depth) const { return depth == 0 ? 0 : errand::async(home, *this, depth - 1).get() + 1; }
  };
  EXPECT_EQ(errand::async(one, nest{one}, ten_thousand).get(), ten_thousand);
}

TEST(waiting, rule_01_ten_thousand_tasks_that_wait_for_one_another_in_a_chain_end_on_one_worker) {
  errand::pool one{1};
  errand::pool other{1};
  flag let_go;
  auto last = errand::async(other, [&] {
    let_go.wait();
    return 0;
  });
  for (int i = 0; i < ten_thousand; ++i)
    last = errand::async(one, [before = std::move(last)]() mutable { return before.get() + 1; });
  errand::async(one, [&] { let_go.raise(); }).get();  // begins when all have parked
  EXPECT_EQ(last.get(), ten_thousand);
}

TEST(waiting, rule_01_ten_thousand_coroutines_that_wait_for_one_another_end_on_one_worker) {
  errand::pool one{1};
  struct nest {
    errand::pool& home;
    errand::task<int> operator()(int depth) const {
      if (depth == 0) co_return 0;
      auto below = errand::async(home, *this, depth - 1);
      co_return co_await below + 1;
    }
  };
  EXPECT_EQ(errand::async(one, nest{one}, ten_thousand).get(), ten_thousand);
}

TEST(waiting, rule_01_several_threads_may_each_wait_for_their_own_task_of_one_pool) {
  errand::pool one{1};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(errand::async(one, [=] { return t + i; }).get(), t + i);
    });
}

// ---- rule 2 ----------------------------------------------------------------------------------------------------------

TEST(waiting, rule_02_a_waiting_task_has_no_unrelated_work_on_top_of_it) {
  errand::pool one{1};
  errand::pool other{1};
  flag let_go;
  auto waits = errand::async(one, [&] {
    auto f = errand::async(other, [&] { let_go.wait(); });
    f.get();
  });
  // Ends only after the one that waits has ended: a cycle, if it ran on top of that one's stack.
  auto unrelated = errand::async(one, [&] {
    let_go.raise();
    waits.wait();
  });
  unrelated.get();
}

TEST(waiting, rule_02_a_foreign_thread_that_waits_runs_no_task) {
  int const self = thread_number();
  std::vector<errand::future<int>> others;
  for (int i = 0; i < 100; ++i) others.push_back(errand::async(thread_number));
  for (auto& f : others) EXPECT_NE(f.get(), self);
}

TEST(waiting, rule_02_idle_workers_sleep) {
  errand::pool two{2};
  std::vector<int> workers;
  for (int i = 0; i < 20; ++i) workers.push_back(errand::async(two, thread_number).get());
  for (int const worker : workers) wait_until_asleep(worker);  // for ever, if they spun
}

// ---- rule 3 ----------------------------------------------------------------------------------------------------------

TEST(waiting, rule_03_get_on_a_worker_runs_the_task_in_place_if_nobody_has_begun_it) {
  errand::pool one{1};
  errand::async(one, [&] {
    std::string order;
    auto a = errand::async(one, [&] {
      order += 'a';
      return place_on_stack();
    });
    auto b = errand::async(one, [&] { order += 'b'; });
    auto c = errand::async(one, [&] { order += 'c'; });
    EXPECT_TRUE(on_one_stack(a.get(), place_on_stack()));
    EXPECT_EQ(order, "a");
    b.wait();
    EXPECT_EQ(order, "ab");
    c.get();
    EXPECT_EQ(order, "abc");
  }).get();
}

TEST(waiting, rule_03_so_do_wait_result_and_co_await) {
  // The last one started would be the first to be taken by a worker whose task has parked.
  errand::pool one{1};
  auto const in_order = [&](auto use) {
    std::string order;
    auto a = errand::async(one, [&] { order += 'a'; });
    auto b = errand::async(one, [&] { order += 'b'; });
    use(a);
    EXPECT_EQ(order, "a");
    b.wait();
  };
  errand::async(one, [&] {
    in_order([](errand::future<void>& a) { a.wait(); });
    in_order([](errand::future<void>& a) { static_cast<void>(a.result()); });
  }).get();
  errand::async(one, [&]() -> errand::task<> {
    std::string order;
    auto a = errand::async(one, [&] { order += 'a'; });
    auto b = errand::async(one, [&] { order += 'b'; });
    co_await a;
    EXPECT_EQ(order, "a");
    co_await b;
  }).get();
}

TEST(waiting, rule_03_a_child_that_is_more_than_a_plain_task_is_never_run_in_place) {
  errand::pool one{1};
  errand::async(one, [&] {
    auto const elsewhere = [](std::uintptr_t there) { EXPECT_FALSE(on_one_stack(there, place_on_stack())); };
    elsewhere(errand::async(one, place_on_stack).share().get());
    elsewhere(errand::async(one, [] {}).then(place_on_stack).get());
    elsewhere(errand::async(one, []() -> errand::task<std::uintptr_t> { co_return place_on_stack(); }).get());
    elsewhere(std::get<0>(errand::when_all(errand::async(one, place_on_stack)).get()));
    elsewhere(errand::when_any(errand::async(one, place_on_stack)).get().value);
  }).get();
}

TEST(waiting, rule_03_what_somebody_else_has_started_is_never_run_in_place) {
  errand::pool one{1};
  flag let_go;
  errand::future<std::uintptr_t> other;
  auto holds = errand::async(one, [&] { let_go.wait(); });
  auto waits = errand::async(one, [&] { return on_one_stack(other.get(), place_on_stack()); });
  other = errand::async(one, place_on_stack);  // the worker takes up who waits for it first
  let_go.raise();
  EXPECT_FALSE(waits.get());
}

TEST(waiting, rule_03_in_place_goes_only_as_deep_as_the_stack_allows) {
  // Frames of 8 KiB: ten thousand of them fit on no stack.
  errand::pool one{1};
  struct nest {
    errand::pool& home;
    [[gnu::noinline]] int operator()(int depth) const {
      volatile char frame[8 * 1024];
      frame[0] = 1;
      frame[sizeof frame - 1] = 1;
      return depth == 0 ? 0 : errand::async(home, *this, depth - 1).get() + frame[0];
    }
  };
  EXPECT_EQ(errand::async(one, nest{one}, 2'000).get(), 2'000);
}

TEST(waiting, rule_03_a_timed_wait_never_runs_the_task_in_place) {
  errand::pool one{1};
  errand::async(one, [&] {
    flag let_go;
    auto f = errand::async(one, [&] {
      let_go.wait_yielding();
      return place_on_stack();
    });
    // In place the wait could not end before the task, which waits for what comes after.
    EXPECT_EQ(f.wait_for(1ms), errand::future_status::timeout);
    let_go.raise();
    EXPECT_EQ(f.wait_for(24h), errand::future_status::ready);
    EXPECT_FALSE(on_one_stack(f.get(), place_on_stack()));
  }).get();
}

TEST(waiting, rule_03_a_foreign_thread_never_runs_the_task_in_place) {
  errand::pool one{1};
  flag let_go;
  auto holds = errand::async(one, [&] { let_go.wait(); });
  auto f = errand::async(one, thread_number);
  int const self = thread_number();
  std::jthread releases([&] {
    wait_until_asleep(self);  // it waits; the task has not begun
    let_go.raise();
  });
  EXPECT_NE(f.get(), self);
}

TEST(waiting, rule_03_a_worker_never_runs_another_pools_task_in_place) {
  errand::pool one{1};
  errand::pool other{1};
  int const worker_of_other = errand::async(other, thread_number).get();
  EXPECT_EQ(errand::async(one, [&] { return errand::async(other, thread_number).get(); }).get(), worker_of_other);
}

// ---- rule 4: of what there is, for there are no items of a main queue yet -----------------------------------------------

TEST(waiting, rule_04_a_wait_on_the_main_thread_runs_nothing_there) {
  int const main_thread = ::getpid();
  ASSERT_EQ(thread_number(), main_thread);
  errand::pool one{1};
  auto const runs_elsewhere = [&] { EXPECT_NE(thread_number(), main_thread); };
  for (int i = 0; i < 100; ++i) {
    errand::async(runs_elsewhere).get();
    errand::async(one, runs_elsewhere).wait();
    static_cast<void>(errand::async(runs_elsewhere).then(runs_elsewhere).result());
    errand::async(one, runs_elsewhere).share().get();
    errand::when_all(errand::async(runs_elsewhere), errand::async(one, runs_elsewhere)).get();
    EXPECT_EQ(errand::async(one, runs_elsewhere).wait_for(24h), errand::future_status::ready);
    errand::task_group g{one};
    g.spawn(runs_elsewhere);
    g.wait();
  }
}

// ---- rule 5 ----------------------------------------------------------------------------------------------------------

// A task that holds its own future: `use` gets that future inside the task.
template <class Use>
void inside_its_own_task(Use use) {
  flag handed_over;
  errand::future<void> own;
  own = errand::async({.name = "ouroboros"}, [&] {
    handed_over.wait();
    use(own);
  });
  handed_over.raise();
  while (!own.ready()) std::this_thread::yield();
  own.get();
}

template <class Use>
void expect_deadlock(Use use) {
  inside_its_own_task([&](errand::future<void>& own) {
    try {
      use(own);
      ADD_FAILURE() << "a task waited for itself";
    } catch (errand::deadlock const& e) {
      EXPECT_NE(std::string{e.what()}.find("ouroboros"), std::string::npos) << e.what();
      EXPECT_NE(std::string{e.what()}.find("waiting_rules_test.cpp"), std::string::npos) << e.what();
    }
    EXPECT_TRUE(own.valid());
  });
}

TEST(waiting, rule_05_a_task_that_waits_for_itself_gets_deadlock) {
  expect_deadlock([](auto& own) { own.get(); });
  expect_deadlock([](auto& own) { own.wait(); });
  expect_deadlock([](auto& own) { static_cast<void>(own.result()); });
  expect_deadlock([](auto& own) { static_cast<void>(own.wait_for(1h)); });
}

TEST(waiting, rule_05_a_task_run_in_place_that_waits_for_its_parent_gets_deadlock) {
  errand::pool one{1};
  flag handed_over;
  errand::future<void> parent;
  parent = errand::async(one, [&] {
    handed_over.wait();
    errand::async(one, [&] { EXPECT_THROW(parent.wait(), errand::deadlock); }).get();
    errand::async(errand::inplace, [&] { EXPECT_THROW(parent.wait(), errand::deadlock); }).get();
  });
  handed_over.raise();
  while (!parent.ready()) std::this_thread::yield();
  parent.get();
}

TEST(waiting, rule_05_a_coroutine_that_awaits_itself_gets_deadlock) {
  flag handed_over;
  errand::future<int> own;
  auto const awaits_itself = [&]() -> errand::task<int> {
    handed_over.wait();
    co_return co_await own;
  };
  own = errand::async(awaits_itself);
  handed_over.raise();
  while (!own.ready()) std::this_thread::yield();
  EXPECT_THROW(static_cast<void>(own.get()), errand::deadlock);
}

TEST(waiting_death, rule_05_dropping_the_last_handle_inside_the_task_ends_the_program_with_its_name) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(inside_its_own_task([](errand::future<void>& own) { own = {}; }),
               "errand: task \"ouroboros\" \\(.*waiting_rules_test.cpp:[0-9]+\\) drops the last handle to itself");
}

TEST(waiting_death, rule_05_destroying_a_pool_inside_its_own_task_ends_the_program_with_a_message) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        auto own = std::make_unique<errand::pool>(1U);
        errand::async(*own, [&] { own.reset(); }).get();
      },
      "errand: the pool \"errand\" is destroyed by one of its own tasks.*: task \\(.*waiting_rules_test.cpp:[0-9]+\\)");
}

// ---- rule 16 ---------------------------------------------------------------------------------------------------------

TEST(waiting, rule_16_a_task_is_continued_by_another_worker_if_its_own_is_busy) {
  errand::pool two{2};
  errand::pool other{1};
  bool moved = false;
  for (int attempts = 0; attempts < 1000 && !moved; ++attempts) {
    flag parked, let_go, release;
    int before = 0;
    int after = 0;
    auto moves = errand::async(two, [&] {
      auto f = errand::async(other, [&] { let_go.wait(); });
      before = thread_number();
      parked.raise();
      f.get();
      after = thread_number();
    });
    parked.wait();
    flag holding;
    auto holds = errand::async(two, [&] {
      holding.raise();
      release.wait();
    });
    holding.wait();
    let_go.raise();
    moves.get();  // whichever worker is held, the other one continues the task
    moved = before != after;
    release.raise();
  }
  EXPECT_TRUE(moved) << "no task ever changed its worker";
}

TEST(waiting, rule_16_locals_and_exceptions_in_flight_survive_a_change_of_worker) {
  auto f = errand::async([] {
    std::string const text = "long enough to live on the heap, so that a lost destructor is seen";
    try {
      throw std::runtime_error{text};
    } catch (std::runtime_error const& e) {
      for (int i = 0; i < 50; ++i) {
        errand::async([] { errand::this_task::yield(); }).get();
        errand::this_task::sleep_for(10us);
        EXPECT_EQ(std::current_exception() != nullptr, true);
      }
      return text == e.what();
    }
  });
  EXPECT_TRUE(f.get());
}

}  // namespace
