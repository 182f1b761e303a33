// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// process_pool and the options of async() for worker processes: limits, deadlines, recycling, counters, ends.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errand/process.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/futex.hpp"
#include "base/sanitizers.hpp"
#include "process/test_jobs.hpp"

namespace errand {
namespace {

using namespace std::chrono_literals;

int add(int a, int b) { return a + b; }

// Shared by the tests and the workers: made before main, so before the zygote.
std::array<std::atomic<int>, 64>& counters = *static_cast<std::array<std::atomic<int>, 64>*>(::mmap(
    nullptr, sizeof(std::array<std::atomic<int>, 64>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

void run_for_ever(int counter) {
  counters[static_cast<std::size_t>(counter)].store(1);
  for (volatile bool always = true; always;) {
  }
}
void wait_for_counter(int counter) {
  while (counters[static_cast<std::size_t>(counter)].load() == 0) std::this_thread::yield();
}

// A task that has begun to run in a worker and will not end by itself.
future<void> begun_for_ever(process_place where, int counter) {
  auto endless = async({.on = where}, run_for_ever, counter);
  wait_for_counter(counter);
  return endless;
}

template <class Future>
std::string text_of_timed_out(Future&& f) {
  try {
    f.get();
  } catch (timed_out const& e) {
    return e.what();
  }
  return "no timed_out";
}

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

class process_options_test : public ::testing::Test {
 protected:
  void SetUp() override {
    for (auto& c : counters) c.store(0);
  }
};
using process_pool_test = process_options_test;

// ---- options

TEST_F(process_options_test, a_task_that_ends_in_time_gives_its_value) {
  EXPECT_EQ(async({.on = processes, .timeout = 1h, .name = "sum"}, add, 2, 3).get(), 5);
  process_how how{.on = processes};
  EXPECT_EQ(async(how, add, 2, 3).get(), 5);
  EXPECT_EQ(async({.on = processes, .deadline = std::chrono::steady_clock::now() + 1h}, add, 2, 3).get(), 5);
}

TEST_F(process_options_test, rule_08_a_runaway_is_killed_at_its_deadline_and_get_throws_timed_out) {
  auto before = processes.statistics();
  auto runaway = async({.on = processes, .timeout = 20ms, .name = "spinner"}, run_for_ever, 0);
  EXPECT_TRUE(contains(text_of_timed_out(runaway), "spinner"));
  auto after = processes.statistics();
  EXPECT_EQ(after.lost, before.lost) << "a limit is no death";
  EXPECT_EQ(async(processes, add, 1, 1).get(), 2);
}

TEST_F(process_options_test, a_stopped_process_is_killed_at_its_deadline_all_the_same) {
  auto stopped = async({.on = processes, .timeout = 20ms}, [] { ::raise(SIGSTOP); });
  EXPECT_THROW(stopped.get(), timed_out);
  EXPECT_EQ(async(processes, add, 1, 1).get(), 2);
}

TEST_F(process_options_test, one_that_is_queued_is_taken_out_at_its_deadline_and_never_runs) {
  process_pool one{1};
  auto endless = begun_for_ever(one, 0);
  auto queued = async({.on = one, .timeout = 5ms}, [] { counters[1].store(1); });
  EXPECT_THROW(queued.get(), timed_out);
  endless.request_stop();
  EXPECT_TRUE(endless.result().stopped());
  EXPECT_EQ(async(one, add, 1, 1).get(), 2);
  EXPECT_EQ(counters[1].load(), 0);
}

TEST_F(process_options_test, a_deadline_that_has_passed_needs_no_worker) {
  for (int i = 0; i < 50; ++i) {
    auto late = async({.on = processes, .timeout = 0ns}, [] { counters[0].store(1); });
    EXPECT_THROW(late.get(), timed_out);
    auto later =
        async({.on = processes, .deadline = std::chrono::steady_clock::now() - 1s}, [] { counters[0].store(1); });
    EXPECT_THROW(later.get(), timed_out);
  }
  EXPECT_EQ(counters[0].load(), 0);
}

TEST_F(process_options_test, the_outer_stop_token_kills) {
  std::stop_source source;
  auto endless = async({.on = processes, .stop = source.get_token()}, run_for_ever, 0);
  wait_for_counter(0);
  source.request_stop();
  EXPECT_THROW(endless.get(), operation_cancelled);
  auto stillborn = async({.on = processes, .stop = source.get_token()}, [] { counters[1].store(1); });
  EXPECT_THROW(stillborn.get(), operation_cancelled);
  EXPECT_EQ(counters[1].load(), 0);
}

TEST_F(process_options_test, a_death_names_the_task_by_its_name) {
  try {
    async({.on = processes, .name = "parse"}, [] { ::_exit(3); }).get();
    FAIL() << "nothing was thrown";
  } catch (process_died const& died) {
    EXPECT_TRUE(contains(died.what(), "\"parse\"")) << died.what();
    EXPECT_TRUE(contains(died.what(), "process_pool_test.cpp:")) << died.what();
  }
}

TEST_F(process_options_test, a_name_may_be_long_and_die_before_the_task) {
  auto name = std::make_unique<std::string>(100, 'n');
  auto dying = async({.on = processes, .name = *name}, [] { ::_exit(3); });
  name.reset();
  try {
    dying.get();
    FAIL() << "nothing was thrown";
  } catch (process_died const& died) {
    EXPECT_TRUE(contains(died.what(), std::string(100, 'n'))) << died.what();
  }
}

TEST_F(process_options_test, deadlines_work_from_tasks_and_coroutines_and_through_chains) {
  auto in_task = async([] { async({.on = processes, .timeout = 10ms}, run_for_ever, 0).get(); });
  EXPECT_THROW(in_task.get(), timed_out);
  auto coroutine = []() -> task<int> {
    bool late = false;
    try {
      co_await async({.on = processes, .timeout = 10ms}, run_for_ever, 0);
    } catch (timed_out const&) {
      late = true;
    }
    co_return late ? co_await async({.on = processes, .timeout = 1h}, add, 1, 2) : 0;
  };
  EXPECT_EQ(async(coroutine()).get(), 3);
  EXPECT_THROW(async({.on = processes, .timeout = 10ms}, run_for_ever, 0).then([] { return 1; }).get(), timed_out);
  EXPECT_EQ(async({.on = processes}, add, 1, 2).then([](int n) { return n + 1; }).get(), 4);
}

TEST_F(process_options_test, a_detached_runaway_ends_at_its_deadline) {
  while (counters[0].load() == 0) {  // under load its time may be over before it has begun
    process_pool one{1};
    async({.on = one, .timeout = 10ms}, run_for_ever, 0).detach();
  }  // the pool's end waits for it
}

TEST_F(process_options_test, deadlines_at_every_moment_of_a_job_leave_a_value_or_timed_out) {
  process_pool two{2};
  int values = 0;
  int expired = 0;
  for (int i = 0; i < 300; ++i) {
    auto f = async({.on = two, .timeout = std::chrono::microseconds{i}}, add, i, 1);
    try {
      EXPECT_EQ(f.get(), i + 1);
      ++values;
    } catch (timed_out const&) {
      ++expired;
    }
  }
  EXPECT_EQ(values + expired, 300);
  EXPECT_EQ(async(two, add, 1, 1).get(), 2);
}

// ---- pools

TEST_F(process_pool_test, a_pool_has_workers_of_its_own_and_no_more_than_it_was_made_for) {
  process_pool two{2};
  EXPECT_EQ(two.size(), 2U);
  std::vector<future<int>> all;
  for (int i = 0; i < 50; ++i) all.push_back(async(two, [] { return static_cast<int>(::getpid()); }));
  std::vector<int> seen;
  for (auto& f : all) seen.push_back(f.get());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  EXPECT_LE(seen.size(), 2U);
  int const other = async(processes, [] { return static_cast<int>(::getpid()); }).get();
  EXPECT_EQ(std::count(seen.begin(), seen.end(), other), 0);
  EXPECT_EQ(process_pool{}.size(), detail::process_worker_count());
}

TEST_F(process_pool_test, its_end_lets_every_job_end_and_leaves_no_process_mapping_or_descriptor) {
  static_cast<void>(async(processes, add, 1, 1).get());
  auto const before = detail::resources_now();
  std::array<pid_t, 3> pids{};
  {
    process_pool pool{3};
    for (int i = 0; i < 3; ++i)
      async(
          pool, [](int n) { counters[static_cast<std::size_t>(n)].store(static_cast<int>(::getpid())); }, i)
          .detach();
    for (int i = 0; i < 20; ++i) async(pool, [] { counters[10].fetch_add(1); }).detach();
  }
  EXPECT_EQ(counters[10].load(), 20);
  for (std::size_t i = 0; i < 3; ++i) {
    pids[i] = counters[i].load();
    EXPECT_EQ(::kill(pids[i], 0), -1) << "worker " << i << " is still there";
  }
  EXPECT_EQ(detail::resources_now(), before);
}

TEST_F(process_pool_test, pools_come_and_go_while_others_work) {
  auto const before = detail::resources_now();
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        process_pool pool{2};
        auto a = async(pool, add, t, i);
        auto b = async(processes, add, t, i);
        if (a.get() == t + i && b.get() == t + i) right.fetch_add(1);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(right.load(), 30);
  EXPECT_EQ(detail::resources_now().descriptors, before.descriptors);
}

TEST_F(process_pool_test, a_pool_that_is_never_used_starts_nothing) {
  process_pool idle{8};
  EXPECT_EQ(to_string(idle.statistics()),
            "0 of 0 workers busy; 0 jobs, 0 ended, 0 lost; 0 workers started, 0 died, 0 killed, 0 recycled");
}

TEST_F(process_pool_test, what_makes_no_sense_is_refused_by_name) {
  auto const refusal = [](auto make) -> std::string {
    try {
      make();
    } catch (std::invalid_argument const& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_TRUE(contains(refusal([] { process_pool{1025}; }), "1025 workers; at most 1024"));
  EXPECT_TRUE(contains(refusal([] { process_pool{1, {.time = 0ns}}; }), "a limit of 0 ns"));
}

TEST_F(process_pool_test, its_limit_of_time_counts_from_the_begin_of_each_job) {
  process_pool one{1, {.time = 100ms}};
  auto endless = async(one, run_for_ever, 0);
  std::vector<future<int>> waiting;  // longer than the limit
  for (int i = 0; i < 5; ++i)
    waiting.push_back(async(
        one,
        [](int n) {
          ::usleep(40'000);
          return n;
        },
        i));
  auto const text = text_of_timed_out(endless);
  EXPECT_TRUE(contains(text, "0.1 s")) << text;
  EXPECT_TRUE(contains(text, "process_pool_test.cpp:")) << text;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(waiting[static_cast<std::size_t>(i)].get(), i);
  auto const s = one.statistics();
  EXPECT_EQ(s.workers_killed, 1U);
  EXPECT_EQ(s.lost, 0U);
  EXPECT_EQ(s.ended, 6U);
}

TEST_F(process_pool_test, its_limit_of_time_is_one_for_each_element_of_a_map) {
  process_pool two{2, {.time = 200ms}};
  std::vector<int> const elements(300, 3);  // a second in all, many to a message
  auto const results = map(two, elements, [](int ms) {
    ::usleep(static_cast<useconds_t>(ms) * 1000);
    return ms;
  });
  EXPECT_EQ(results, elements);
  std::vector<int> tiny(2000, 0);
  tiny[1500] = 1;
  EXPECT_THROW(map(two, tiny,
                   [](int endless) {
                     if (endless != 0) run_for_ever(0);
                     return endless;
                   }),
               timed_out);
}

TEST_F(process_pool_test, one_that_takes_too_much_memory_gets_bad_alloc_and_a_fresh_worker_follows) {
  if (detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's allocator ends the process instead of throwing";
  process_pool one{1, {.memory = std::size_t{64} << 20U}};
  auto const hoard = [](int mebibytes) {
    std::size_t sum = 0;
    for (int i = 0; i < mebibytes; ++i) {
      auto* const kept = new std::string(1U << 20U, 'x');  // never freed
      sum += kept->size();
    }
    return sum;
  };
  EXPECT_EQ(async(one, hoard, 20).get(), 20U << 20U);
  EXPECT_THROW(async(one, hoard, 100).get(), std::bad_alloc);
  EXPECT_EQ(async(one, hoard, 40).get(), 40U << 20U) << "the worker that has no memory left was replaced";
  EXPECT_EQ(one.statistics().workers_recycled, 1U);
  EXPECT_EQ(one.statistics().workers_died, 0U);
  EXPECT_EQ(async(processes, hoard, 100).get(), 100U << 20U) << "others have no limit";
}

// As many as may be sent ahead: none of them may run in a worker that has no memory left.
TEST_F(process_pool_test, no_job_that_was_sent_ahead_runs_in_a_worker_without_memory) {
  if (detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's allocator ends the process instead of throwing";
  process_pool one{1, {.memory = std::size_t{64} << 20U}};
  auto const pid_of = [] { return static_cast<int>(::getpid()); };
  auto const hoard = [] {
    counters[1].store(::getpid());
    for (;;) new std::string(1U << 20U, 'x');  // never freed
  };
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 300; ++i) static_cast<void>(async(one, pid_of).get());  // short ones: more will be sent ahead
    std::vector<future<int>> before;
    std::vector<future<int>> after;
    for (int i = 0; i < 20; ++i) before.push_back(async(one, pid_of));
    auto hungry = async(one, hoard);
    for (int i = 0; i < 40; ++i) after.push_back(async(one, pid_of));
    EXPECT_THROW(hungry.get(), std::bad_alloc);
    for (auto& f : before) static_cast<void>(f.get());
    for (auto& f : after) EXPECT_NE(f.get(), counters[1].load());
  }
  EXPECT_EQ(one.statistics().workers_recycled, 10U);
  EXPECT_EQ(one.statistics().lost, 0U);
}

struct verbose_bad_alloc : std::bad_alloc {
  char const* what() const noexcept override {
    static std::string const text(100'000, '.');  // too much for a ring: it comes by other memory, and is read late
    return text.c_str();
  }
};

TEST_F(process_pool_test, a_large_report_of_missing_memory_replaces_the_worker_too) {
  process_pool one{1, {.memory = std::size_t{256} << 20U}};
  auto const pid_of = [] { return static_cast<int>(::getpid()); };
  int const first = async(one, pid_of).get();
  EXPECT_ANY_THROW(async(one, [] { throw verbose_bad_alloc{}; }).get());
  EXPECT_NE(async(one, pid_of).get(), first);
  EXPECT_EQ(one.statistics().workers_recycled, 1U);
}

TEST_F(process_pool_test, a_worker_that_has_grown_too_large_is_replaced_between_two_jobs) {
  if (detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's shadow of what is used is the process's own memory, too";
  process_pool one{1, {.recycle_when_larger = std::size_t{64} << 20U}};
  auto const pid_of = [] { return static_cast<int>(::getpid()); };
  auto const leak = [](int mebibytes) {
    for (int i = 0; i < mebibytes; ++i) new std::string(1U << 20U, 'x');  // NOLINT: that is what it is for
    return static_cast<int>(::getpid());
  };
  int const first = async(one, leak, 16).get();
  for (std::int64_t const begin = detail::now(); detail::now() - begin < 30'000'000;)  // three looks at least
    EXPECT_EQ(async(one, pid_of).get(), first) << "it may have so much";
  EXPECT_EQ(async(one, leak, 100).get(), first);
  while (async(one, pid_of).get() == first) {  // once it looks, it goes
  }
  EXPECT_EQ(one.statistics().workers_recycled, 1U);
  EXPECT_EQ(one.statistics().lost, 0U);
}

TEST_F(process_pool_test, a_worker_is_replaced_after_so_many_jobs) {
  process_pool one{1, {.recycle_after = 3}};
  std::vector<int> pids;
  for (int i = 0; i < 9; ++i) pids.push_back(async(one, [] { return static_cast<int>(::getpid()); }).get());
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(pids[i], pids[i / 3 * 3]) << i;
  EXPECT_NE(pids[0], pids[3]);
  EXPECT_NE(pids[3], pids[6]);
  auto all = map(one, std::vector<int>(100, 1), [](int n) { return n; });
  EXPECT_EQ(all.size(), 100U);
  auto const s = one.statistics();
  EXPECT_GE(s.workers_recycled, 4U);
  EXPECT_EQ(s.workers_died, 0U);
}

TEST_F(process_pool_test, one_job_a_process_gives_each_a_fresh_one) {
  process_pool two{2, {.recycle_after = 1}};
  static int dirt = 0;
  std::vector<future<int>> all;
  for (int i = 0; i < 40; ++i) all.push_back(async(two, [] { return dirt++; }));
  for (auto& f : all) EXPECT_EQ(f.get(), 0);
}

TEST_F(process_pool_test, its_counters_add_up) {
  process_pool two{2};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(async(two, add, i, 1).get(), i + 1);
  EXPECT_THROW(async(two, [] { ::_exit(1); }).get(), process_died);
  auto endless = begun_for_ever(two, 0);
  EXPECT_EQ(two.statistics().busy, 1U);
  endless.request_stop();
  EXPECT_TRUE(endless.result().stopped());
  EXPECT_EQ(map(two, std::vector<int>(100, 1), [](int n) { return n; }).size(), 100U);
  auto const s = two.statistics();
  EXPECT_EQ(s.jobs, 112U);
  EXPECT_EQ(s.ended, 112U);
  EXPECT_EQ(s.lost, 1U);
  EXPECT_EQ(s.workers_died, 1U);
  EXPECT_EQ(s.workers_killed, 1U);
  EXPECT_EQ(s.workers_started, s.workers + s.workers_died + s.workers_killed + s.workers_recycled);
}

TEST_F(process_pool_test, the_place_may_be_chosen_at_run_time) {
  process_pool one{1};
  for (bool own : {false, true}) {
    process_place const where = own ? process_place{one} : process_place{processes};
    EXPECT_EQ(async(where, add, 1, 2).get(), 3);
    EXPECT_EQ(async({.on = where}, add, 1, 2).get(), 3);
    EXPECT_EQ(map(where, std::vector<int>{1, 2}, [](int n) { return -n; }), (std::vector<int>{-1, -2}));
  }
  EXPECT_EQ(one.statistics().jobs, 4U);
}

TEST_F(process_pool_test, for_each_calls_each_element_once_in_workers) {
  std::vector<int> elements(1000);
  for (int i = 0; i < 1000; ++i) elements[static_cast<std::size_t>(i)] = i % 50;
  for_each(processes, elements, [](int n) { counters[static_cast<std::size_t>(n)].fetch_add(1); });
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(counters[i].load(), 20) << i;
  process_pool two{2};
  for_each(two, std::list<int>{50, 51}, [](int n) { return counters[static_cast<std::size_t>(n)].fetch_add(1); });
  EXPECT_EQ(counters[50].load() + counters[51].load(), 2);
  for_each(two, std::vector<int>{}, [](int) {});
}

TEST_F(process_pool_test, the_first_failure_of_for_each_stops_the_rest_and_all_are_joined) {
  process_pool two{2};
  std::vector<int> elements(40);
  for (int i = 0; i < 40; ++i) elements[static_cast<std::size_t>(i)] = i;
  EXPECT_THROW(for_each(two, elements,
                        [](int n) {
                          if (n == 1) throw std::out_of_range{"one"};
                          run_for_ever(n);
                        }),
               std::out_of_range);
  EXPECT_EQ(counters[39].load(), 0);
  EXPECT_EQ(two.statistics().busy, 0U);
}

TEST_F(process_pool_test, a_stop_of_the_task_above_ends_a_for_each_that_would_run_for_ever) {
  process_pool two{2};
  auto outer = async([&] { for_each(two, std::vector<int>{0, 1, 2}, run_for_ever); });
  wait_for_counter(0);
  outer.request_stop();
  EXPECT_THROW(outer.get(), operation_cancelled);
}

TEST_F(process_pool_test, the_kernel_is_offered_workers_before_the_program) {
  auto const points = [] {
    std::ifstream file{"/proc/self/oom_score_adj"};
    int n = -9999;
    file >> n;
    return n;
  };
  int const ours = points();
  if (ours == -9999) GTEST_SKIP() << "no /proc";
  EXPECT_EQ(async(processes, points).get(), std::min(1000, ours + 500));
}

TEST_F(process_pool_test, a_worker_may_have_a_pool_of_its_own) {
  auto const nested = [] {
    process_pool inner{2};
    int sum = async(inner, add, 20, 3).get();
    for (int n : map(inner, std::vector<int>{1, 2, 3}, [](int x) { return x * x; })) sum += n;
    return sum;
  };
  if (detail::thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer: a worker may not start threads";
  EXPECT_EQ(async(processes, nested).get(), 37);
}

TEST_F(process_pool_test, rule_20_in_the_child_of_a_fork_a_pool_starts_anew) {
  if (detail::sanitized_memory)
    GTEST_SKIP() << "a sanitizer's runtime does not survive the fork of a process with threads";
  process_pool two{2};
  int const parents = async(two, [] { return static_cast<int>(::getpid()); }).get();
  pid_t const child = ::fork();
  if (child == 0) {
    try {
      bool const fresh = async(two, [] { return static_cast<int>(::getpid()); }).get() != parents;
      ::_exit(fresh && two.statistics().workers_started == 1 ? 0 : 1);
    } catch (...) {
      ::_exit(2);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(async(two, add, 1, 1).get(), 2);
}

}  // namespace
}  // namespace errand
