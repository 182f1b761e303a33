// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pools of one's own: their options, what a pinned one promises, what the statistics say, and the destructor in every state
// that a task can be in.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <pthread.h>
#include <sched.h>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <set>
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
using errand_test::thread_number;

std::string name_of_thread() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

int processors_of_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
}

// ---- options ---------------------------------------------------------------------------------------------------------

TEST(pool_options, give_the_number_and_the_name_of_the_threads) {
  errand::pool io{{.workers = 1, .name = "io"}};
  EXPECT_EQ(io.size(), 1U);
  EXPECT_EQ(errand::async(io, name_of_thread).get(), "io/0");
  errand::pool unnamed{1};
  EXPECT_EQ(errand::async(unnamed, name_of_thread).get(), "errand/0");
  errand::pool by_default{errand::pool_options{}};
  EXPECT_EQ(by_default.size(), errand::pool{}.size());
}

TEST(pool_options, a_long_name_is_cut_but_keeps_the_number) {
  errand::pool p{{.workers = 1, .name = "a name that is too long"}};
  EXPECT_EQ(errand::async(p, name_of_thread).get(), "a name that i/0");
}

TEST(pool_options, too_many_workers_are_refused_and_the_hook_is_let_go) {
  EXPECT_THROW((errand::pool{{.workers = 4097}, [payload = counted{}](unsigned) {}}), std::invalid_argument);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(pool_options, the_hook_is_called_once_on_each_thread_before_its_first_task) {
  thread_local unsigned mine = 99;
  std::mutex guard;
  std::multiset<unsigned> seen;
  std::multiset<int> threads;
  {
    errand::pool three{{.workers = 3}, [&, payload = counted{}](unsigned number) {
                         mine = number;
                         std::lock_guard const held{guard};
                         seen.insert(number);
                         threads.insert(thread_number());
                       }};
    for (int i = 0; i < 100; ++i) EXPECT_LT(errand::async(three, [] { return mine; }).get(), 3U);
  }
  EXPECT_EQ(seen, (std::multiset<unsigned>{0, 1, 2}));
  EXPECT_EQ(std::set<int>(threads.begin(), threads.end()).size(), 3U);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(pool_options, the_hook_may_take_no_argument_and_may_use_errand) {
  std::atomic<int> calls{0};
  { errand::pool two{{.workers = 2}, [&] { calls += errand::async([] { return 1; }).get(); }}; }
  EXPECT_EQ(calls, 2);
}

// ---- pinned ----------------------------------------------------------------------------------------------------------

TEST(pinned_pool, binds_each_thread_to_one_processor_and_hands_that_on_to_none) {
  int const all = processors_of_thread();
  errand::pool pinned{{.workers = 2, .pinned = true}};
  errand::async(pinned, [&] {
    EXPECT_EQ(processors_of_thread(), 1);
    errand::pool inner{1};
    EXPECT_EQ(errand::async(inner, processors_of_thread).get(), all);
    std::vector<errand::future<int>> others;  // new threads, started from here
    for (int i = 0; i < 4; ++i) others.push_back(errand::async(errand::blocking, processors_of_thread));
    for (auto& f : others) EXPECT_EQ(f.get(), all);
  }).get();
}

// Waits in every way there is, among others that do the same, and looks after each wait whether it is still at home.
void wait_in_every_way(errand::pool& p, errand::pool& other) {
  int const home = thread_number();
  std::mutex held_across_waits;
  std::lock_guard const held{held_across_waits};
  for (int round = 0; round < 20; ++round) {
    errand::this_task::yield();
    ASSERT_EQ(thread_number(), home);
    errand::this_task::sleep_for(1us);
    ASSERT_EQ(thread_number(), home);
    errand::async(other, [] {}).get();
    ASSERT_EQ(thread_number(), home);
    auto child = errand::async(p, [] { errand::this_task::yield(); });
    static_cast<void>(child.wait_for(1us));
    child.get();
    ASSERT_EQ(thread_number(), home);
    errand::task_group g{p};
    for (int i = 0; i < 3; ++i) g.spawn([] { errand::this_task::yield(); });
    g.wait();
    ASSERT_EQ(thread_number(), home);
  }
}

TEST(pinned_pool, rule_16_a_task_once_begun_is_continued_by_the_worker_that_began_it) {
  for (unsigned const workers : {1U, 2U, 4U}) {
    errand::pool pinned{{.workers = workers, .pinned = true}};
    errand::pool other{1};
    errand::task_group g{pinned};
    for (int i = 0; i < 24; ++i) g.spawn([&] { wait_in_every_way(pinned, other); });
    g.wait();
  }
}

TEST(pinned_pool, rule_16_a_coroutine_once_begun_is_resumed_by_the_worker_that_began_it) {
  errand::pool pinned{{.workers = 3, .pinned = true}};
  errand::pool other{1};
  auto const stays = [&]() -> errand::task<int> {
    int const home = thread_number();
    int moves = 0;
    for (int round = 0; round < 30; ++round) {
      co_await errand::async(other, [] {});
      moves += thread_number() == home ? 0 : 1;
      co_await errand::async(pinned, [] { errand::this_task::yield(); });
      moves += thread_number() == home ? 0 : 1;
    }
    co_return moves;
  };
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 24; ++i) all.push_back(errand::async(pinned, stays));
  for (auto& f : all) EXPECT_EQ(f.get(), 0);
}

TEST(pinned_pool, rule_16_a_coroutine_that_has_come_from_elsewhere_stays_with_the_worker_that_took_it) {
  errand::pool pinned{{.workers = 3, .pinned = true}};
  errand::pool other{1};
  auto const moves = [&]() -> errand::task<int> {
    int away = 0;
    for (int round = 0; round < 10; ++round) {
      co_await errand::resume_on(pinned);
      int const home = thread_number();
      for (int i = 0; i < 3; ++i) {
        co_await errand::async(other, [] {});
        away += thread_number() == home ? 0 : 1;
      }
      co_await errand::resume_on(other);
    }
    co_return away;
  };
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 12; ++i) all.push_back(errand::async(other, moves));
  for (auto& f : all) EXPECT_EQ(f.get(), 0);
}

TEST(pinned_pool, tasks_that_yield_to_each_other_let_in_what_comes_from_outside) {
  errand::pool pinned{{.workers = 1, .pinned = true}};
  std::atomic<bool> came{false};
  std::atomic<int> yielding{0};
  errand::task_group g{pinned};
  for (int i = 0; i < 2; ++i)
    g.spawn([&] {
      ++yielding;
      while (!came) errand::this_task::yield();
    });
  while (yielding != 2) std::this_thread::yield();
  errand::async(pinned, [&] { came = true; }).get();
  g.wait();
}

void wait_until_idle(errand::pool const& p) {
  while (p.statistics().asleep != p.size()) std::this_thread::yield();
}

TEST(pinned_pool, wakes_the_one_sleeping_worker_that_may_go_on) {
  errand::pool pinned{{.workers = 4, .pinned = true}};
  errand::pool gate{1};
  for (int round = 0; round < 100; ++round) {
    flag let_go;
    auto gated = errand::async(gate, [&] { let_go.wait(); });
    auto waits = errand::async(pinned, [&] { gated.get(); });
    wait_until_idle(pinned);  // the task has parked, and everybody sleeps
    let_go.raise();
    waits.get();
  }
}

// ---- statistics ------------------------------------------------------------------------------------------------------

TEST(pool_statistics, are_exact_when_the_pool_is_idle) {
  errand::pool p{2};
  wait_until_idle(p);
  auto s = p.statistics();
  EXPECT_EQ(s.workers, 2U);
  EXPECT_EQ(s.started, 0U);
  EXPECT_EQ(s.ended, 0U);
  EXPECT_EQ(s.stolen, 0U);
  errand::task_group g{p};
  for (int i = 0; i < 50; ++i)
    g.spawn([&] {
      errand::async(p, [] {}).get();                                 // in place
      errand::async(p, []() -> errand::task<> { co_return; }).get();  // a coroutine
    });
  g.wait();
  wait_until_idle(p);
  s = p.statistics();
  EXPECT_EQ(s.started, 150U);
  EXPECT_EQ(s.ended, 150U);
}

TEST(pool_statistics, count_a_task_that_waits_as_started_and_not_as_ended) {
  errand::pool p{1};
  errand::pool gate{1};
  flag let_go;
  auto gated = errand::async(gate, [&] { let_go.wait(); });
  auto waits = errand::async(p, [&] { gated.get(); });
  wait_until_idle(p);
  EXPECT_EQ(p.statistics().started, 1U);
  EXPECT_EQ(p.statistics().ended, 0U);
  let_go.raise();
  waits.get();
}

TEST(pool_statistics, count_what_workers_take_from_one_another) {
  errand::pool two{2};
  errand::async(two, [&] {
    flag taken;
    auto f = errand::async(two, [&] { taken.raise(); });
    taken.wait();  // keeps this worker: the other one must come for it
    f.get();
  }).get();
  wait_until_idle(two);
  EXPECT_GE(two.statistics().stolen, 1U);
}

// ---- the destructor --------------------------------------------------------------------------------------------------

class pool_end : public testing::TestWithParam<errand::pool_options> {
 protected:
  ~pool_end() override { EXPECT_EQ(counted::alive(), 0); }

  // Another thread destroys the pool; when it waits for the tasks, `release` lets them go on.
  template <class Release>
  void destroy_and(Release release) {
    flag about_to, done;
    int thread = 0;
    std::jthread destroys([&] {
      thread = thread_number();
      about_to.raise();
      p.reset();
      done.raise();
    });
    about_to.wait();
    errand_test::wait_until_asleep(thread);
    EXPECT_FALSE(done.is_raised());
    release();
    destroys.join();
  }

  std::optional<errand::pool> p{GetParam()};
  flag let_go;
};

TEST_P(pool_end, runs_what_has_not_begun) {
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(errand::async(*p, [this, i, payload = counted{}] {
      let_go.wait();
      return i;
    }));
  destroy_and([&] { let_go.raise(); });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

TEST_P(pool_end, waits_for_tasks_that_are_parked) {
  errand::pool gate{1};
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(errand::async(*p, [i, payload = counted{}, gated = errand::async(gate, [&] { let_go.wait(); })]() mutable {
      gated.get();
      errand::this_task::yield();
      return i;
    }));
  wait_until_idle(*p);
  destroy_and([&] { let_go.raise(); });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

TEST_P(pool_end, waits_for_coroutines_that_are_suspended) {
  errand::pool gate{1};
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(errand::async(
        *p,
        [](int n, errand::future<void> gated, counted) -> errand::task<int> {
          co_await gated;
          co_return n;
        },
        i, errand::async(gate, [&] { let_go.wait(); }), counted{}));
  wait_until_idle(*p);
  destroy_and([&] { let_go.raise(); });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

TEST_P(pool_end, waits_for_tasks_that_sleep) {
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(errand::async(*p, [i] { errand::this_task::sleep_for(std::chrono::milliseconds{i}); }));
  p.reset();
  for (auto& f : all) EXPECT_TRUE(f.ready());
}

TEST_P(pool_end, waits_for_tasks_that_yield_all_the_time) {
  std::atomic<bool> go{false};
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 5; ++i)
    all.push_back(errand::async(*p, [&] {
      while (!go) errand::this_task::yield();
    }));
  destroy_and([&] { go = true; });
  for (auto& f : all) EXPECT_TRUE(f.ready());
}

TEST_P(pool_end, waits_for_tasks_that_wait_for_another_pool_which_waits_for_them) {
  errand::pool other{1};
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(errand::async(*p, [&, i, &pool = *p] {
      return errand::async(other, [&, i] {
               return errand::async(pool, [&, i] {
                        let_go.wait();
                        return i;
                      }).get();
             }).get();
    }));
  destroy_and([&] { let_go.raise(); });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

TEST_P(pool_end, lets_its_tasks_start_others_there_to_the_last) {
  std::atomic<int> ran{0};
  auto const more = [&ran, &pool = *p](auto const& self, int depth) -> void {
    ++ran;
    if (depth == 0) return;
    for (int i = 0; i < 2; ++i) errand::async(pool, [&self, depth] { self(self, depth - 1); }).detach();
  };
  errand::async(*p, [&] {
    let_go.wait();
    more(more, 7);
  }).detach();
  destroy_and([&] { let_go.raise(); });
  EXPECT_EQ(ran, 255);
}

TEST_P(pool_end, goes_with_foreign_threads_that_wait_for_its_tasks) {
  std::vector<std::jthread> foreign;
  std::atomic<int> got{0};
  for (int i = 0; i < 8; ++i)
    foreign.emplace_back([&, f = errand::async(*p, [&] {
                               let_go.wait();
                               return 1;
                             })]() mutable { got += f.get(); });
  destroy_and([&] { let_go.raise(); });
  foreign.clear();
  EXPECT_EQ(got, 8);
}

TEST_P(pool_end, waits_for_detached_stopped_and_dropped_ones) {
  errand::pool gate{1};
  std::atomic<int> detached{0};
  auto holds = errand::async(*p, [&] { let_go.wait(); });
  for (int i = 0; i < 10; ++i) {
    errand::async(*p, [&, payload = counted{}] { ++detached; }).detach();
    auto stopped = errand::async(*p, [payload = counted{}] { errand::this_task::sleep_for(24h); });
    stopped.request_stop();
    stopped.wait();
    auto late = errand::async({.on = *p, .timeout = 1us}, [payload = counted{}] { errand::this_task::sleep_for(24h); });
    late.detach();
  }
  auto silent = errand::set_unobserved_error_handler([](errand::unobserved_error const&) {});
  destroy_and([&] { let_go.raise(); });
  errand::set_unobserved_error_handler(silent);
  EXPECT_EQ(detached, 10);
  holds.get();
}

TEST_P(pool_end, waits_for_members_of_a_group_and_for_those_who_wait_for_blocking_ones) {
  std::atomic<int> ended{0};
  errand::task_group g{*p};
  for (int i = 0; i < 10; ++i)
    g.spawn([&, payload = counted{}] {
      errand::async(errand::blocking, [&] { let_go.wait(); }).get();
      ++ended;
    });
  wait_until_idle(*p);
  destroy_and([&] { let_go.raise(); });
  EXPECT_EQ(ended, 10);
  g.wait();
}

TEST_P(pool_end, comes_at_once_if_nothing_was_ever_started_or_all_has_ended) {
  errand::pool{GetParam()};
  errand::async(*p, [] {}).get();
  p.reset();
}

TEST_P(pool_end, while_threads_race_to_have_the_last_word) {
  for (int round = 0; round < 50; ++round) {
    std::optional<errand::pool> own{GetParam()};
    std::atomic<int> ran{0};
    std::vector<errand::future<void>> all;
    for (int i = 0; i < 6; ++i)
      all.push_back(errand::async(*own, [&] {
        errand::async([] {}).get();  // woken by a foreign pool
        ++ran;
      }));
    own.reset();
    EXPECT_EQ(ran, 6);
  }
}

INSTANTIATE_TEST_SUITE_P(kinds, pool_end,
                         testing::Values(errand::pool_options{.workers = 1}, errand::pool_options{.workers = 3},
                                         errand::pool_options{.workers = 1, .pinned = true},
                                         errand::pool_options{.workers = 3, .pinned = true}),
                         [](auto const& kind) {
                           return std::to_string(kind.param.workers) + (kind.param.pinned ? "_pinned" : "");
                         });

}  // namespace
