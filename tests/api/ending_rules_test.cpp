// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of behaviour 17 and 19: errors nobody took, and the end of the program. What ends a program is tried in child
// processes that run the test binary anew, so that nothing of this process's threads is theirs.
#include <gtest/gtest.h>
#include <errand/process.hpp>
#include <errand/task.hpp>

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

// ---- rule 17 ---------------------------------------------------------------------------------------------------------

struct report {
  std::string task;
  std::string file;
  unsigned line;
  std::string what;
};
std::mutex reports_guard;
std::vector<report> reports;

// Collects what is reported while it lives.
class collected_reports {
 public:
  collected_reports() : before_{errand::set_unobserved_error_handler(&collect)} {}
  ~collected_reports() {
    errand::set_unobserved_error_handler(before_);
    std::lock_guard const held{reports_guard};
    reports.clear();
  }
  collected_reports(collected_reports const&) = delete;
  collected_reports& operator=(collected_reports const&) = delete;
  std::vector<report> now() {
    std::lock_guard const held{reports_guard};
    return reports;
  }

 private:
  static void collect(errand::unobserved_error const& e) {
    std::lock_guard const held{reports_guard};
    try {
      std::rethrow_exception(e.error);
    } catch (std::exception const& what) {
      reports.push_back({std::string{e.task}, e.from.file_name(), e.from.line(), what.what()});
    }
  }
  errand::unobserved_error_handler before_;
};

void fail() { throw std::runtime_error{"nobody took me"}; }

TEST(errors, rule_17_an_exception_nobody_took_is_reported_once_with_name_and_line) {
  collected_reports seen;
  {
    auto f = errand::async({.name = "failing"}, fail);
    f.wait();
    f.wait();
  }
  auto const all = seen.now();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].task, "failing");
  EXPECT_EQ(all[0].line, static_cast<unsigned>(__LINE__ - 7));
  EXPECT_NE(all[0].file.find("ending_rules_test.cpp"), std::string::npos);
  EXPECT_EQ(all[0].what, "nobody took me");
}

TEST(errors, rule_17_every_form_of_async_captures_the_line) {
  collected_reports seen;
  errand::pool own{1};
  std::vector<unsigned> lines;
  auto const expect_next = [&](errand::future<void> f, unsigned line) {
    f.wait();
    lines.push_back(line);
  };
  auto const f1 = [](int) { fail(); };
  auto const f2 = [](int, int) { fail(); };
  auto const f3 = [](int, int, int) { fail(); };
  auto const f4 = [](int, int, int, int) { fail(); };
  auto const f5 = [](int, int, int, int, int) { fail(); };
  expect_next(errand::async(fail), __LINE__);
  expect_next(errand::async(f1, 1), __LINE__);
  expect_next(errand::async(f2, 1, 2), __LINE__);
  expect_next(errand::async(f3, 1, 2, 3), __LINE__);
  expect_next(errand::async(f4, 1, 2, 3, 4), __LINE__);
  expect_next(errand::async(own, fail), __LINE__);
  expect_next(errand::async(own, f1, 1), __LINE__);
  expect_next(errand::async(own, f2, 1, 2), __LINE__);
  expect_next(errand::async(own, f3, 1, 2, 3), __LINE__);
  expect_next(errand::async(own, f4, 1, 2, 3, 4), __LINE__);
  expect_next(errand::async(errand::inplace, fail), __LINE__);
  expect_next(errand::async({}, fail), __LINE__);
  expect_next(errand::async({.on = own}, f5, 1, 2, 3, 4, 5), __LINE__);
  expect_next(errand::async([]() -> errand::task<> {
                fail();
                co_return;
              }),
              __LINE__ - 4);
  auto const all = seen.now();
  ASSERT_EQ(all.size(), lines.size());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].line, lines[i]);
}

TEST(errors, rule_17_a_line_given_by_hand_is_the_one_that_is_said) {
  collected_reports seen;
  auto const here = std::source_location::current();
  errand::async({.from = here}, fail).wait();
  ASSERT_EQ(seen.now().size(), 1U);
  EXPECT_EQ(seen.now()[0].line, here.line());
}

TEST(errors, rule_17_an_exception_that_was_taken_is_not_reported) {
  collected_reports seen;
  EXPECT_THROW(errand::async(fail).get(), std::runtime_error);
  static_cast<void>(errand::async(fail).result());
  EXPECT_THROW(errand::async(errand::inplace, fail).get(), std::runtime_error);
  EXPECT_TRUE(seen.now().empty());
}

TEST(errors, rule_17_a_stop_is_no_error) {
  collected_reports seen;
  {
    auto stopped = errand::async([] { errand::this_task::sleep_for(24h); });
    auto late = errand::async({.timeout = 1ns}, [] { errand::this_task::sleep_for(24h); });
    late.wait();
  }
  EXPECT_TRUE(seen.now().empty());
}

TEST(errors, rule_17_the_error_of_a_detached_task_is_reported) {
  collected_reports seen;
  flag let_go;
  errand::async({.name = "alone"}, [&] {
    let_go.wait();
    fail();
  }).detach();
  auto failed_before_it_was_detached = errand::async({.name = "before"}, fail);
  let_go.raise();
  failed_before_it_was_detached.wait();
  failed_before_it_was_detached.detach();
  while (seen.now().size() != 2) std::this_thread::yield();
}

TEST(errors, rule_17_the_error_of_a_task_that_fails_while_it_is_dropped_is_reported) {
  collected_reports seen;
  {
    flag begun;
    auto f = errand::async([&] {
      begun.raise();
      try {
        errand::this_task::sleep_for(24h);
      } catch (errand::operation_cancelled const&) {
        fail();
      }
    });
    begun.wait();
  }
  EXPECT_EQ(seen.now().size(), 1U);
}

TEST(errors, rule_17_setting_a_handler_gives_the_one_before) {
  auto const handler = [](errand::unobserved_error const&) {};
  auto* const before = errand::set_unobserved_error_handler(handler);
  EXPECT_EQ(errand::set_unobserved_error_handler(before), static_cast<errand::unobserved_error_handler>(handler));
}

// ---- rule 18 ---------------------------------------------------------------------------------------------------------

// ---- in child processes ----------------------------------------------------------------------------------------------

class ending_death : public testing::Test {
 protected:
  ending_death() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

void print(char const* text) { std::fputs(text, stderr); }

TEST_F(ending_death, rule_17_the_default_report_is_one_line_on_stderr) {
  EXPECT_EXIT(
      {
        errand::async({.name = "fetch"}, fail).wait();
        std::exit(0);
      },
      testing::ExitedWithCode(0),
      "^errand: an exception that nobody took left task \"fetch\" started at .*ending_rules_test.cpp:[0-9]+: nobody "
      "took me "
      "\\(std::runtime_error\\)\n$");
}

TEST_F(ending_death, rule_17_an_exception_that_is_no_std_exception_is_named_by_its_type) {
  EXPECT_EXIT(
      {
        errand::async([] { throw 7; }).wait();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "^errand: an exception that nobody took left task started at .*: .* of type int\n$");
}

TEST_F(ending_death, rule_19_detached_tasks_are_finished_after_main_returns) {
  EXPECT_EXIT(
      {
        for (int i = 0; i < 3; ++i)
          errand::async([] {
            errand::this_task::sleep_for(20ms);
            print("finished.");
          }).detach();
        std::exit(5);  // what returning 5 from main does
      },
      testing::ExitedWithCode(5), "^finished.finished.finished.$");
}

TEST_F(ending_death, rule_19_detached_tasks_of_other_pools_are_finished_too) {
  EXPECT_EXIT(
      {
        static auto& own = *new errand::pool{1};
        errand::async(own, [] {
          errand::this_task::sleep_for(20ms);
          print("finished.");
        }).detach();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "^finished.$");
}

void start_another(int more) {
  errand::async([more] {
    errand::this_task::sleep_for(1ms);
    if (more > 0)
      start_another(more - 1);
    else
      print("the last one.");
  }).detach();
}

TEST_F(ending_death, rule_19_detached_tasks_that_start_more_of_themselves_are_finished) {
  EXPECT_EXIT(
      {
        start_another(20);
        std::exit(0);
      },
      testing::ExitedWithCode(0), "^the last one.$");
}

TEST_F(ending_death, rule_19_what_does_not_end_before_the_deadline_is_said_and_left) {
  EXPECT_EXIT(
      {
        setenv("ERRAND_EXIT_DEADLINE", "0.02", 1);
        errand::async({.name = "stuck"}, [] { errand::this_task::sleep_for(24h); }).detach();
        std::exit(6);
      },
      testing::ExitedWithCode(6),
      "^errand: 1 detached task has not ended .*ERRAND_EXIT_DEADLINE.* task \"stuck\" "
      "\\(.*ending_rules_test.cpp:[0-9]+\\)\n$");
}

TEST_F(ending_death, rule_19_a_pool_of_processes_with_static_storage_does_not_wait_again) {
  EXPECT_EXIT(
      {
        setenv("ERRAND_EXIT_DEADLINE", "0.02", 1);
        static errand::process_pool pool{1};
        errand::async({.on = pool, .name = "stuck"}, [] {
          for (;;) ::pause();
        }).detach();
        std::exit(6);
      },
      testing::ExitedWithCode(6), "^errand: 1 detached task has not ended .*\"stuck\"");
}

TEST_F(ending_death, rule_19_of_many_that_are_left_the_number_is_said) {
  EXPECT_EXIT(
      {
        setenv("ERRAND_EXIT_DEADLINE", "0", 1);
        for (int i = 0; i < 20; ++i) errand::async([] { errand::this_task::sleep_for(24h); }).detach();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "^errand: 20 detached tasks have not ended .*, \\.\\.\\.\n$");
}

TEST_F(ending_death, rule_19_a_deadline_that_is_no_number_is_said_and_ignored) {
  EXPECT_EXIT(
      {
        setenv("ERRAND_EXIT_DEADLINE", "soon", 1);
        errand::async([] { print("finished."); }).detach();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "ERRAND_EXIT_DEADLINE=soon is ignored");
}

TEST_F(ending_death, rule_19_a_task_that_blocks_its_thread_for_ever_does_not_keep_the_program_alive) {
  EXPECT_EXIT(
      {
        setenv("ERRAND_EXIT_DEADLINE", "0", 1);
        errand::async([] { flag{}.wait(); }).detach();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "1 detached task has not ended");
}

TEST_F(ending_death, rule_19_finish_returns_zero_if_all_went_well) {
  EXPECT_EXIT(
      {
        errand::async([] {
          errand::this_task::sleep_for(10ms);
          print("finished.");
        }).detach();
        int const status = errand::finish();
        print("then.");
        std::exit(status);
      },
      testing::ExitedWithCode(0), "^finished.then.$");
}

TEST_F(ending_death, rule_19_finish_in_a_program_without_tasks_returns_zero) {
  EXPECT_EXIT(std::exit(errand::finish()), testing::ExitedWithCode(0), "^$");
}

TEST_F(ending_death, rule_19_finish_returns_non_zero_if_an_error_was_never_taken) {
  EXPECT_EXIT(
      {
        errand::async(fail).detach();
        std::exit(errand::finish());
      },
      testing::ExitedWithCode(1), "nobody took me");
}

TEST_F(ending_death, rule_19_finish_returns_non_zero_if_a_task_was_left) {
  EXPECT_EXIT(
      {
        setenv("ERRAND_EXIT_DEADLINE", "0", 1);
        errand::async([] { errand::this_task::sleep_for(24h); }).detach();
        std::exit(errand::finish());
      },
      testing::ExitedWithCode(1), "^errand: 1 detached task has not ended [^\n]*\n$");  // not waited for, nor said, a second time
}

TEST_F(ending_death, rule_19_exit_inside_a_detached_task_does_not_wait_for_itself) {
  EXPECT_EXIT(
      {
        errand::async([] {
          errand::async([] { print("the other finished."); }).detach();
          std::exit(7);
        }).detach();
        for (;;) std::this_thread::yield();
      },
      testing::ExitedWithCode(7), "^the other finished.$");
}

TEST_F(ending_death, rule_19_exit_inside_a_task_that_main_waits_for_ends_the_program) {
  EXPECT_EXIT(errand::async([] { std::exit(8); }).get(), testing::ExitedWithCode(8), "^$");
}

TEST_F(ending_death, rule_19_exit_inside_a_task_that_was_continued_ends_the_program) {
  EXPECT_EXIT(
      {
        errand::async([] {
          errand::this_task::sleep_for(1ms);
          std::exit(8);
        }).get();
      },
      testing::ExitedWithCode(8), "^$");
}

TEST_F(ending_death, rule_19_exit_inside_a_task_in_place_and_inside_a_coroutine_ends_the_program) {
  EXPECT_EXIT(errand::async(errand::inplace, [] { std::exit(9); }).get(), testing::ExitedWithCode(9), "^$");
  EXPECT_EXIT(errand::async([]() -> errand::task<> {
                co_await errand::async([] { errand::this_task::sleep_for(1ms); });
                std::exit(9);
              }).get(),
              testing::ExitedWithCode(9), "^$");
}

TEST_F(ending_death, rule_19_exit_while_tasks_sleep_wait_and_run_ends_the_program) {
  EXPECT_EXIT(
      {
        auto& leaked = *new std::vector<errand::future<void>>;
        for (int i = 0; i < 50; ++i)
          leaked.push_back(errand::async([] {
            for (;;) {
              errand::async([] { errand::this_task::yield(); }).get();
              errand::this_task::sleep_for(50us);
            }
          }));
        errand::this_task::sleep_for(2ms);
        std::exit(3);
      },
      testing::ExitedWithCode(3), "^$");
}

// The user's own static objects are destroyed after the drain, and may still use errand.
struct user_of_errand_at_exit {
  ~user_of_errand_at_exit() {
    if (active && errand::async([] { return 6; }).get() == 6) print("still works.");
  }
  bool active = false;
} late_user;

TEST_F(ending_death, rule_19_static_destructors_of_the_user_may_still_start_tasks) {
  EXPECT_EXIT(
      {
        late_user.active = true;
        errand::async([] {}).get();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "^still works.$");
}

TEST_F(ending_death, rule_19_the_pool_of_a_static_object_is_destroyed_at_exit) {
  EXPECT_EXIT(
      {
        static errand::pool own{2};
        errand::async(own, [] { print("ran."); }).get();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "^ran.$");
}

}  // namespace
