// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// async(processes, …) and map(processes, …): futures, stops, maps. What lies below has its tests in dispatcher_test.cpp.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errand/process.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/sanitizers.hpp"
#include "process/modules.hpp"
#include "process/test_jobs.hpp"

namespace errand {
namespace {

int add(int a, int b) { return a + b; }
std::string repeat(std::string text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}
int five(int a, int b, int c, int d, int e) { return a + b + c + d + e; }

// Counters that the tests and the workers share: made before main, so before the zygote.
std::array<std::atomic<int>, 64>& counters = *static_cast<std::array<std::atomic<int>, 64>*>(::mmap(
    nullptr, sizeof(std::array<std::atomic<int>, 64>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

void run_for_ever(int counter) {
  counters[static_cast<std::size_t>(counter)].store(1);
  for (;;) ::pause();
}
void wait_for_counter(int counter) {
  while (counters[static_cast<std::size_t>(counter)].load() == 0) std::this_thread::yield();
}

class process_face_test : public ::testing::Test {
 protected:
  void SetUp() override {
    for (auto& c : counters) c.store(0);
  }
};

TEST_F(process_face_test, async_returns_the_result_of_a_function_that_ran_elsewhere) {
  auto sum = async(processes, add, 2, 3);
  EXPECT_EQ(sum.get(), 5);
  EXPECT_EQ(async(processes, repeat, std::string{"ab"}, 3).get(), "ababab");
  EXPECT_NE(async(processes, [] { return ::getpid(); }).get(), ::getpid());
  EXPECT_EQ(async(processes, five, 1, 2, 3, 4, 5).get(), 15);
  async(processes, [] {}).get();
}

TEST_F(process_face_test, get_rethrows_what_the_function_threw) {
  auto failing = async(
      processes, [](int n) -> int { throw std::out_of_range{"no " + std::to_string(n)}; }, 7);
  try {
    failing.get();
    FAIL() << "nothing was thrown";
  } catch (std::out_of_range const& e) {
    EXPECT_STREQ(e.what(), "no 7");
  }
}

struct says_nothing : std::exception {
  char const* what() const noexcept override { return nullptr; }
};

TEST_F(process_face_test, an_exception_without_words_arrives_all_the_same) {
  auto failing = async(processes, [] { throw says_nothing{}; });
  try {
    failing.get();
    FAIL() << "nothing was thrown";
  } catch (remote_error const& e) {
    EXPECT_NE(std::string{e.type_name()}.find("says_nothing"), std::string::npos) << e.type_name();
  }
}

TEST_F(process_face_test, a_crash_names_the_line_that_started_the_task) {
  auto crashing = async(processes, [] { ::kill(::getpid(), SIGKILL); });
  try {
    crashing.get();
    FAIL() << "nothing was thrown";
  } catch (process_died const& died) {
    EXPECT_EQ(died.signal(), SIGKILL);
    EXPECT_NE(std::string{died.what()}.find("process_test.cpp:"), std::string::npos) << died.what();
    EXPECT_NE(std::string{died.what()}.find("killed by signal 9 (Killed)"), std::string::npos) << died.what();
  }
}

TEST_F(process_face_test, rule_18_a_function_that_workers_cannot_have_is_refused_with_the_reason) {
  static int nowhere = 0;  // data: in no module's code, as what was compiled at run time
  try {
    static_cast<void>(detail::module_list::of_this_process().find(reinterpret_cast<void (*)()>(&nowhere + (1 << 24))));
    FAIL();
  } catch (std::runtime_error const& e) {
    EXPECT_STREQ(e.what(),
                 "errand: a function cannot run in a worker process: it lies in no loaded module (was it compiled at run "
                 "time?)");
  }
}

TEST_F(process_face_test, exit_in_a_task_ends_its_process_only) {
  try {
    async(processes, [] { ::_exit(3); }).get();
    FAIL() << "nothing was thrown";
  } catch (process_died const& died) {
    EXPECT_EQ(died.status(), 3);
    EXPECT_NE(std::string{died.what()}.find("exited with status 3"), std::string::npos) << died.what();
  }
}

// Long enough that who waits goes to sleep, or not.
int work_for(int microseconds) {
  auto const end = std::chrono::steady_clock::now() + std::chrono::microseconds{microseconds};
  while (std::chrono::steady_clock::now() < end) {
  }
  return microseconds;
}

// Threads that sleep for results wake each other, are woken by workers, stops, deadlines and ends of other work: none sleeps on.
TEST_F(process_face_test, whoever_sleeps_for_a_result_is_woken_when_it_is_there) {
  constexpr int threads = 4, rounds = 100;
  process_support const before_the_threads;
  std::vector<std::thread> waiting;
  for (int t = 0; t < threads; ++t)
    waiting.emplace_back([t] {
      std::mt19937 random{static_cast<std::uint32_t>(t)};
      for (int round = 0; round < rounds; ++round) {
        int const span = static_cast<int>(random() % 300);
        auto there = async(processes, work_for, span);
        switch (random() % 4) {
          case 0:
            break;
          case 1:
            static_cast<void>(there.wait_for(std::chrono::microseconds{random() % 300}));
            break;
          case 2: {  // it is the end of work in this process that is awaited, while some goes on elsewhere
            int const here_span = static_cast<int>(random() % 300);
            EXPECT_EQ(async(work_for, here_span).get(), here_span);
            break;
          }
          default: {  // the zygote's news ends what is awaited, not a reply
            auto endless = async(processes, run_for_ever, t);
            wait_for_counter(t);
            endless.request_stop();
            EXPECT_THROW(endless.get(), operation_cancelled);
            break;
          }
        }
        EXPECT_EQ(there.get(), span);
      }
    });
  for (auto& each : waiting) each.join();
}

TEST_F(process_face_test, rule_09_request_stop_ends_a_running_task_for_sure) {
  auto endless = async(processes, run_for_ever, 0);
  wait_for_counter(0);
  endless.request_stop();
  EXPECT_THROW(endless.get(), operation_cancelled);
  EXPECT_EQ(async(processes, add, 1, 1).get(), 2);
}

TEST_F(process_face_test, rule_09_so_does_dropping_its_future) {
  {
    auto endless = async(processes, run_for_ever, 0);
    wait_for_counter(0);
  }
  EXPECT_EQ(async(processes, add, 1, 1).get(), 2);
}

TEST_F(process_face_test, a_stop_at_once_leaves_either_no_trace_or_the_value) {
  for (int i = 0; i < 200; ++i) {
    auto quick = async(processes, add, i, 1);
    quick.request_stop();
    auto const outcome = quick.result();
    EXPECT_TRUE(outcome.has_value() || outcome.stopped());
  }
}

TEST_F(process_face_test, a_task_on_the_pool_may_wait_for_one_in_a_process) {
  auto outer = async([] { return async(processes, add, 20, 3).get(); });
  EXPECT_EQ(outer.get(), 23);
}

TEST_F(process_face_test, a_stop_of_the_task_above_kills_the_process_below) {
  auto outer = async([] { async(processes, run_for_ever, 0).get(); });
  wait_for_counter(0);
  outer.request_stop();
  EXPECT_THROW(outer.get(), operation_cancelled);
}

TEST_F(process_face_test, a_coroutine_may_wait_for_a_process) {
  auto coroutine = [](int n) -> task<int> { co_return co_await async(processes, add, n, 1) + 1; };
  EXPECT_EQ(async(coroutine(1)).get(), 3);
}

TEST_F(process_face_test, a_detached_task_still_runs) {
  async(processes, [] { counters[0].store(1); }).detach();
  wait_for_counter(0);
}

TEST_F(process_face_test, a_task_in_a_process_may_use_threads_and_processes) {
  EXPECT_EQ(async(processes, [] { return async(add, 1, 2).get(); }).get(), 3);
  EXPECT_EQ(async(processes,
                  [] {
                    detail::start_zygote();
                    return async(processes, add, 1, 2).get();
                  })
                .get(),
            3);
}

TEST_F(process_face_test, map_gathers_in_input_order) {
  std::vector<int> numbers;
  for (int i = 0; i < 20'000; ++i) numbers.push_back(i);
  auto const squares = map(processes, numbers, [](int n) { return n * n; });
  ASSERT_EQ(squares.size(), numbers.size());
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(squares[static_cast<std::size_t>(i)], i * i);
}

TEST_F(process_face_test, map_takes_any_range_and_strings_and_bools) {
  EXPECT_TRUE(map(processes, std::vector<int>{}, [](int n) { return n; }).empty());
  EXPECT_EQ(map(processes, std::list<std::string>{"a", "bb"}, [](std::string s) { return s + "!"; }),
            (std::vector<std::string>{"a!", "bb!"}));
  EXPECT_EQ(map(processes, std::vector<bool>{true, false, true}, [](bool b) { return !b; }),
            (std::vector<bool>{false, true, false}));
  int const raw[] = {3, 1};
  EXPECT_EQ(map(processes, raw, [](int n) { return n + 0.5; }), (std::vector<double>{3.5, 1.5}));
}

TEST_F(process_face_test, long_elements_of_map_are_dealt_one_by_one) {
  if (detail::process_worker_count() < 2) GTEST_SKIP() << "needs two workers";
  // Each of the first two waits for the other to begin: in one worker they would wait for ever.
  std::vector<int> const elements{0, 1, 2, 3};
  auto const seen = map(processes, elements, [](int n) {
    counters[static_cast<std::size_t>(n)].store(1);
    if (n < 2) wait_for_counter(1 - n);
    return n;
  });
  EXPECT_EQ(seen, elements);
}

TEST_F(process_face_test, the_first_failure_of_map_stops_the_rest_and_is_rethrown) {
  if (detail::process_worker_count() < 2) GTEST_SKIP() << "needs two workers: one element runs for ever, another fails";
  std::vector<int> elements;  // more than can be under way
  for (int i = 0; i < static_cast<int>(counters.size()); ++i) elements.push_back(i);
  auto const risky = [](int n) {
    if (n == 1) throw std::invalid_argument{"one"};
    run_for_ever(n);
    return n;
  };
  EXPECT_THROW(map(processes, elements, risky), std::invalid_argument);
  EXPECT_EQ(counters.back().load(), 0);
  auto const crashing = [](int n) {
    if (n == 1) ::kill(::getpid(), SIGKILL);
    run_for_ever(n);
    return n;
  };
  EXPECT_THROW(map(processes, elements, crashing), process_died);
}

TEST_F(process_face_test, a_stop_ends_a_map_that_would_run_for_ever) {
  auto outer = async([] {
    map(processes, std::vector<int>{0, 1, 2}, [](int n) {
      run_for_ever(n);
      return n;
    });
  });
  wait_for_counter(0);
  outer.request_stop();
  EXPECT_THROW(outer.get(), operation_cancelled);
  EXPECT_EQ(async(processes, add, 1, 1).get(), 2);
}

// The status of a child that the program forks by itself and that runs `body`; 99 if an exception left it.
template <class Body>
int status_of_child(Body body) {
  pid_t const child = ::fork();
  if (child == 0) {
    try {
      ::_exit(body());
    } catch (...) {
      ::_exit(99);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_F(process_face_test, rule_20_the_child_of_a_fork_has_processes_of_its_own_and_cannot_wait_for_those_of_the_parent) {
  if (detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's runtime does not survive the fork of a process with threads";
  auto parents = async(processes, [] {
    run_for_ever(5);
    return 0;
  });
  wait_for_counter(5);
  EXPECT_EQ(status_of_child([&] {
              try {
                parents.get();
                return 1;
              } catch (std::logic_error const& e) {
                if (std::string{e.what()}.find("parent process") == std::string::npos) return 2;
              }
              parents.request_stop();
              parents = future<int>{};
              if (async(processes, add, 1, 2).get() != 3) return 3;
              return async(add, 1, 2).get() == 3 ? 0 : 4;
            }),
            0);
  EXPECT_FALSE(parents.ready()) << "what the child asked for did not reach it";
  parents.request_stop();
  EXPECT_TRUE(parents.result().stopped());
  EXPECT_EQ(async(processes, add, 1, 1).get(), 2);
}

TEST_F(process_face_test, rule_20_a_worker_process_may_use_threads_and_fork) {
  if (detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's runtime does not survive the fork of a process with threads";
  auto const with_threads = [] {
    int const before = async(add, 1, 2).get();
    return before + status_of_child([] { return async(add, 1, 2).get(); });
  };
  EXPECT_EQ(async(processes, with_threads).get(), 6);
}

}  // namespace
}  // namespace errand
