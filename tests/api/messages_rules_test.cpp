// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rule of behaviour 18: messages say what was being done, to which task or pool, and why it failed. Here those of <task.hpp>
// and <group.hpp>, word for word; tests of other rules look at those of errors that nobody took (17), of the end of the
// program (19) and of forks (20), src/process at those of processes.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/sanitizers.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

// What an exception of just this type says.
template <class Exception, class Call>
std::string said(Call call) {
  try {
    static_cast<void>(call());
  } catch (Exception const& e) {
    return typeid(e) == typeid(Exception) ? e.what() : std::string{"of type "} + typeid(e).name() + ": " + e.what();
  }
  return "nothing";
}

std::string at(int line) { return std::string{__FILE__} + ":" + std::to_string(line); }

TEST(messages, rule_18_a_time_limit_names_the_task_and_its_line) {
  auto const sleeps = [] { errand::this_task::sleep_for(24h); };
  auto named = errand::async({.timeout = 1ns, .name = "fetch"}, sleeps);
  EXPECT_EQ(said<errand::timed_out>([&] { named.get(); }),
            "task \"fetch\" (" + at(__LINE__ - 2) + ") was stopped by its deadline");
  auto nameless = errand::async({.timeout = 1ns}, sleeps);
  EXPECT_EQ(said<errand::timed_out>([&] { nameless.get(); }), "task (" + at(__LINE__ - 1) + ") was stopped by its deadline");
}

TEST(messages, rule_18_a_task_that_waits_for_itself_is_named) {
  errand::future<std::string> own;
  flag given;
  own = errand::async({.name = "ouroboros"}, [&] {
    given.wait();
    return said<errand::deadlock>([&] { own.wait(); });
  });
  given.raise();
  while (!own.ready()) std::this_thread::yield();
  EXPECT_EQ(own.get(), "task \"ouroboros\" (" + at(__LINE__ - 6) + ") waits for itself");
}

TEST(messages, rule_18_a_task_that_waits_for_its_own_group_and_the_group_are_named) {
  std::string text;
  errand::task_group g;
  g.spawn({.name = "member"}, [&] { text = said<errand::deadlock>([&] { g.wait(); }); });
  g.wait();
  EXPECT_EQ(text, "task \"member\" (" + at(__LINE__ - 2) + ") waits for the task group made at " + at(__LINE__ - 3) +
                      ", which waits for that task");
}

TEST(messages, rule_18_whatever_is_done_with_a_future_of_no_task_is_named) {
  auto const why = std::string{": there is no task (it was taken, detached, or moved away)"};
  errand::future<int> f;
  auto const of_future = [&](auto call) { return said<std::logic_error>([&] { static_cast<void>(call()); }); };
  EXPECT_EQ(of_future([&] { return f.get(); }), "errand::future::get()" + why);
  EXPECT_EQ(of_future([&] { return f.result().has_value(); }), "errand::future::result()" + why);
  EXPECT_EQ(of_future([&] { return f.wait(), 0; }), "errand::future::wait()" + why);
  EXPECT_EQ(of_future([&] { return f.wait_for(1s); }), "errand::future::wait_for()" + why);
  EXPECT_EQ(of_future([&] { return f.wait_until(std::chrono::steady_clock::now()); }),
            "errand::future::wait_until()" + why);
  EXPECT_EQ(of_future([&] { return f.share(); }), "errand::future::share()" + why);
  EXPECT_EQ(of_future([&] { return f.then([](int) {}); }), "errand::future::then()" + why);
  EXPECT_EQ(of_future([&] { return errand::when_all(std::move(f)); }), "errand::when_all()" + why);
  EXPECT_EQ(of_future([&] { return errand::when_any(std::move(f)); }), "errand::when_any()" + why);

  errand::shared_future<int> s;
  EXPECT_EQ(of_future([&] { return s.get(); }), "errand::shared_future::get()" + why);
  EXPECT_EQ(of_future([&] { return s.result().has_value(); }), "errand::shared_future::result()" + why);
  EXPECT_EQ(of_future([&] { return s.wait(), 0; }), "errand::shared_future::wait()" + why);
  EXPECT_EQ(of_future([&] { return s.wait_for(1s); }), "errand::shared_future::wait_for()" + why);
  EXPECT_EQ(of_future([&] { return s.wait_until(std::chrono::steady_clock::now()); }),
            "errand::shared_future::wait_until()" + why);
  EXPECT_EQ(of_future([&] { return s.then([](int) {}); }), "errand::shared_future::then()" + why);
}

TEST(messages, rule_18_so_is_what_is_done_with_an_empty_coroutine) {
  auto const why = std::string{": there is no task (it was taken, detached, or moved away)"};
  auto const one = []() -> errand::task<int> { co_return 1; };
  auto made = one();
  auto const taken = std::move(made);
  auto const awaits = [&]() -> errand::task<int> { co_return co_await made; };
  EXPECT_EQ(said<std::logic_error>([&] { return awaits().get(); }), "co_await of an errand::task" + why);
  EXPECT_EQ(said<std::logic_error>([&] { return errand::async(std::move(made)).get(); }),
            "errand::async() of an errand::task" + why);
}

TEST(messages, rule_18_a_place_that_cannot_be_is_said_with_the_reason) {
  auto const f = errand::async([] {}).share();
  errand::place const here = errand::inplace;
  EXPECT_EQ(said<std::invalid_argument>([&] { return f.then(here, [] {}); }),
            "errand::future::then(): the place is inplace; then() never calls f inside then(), nor in the midst of another "
            "task's end");
  auto const moves_to = [](errand::place where) -> errand::task<> { co_await errand::resume_on(where); };
  EXPECT_EQ(said<std::invalid_argument>([&] { moves_to(here).get(); }),
            "errand::resume_on(): the place is inplace, which names no thread to go on on");
  EXPECT_EQ(said<std::invalid_argument>([&] { moves_to(errand::blocking).get(); }),
            "errand::resume_on(): the place is blocking, where a coroutine cannot suspend; async(blocking, ...) is for its "
            "calls that block");
}

// A coroutine of somebody else's.
struct foreign {
  struct promise_type {
    foreign get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept {}
  };
};
foreign moves(std::string& text) {
  try {
    co_await errand::resume_on(errand::threads);
  } catch (std::logic_error const& e) {
    text = e.what();
  }
}

TEST(messages, rule_18_a_coroutine_of_no_task_that_would_move_is_told_why_not) {
  std::string text;
  moves(text);
  EXPECT_EQ(text,
            "co_await of errand::resume_on(): the coroutine is part of no errand task, so there is nothing to move");
}

TEST(messages, rule_18_when_any_of_nothing_says_so) {
  EXPECT_EQ(said<std::invalid_argument>([] { return errand::when_any(std::vector<errand::future<int>>{}); }),
            "errand::when_any(): there are no futures, so none can be the first");
}

TEST(messages, rule_18_finish_inside_a_task_says_where_it_belongs) {
  EXPECT_EQ(said<std::logic_error>([] { return errand::async([] { return errand::finish(); }).get(); }),
            "errand::finish() was called by a task; it waits for tasks, and belongs at the end of main");
}

TEST(messages, rule_18_a_pool_too_large_is_refused_with_both_numbers) {
  EXPECT_EQ(said<std::invalid_argument>([] { errand::pool{5000}; }),
            "errand::pool: 5000 workers asked for, at most 4096 allowed");
}

// ---- in child processes ----------------------------------------------------------------------------------------------

class messages_death : public testing::Test {
 protected:
  messages_death() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

// From now on this process can have no further thread: there is room for a little more, but for no stack of a thread.
void allow_no_more_threads() {
  std::size_t pages = 0;
  std::ifstream{"/proc/self/statm"} >> pages;
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = pages * static_cast<std::size_t>(::getpagesize()) + (4U << 20);
  ::setrlimit(RLIMIT_AS, &limit);
}

TEST_F(messages_death, rule_18_a_thread_that_cannot_be_started_is_said_with_its_pool) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "the sanitizers need address space of their own";
  EXPECT_EXIT(
      {
        allow_no_more_threads();
        auto const text = said<std::system_error>([] { errand::pool{{.workers = 3, .name = "io"}}; });
        std::fprintf(stderr, "%s\n", text.c_str());
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      "^errand: could not start worker 1 of 3 of the pool \"io\": Resource temporarily unavailable\n$");
}

TEST_F(messages_death, rule_18_a_blocking_task_that_gets_no_thread_says_so) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "the sanitizers need address space of their own";
  EXPECT_EXIT(
      {
        allow_no_more_threads();
        auto const text = said<std::system_error>([] { errand::async(errand::blocking, [] {}).get(); });
        std::fprintf(stderr, "%s\n", text.c_str());
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      "^errand: could not start a thread for 1 blocking task, and there is none: Resource temporarily unavailable\n$");
}

int recurse(int depth) {
  volatile char local[1024] = {};
  local[0] = static_cast<char>(depth);
  return depth == 0 ? local[0] : recurse(depth - 1) + local[0];
}

TEST_F(messages_death, rule_18_a_stack_overflow_names_the_task_and_the_size) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "the sanitizers handle faults themselves";
  EXPECT_DEATH(errand::async({.name = "deep"}, recurse, 1'000'000).get(),
               "errand: stack overflow in task \"deep\" \\(.*messages_rules_test.cpp:[0-9]+\\) \\(256 KiB stack; put large "
               "local variables on the heap, and bound recursion\\)");
}

TEST_F(messages_death, rule_18_a_size_of_the_pool_that_is_no_number_is_said_and_ignored) {
  EXPECT_EXIT(
      {
        ::setenv("ERRAND_THREADS", "many", 1);
        errand::async([] {}).get();
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "^errand: ERRAND_THREADS=many is ignored: it must be a number from 1 to 4096\n$");
}

}  // namespace
