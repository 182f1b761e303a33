// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The place `blocking`: a thread for each task, on which everything that a task may ask of itself works, and waits block.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;
using errand_test::thread_number;

// Waits until so many have come; blocks.
class meeting {
 public:
  explicit meeting(unsigned expected) : missing_{expected} {}
  void join() {
    if (--missing_ == 0) missing_.notify_all();
    for (auto n = missing_.load(); n != 0; n = missing_.load()) missing_.wait(n);
  }

 private:
  std::atomic<unsigned> missing_;
};

TEST(blocking, runs_on_a_thread_that_is_neither_the_callers_nor_a_pools) {
  int const here = thread_number();
  int const there = errand::async(errand::blocking, thread_number).get();
  EXPECT_NE(here, there);
  EXPECT_NE(errand::async(thread_number).get(), there);
}

TEST(blocking, is_a_place_like_any_other_also_chosen_at_run_time_and_in_the_options) {
  EXPECT_EQ(errand::async(errand::blocking, [](int a, int b) { return a + b; }, 1, 2).get(), 3);
  errand::place const where = errand::blocking;
  EXPECT_NE(errand::async(where, thread_number).get(), thread_number());
  EXPECT_EQ(errand::async({.on = errand::blocking, .name = "blocks"},
                          [] { return std::string{errand::this_task::name()}; })
                .get(),
            "blocks");
}

TEST(blocking, as_many_tasks_as_the_limit_may_wait_for_one_another) {
  constexpr unsigned limit = 256;
  meeting all{limit};
  errand::task_group g{errand::blocking};
  for (unsigned i = 0; i < limit; ++i) g.spawn([&] { all.join(); });
  g.wait();
}

TEST(blocking, tasks_beyond_the_limit_run_as_others_end) {
  std::atomic<unsigned> running{0};
  std::atomic<unsigned> highest{0};
  errand::task_group g{errand::blocking};
  for (unsigned i = 0; i < 300; ++i)
    g.spawn([&] {
      auto const now = ++running;
      for (auto seen = highest.load(); seen < now && !highest.compare_exchange_weak(seen, now);) {
      }
      std::this_thread::yield();
      --running;
    });
  g.wait();
  EXPECT_LE(highest, 256U);
}

TEST(blocking, knows_its_task_its_token_and_its_deadline) {
  flag begun;
  auto f = errand::async({.on = errand::blocking, .name = "one"}, [&](std::stop_token token) {
    EXPECT_EQ(errand::this_task::name(), "one");
    begun.raise();
    while (!token.stop_requested()) std::this_thread::yield();
    EXPECT_TRUE(errand::this_task::stop_token().stop_requested());
    errand::this_task::check_stop();
  });
  begun.wait();
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  auto late = errand::async({.on = errand::blocking, .timeout = 1ms}, [] { errand::this_task::sleep_for(24h); });
  EXPECT_THROW(late.get(), errand::timed_out);
}

TEST(blocking, waits_of_all_kinds_block_its_thread_and_are_points_of_cancellation) {
  errand::async(errand::blocking, [] {
    int const thread = thread_number();
    errand::this_task::sleep_for(1us);
    errand::this_task::yield();
    EXPECT_EQ(errand::async([] { return 1; }).get(), 1);
    EXPECT_EQ(errand::async(errand::blocking, [] { return 2; }).get(), 2);
    std::vector<int> const numbers{1, 2, 3};
    EXPECT_EQ(errand::map(numbers, [](int n) { return 2 * n; }), (std::vector<int>{2, 4, 6}));
    errand::task_group g;
    g.spawn([] {});
    g.wait();
    EXPECT_EQ(thread_number(), thread);
  }).get();

  flag begun;
  auto sleeper = errand::async(errand::blocking, [&] {
    begun.raise();
    errand::this_task::sleep_for(24h);
  });
  begun.wait();
  sleeper.request_stop();
  EXPECT_TRUE(sleeper.result().stopped());
}

TEST(blocking, its_futures_are_waited_for_from_everywhere) {
  auto const work = [] { return errand::async(errand::blocking, [] { return 5; }); };
  EXPECT_EQ(work().get(), 5);
  EXPECT_EQ(errand::async([&] { return work().get(); }).get(), 5);
  EXPECT_EQ(errand::async(errand::blocking, [&] { return work().get(); }).get(), 5);
  auto const coroutine = [&]() -> errand::task<int> { co_return co_await work(); };
  EXPECT_EQ(coroutine().get(), 5);
  EXPECT_EQ(errand::async(errand::blocking, coroutine).get(), 5);
}

TEST(blocking, rule_03_is_never_run_in_place_by_a_worker_that_waits_for_it) {
  errand::async([] {
    int const worker = thread_number();
    for (int i = 0; i < 100; ++i) EXPECT_NE(errand::async(errand::blocking, thread_number).get(), worker);
  }).get();
}

TEST(blocking, rule_03_runs_nothing_in_place_while_it_waits) {
  errand::async(errand::blocking, [] {
    int const self = thread_number();
    for (int i = 0; i < 100; ++i) {
      EXPECT_NE(errand::async(thread_number).get(), self);
      EXPECT_NE(errand::async(errand::blocking, thread_number).get(), self);
    }
  }).get();
}

TEST(blocking, does_not_keep_a_pools_worker) {
  errand::pool one{1};
  flag let_go;
  auto blocks = errand::async(one, [&] { errand::async(errand::blocking, [&] { let_go.wait(); }).get(); });
  errand::async(one, [&] { let_go.raise(); }).get();
  blocks.get();
}

TEST(blocking, a_stop_of_its_parent_reaches_it) {
  flag begun;
  auto parent = errand::async([&] {
    auto child = errand::async(errand::blocking, [&] {
      begun.raise();
      errand::this_task::sleep_for(24h);
    });
    child.get();
  });
  begun.wait();
  parent.request_stop();
  EXPECT_TRUE(parent.result().stopped());
}

TEST(blocking, loops_run_there_and_a_worker_that_calls_one_runs_no_iteration_by_itself) {
  std::vector<int> const numbers{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(errand::map(errand::blocking, numbers, [](int n) { return n * n; }),
            (std::vector<int>{1, 4, 9, 16, 25, 36, 49, 64}));
  for (std::size_t const count : {1U, 3U, 8U})
    errand::async([&] {
      int const worker = thread_number();
      std::atomic<int> ran{0};
      errand::for_each_index(errand::blocking, count, [&](std::size_t) {
        EXPECT_NE(thread_number(), worker);
        ++ran;
      });
      EXPECT_EQ(ran, static_cast<int>(count));
    }).get();
  EXPECT_THROW(errand::for_each(errand::blocking, numbers,
                                [](int n) {
                                  if (n == 5) throw std::runtime_error{"five"};
                                }),
               std::runtime_error);
}

TEST(blocking, iterations_that_block_are_all_under_way_at_once) {
  meeting all{20};
  errand::for_each_index(errand::blocking, 20, [&](std::size_t) { all.join(); });
}

TEST(blocking, nothing_is_left_of_what_a_task_captured) {
  errand::async(errand::blocking, [payload = counted{}] {}).get();
  auto dropped = errand::async(errand::blocking, [payload = counted{}] { errand::this_task::sleep_for(24h); });
  dropped = {};
  EXPECT_EQ(counted::alive(), 0);
}

// ---- in programs of their own ----------------------------------------------------------------------------------------

class blocking_death : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(blocking_death, rule_19_a_detached_task_is_finished_at_the_programs_end) {
  EXPECT_EXIT(
      {
        static flag begun;
        errand::async(errand::blocking, [] {
          begun.raise();
          std::this_thread::sleep_for(20ms);
          std::fputs("finished\n", stderr);
        }).detach();
        begun.wait();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "finished");
}

TEST_F(blocking_death, rule_19_exit_inside_a_task_does_not_wait_for_that_task) {
  EXPECT_EXIT(
      {
        errand::async(errand::blocking, [] { std::exit(3); }).detach();
        flag{}.wait();
      },
      testing::ExitedWithCode(3), "");
}

TEST_F(blocking_death, the_limit_can_be_set_and_300_tasks_wait_for_one_another) {
  EXPECT_EXIT(
      {
        ::setenv("ERRAND_BLOCKING_THREADS", "300", 1);
        meeting all{300};
        errand::task_group g{errand::blocking};
        for (int i = 0; i < 300; ++i) g.spawn([&] { all.join(); });
        g.wait();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(blocking_death, with_a_limit_of_one_its_tasks_run_one_after_the_other) {
  EXPECT_EXIT(
      {
        ::setenv("ERRAND_BLOCKING_THREADS", "1", 1);
        std::mutex alone;
        bool ok = true;
        errand::task_group g{errand::blocking};
        for (int i = 0; i < 50; ++i)
          g.spawn([&] {
            std::unique_lock const held{alone, std::try_to_lock};
            ok = ok && held.owns_lock();
          });
        g.wait();
        std::exit(ok ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(blocking_death, a_limit_that_makes_no_sense_is_said_and_ignored) {
  EXPECT_EXIT(
      {
        ::setenv("ERRAND_BLOCKING_THREADS", "none", 1);
        errand::async(errand::blocking, [] {}).get();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "ERRAND_BLOCKING_THREADS=none is ignored: it must be a number from 1 to 4096");
}

TEST_F(blocking_death, rule_20_a_forked_child_has_blocking_threads_of_its_own) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  EXPECT_EXIT(
      {
        errand::async(errand::blocking, [] {}).get();  // its thread idles
        pid_t const child = ::fork();
        if (child == 0) ::_exit(errand::async(errand::blocking, [] { return 5; }).get());
        int status = 0;
        ::waitpid(child, &status, 0);
        std::exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
      },
      testing::ExitedWithCode(5), "");
}

}  // namespace
