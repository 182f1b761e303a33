// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of behaviour 19 and 26 where they need a program of their own: each test runs one of cases/, and looks at how it
// ended and what it said on stderr. What a program does is told at its top.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/sanitizers.hpp"
#include "support/scratch.hpp"

namespace {

struct ending {
  int status = -1000;  // of an exit, or minus the signal
  std::string said;
};

// Starts a program with that as its stderr; -1 if it cannot be.
pid_t start(std::string const& name, std::string argument, int as_stderr) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, as_stderr, STDERR_FILENO);
  std::string path = ERRAND_TEST_CASES + name;
  char* arguments[] = {path.data(), argument.empty() ? nullptr : argument.data(), nullptr};
  pid_t child = -1;
  int const error = ::posix_spawn(&child, path.c_str(), &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? child : -1;
}

int status_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Runs a program to its end; one that takes two minutes hangs, and is killed.
ending run(std::string const& name, std::string argument = {}) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  pid_t const child = start(name, std::move(argument), ends[1]);
  ::close(ends[1]);
  ending e;
  if (child >= 0) {
    char some[512];
    for (;;) {
      pollfd readable{ends[0], POLLIN, 0};
      if (::poll(&readable, 1, 120'000) == 0) ::kill(child, SIGKILL);
      auto const got = ::read(ends[0], some, sizeof some);
      if (got <= 0) break;
      e.said.append(some, static_cast<std::size_t>(got));
    }
    e.status = status_of(child);
  }
  ::close(ends[0]);
  return e;
}

// The parts in this order, with anything between.
bool in_order(std::string const& text, std::vector<std::string> const& parts) {
  std::size_t at = 0;
  for (auto const& part : parts) {
    at = text.find(part, at);
    if (at == std::string::npos) return false;
    at += part.size();
  }
  return true;
}

TEST(programs, rule_19_statics_use_errand_before_its_first_use_and_after_the_wait_at_the_end) {
  auto const e = run("early_and_late_statics");
  EXPECT_EQ(e.status, 4);
  EXPECT_EQ(e.said,
            "early built. late built. main's, while late stands. late destroyed. late detached. early destroyed. early "
            "detached. ");
}

TEST(programs, rule_19_static_futures_and_pools_are_stopped_and_joined_after_main) {
  auto const e = run("static_futures");
  EXPECT_EQ(e.status, 5);
  EXPECT_EQ(e.said, "stopped and joined.");
}

TEST(programs, rule_19_a_throw_out_of_main_waits_for_nobody) {
  auto const e = run("throws_out_of_main");
  EXPECT_EQ(e.status, -SIGABRT);
  EXPECT_NE(e.said.find("out of main"), std::string::npos) << e.said;
}

TEST(programs, rule_19_a_main_thread_may_end_by_pthread_exit) {
  auto const e = run("main_leaves_by_pthread_exit");
  EXPECT_EQ(e.status, 7);
  EXPECT_EQ(e.said, "finished.destroyed.");
}

TEST(programs, rule_19_exit_handlers_may_use_errand_whenever_they_were_registered) {
  auto const e = run("exit_handlers");
  EXPECT_EQ(e.status, 6);
  EXPECT_TRUE(in_order(e.said, {"from main.", "from the earlier."})) << e.said;
  EXPECT_NE(e.said.find("from the later."), std::string::npos) << e.said;
}

TEST(programs, rule_19_exit_inside_a_task_waits_for_the_others_and_not_for_itself) {
  auto const e = run("exit_inside_a_task");
  EXPECT_EQ(e.status, 8);
  EXPECT_TRUE(in_order(e.said, {"finished."}) && in_order(e.said, {"in a destructor."})) << e.said;
}

TEST(programs, rule_19_the_main_queue_is_served_while_the_end_waits) {
  auto const e = run("main_queue_at_exit");
  EXPECT_EQ(e.status, 6) << e.said;
  EXPECT_TRUE(e.said == "there.later.slept." || e.said == "there.slept.later.") << e.said;
  EXPECT_EQ(e.said.find("another"), std::string::npos) << e.said;
}

TEST(programs, rule_19_exit_in_an_item_of_the_main_queue_runs_those_behind_it) {
  auto const e = run("main_queue_at_exit", "exit_in_item");
  EXPECT_EQ(e.status, 8) << e.said;
  EXPECT_EQ(e.said, "behind.");
}

TEST(programs, rule_19_exit_wherever_queues_call_the_user_finishes_the_rest) {
  for (std::string const how :
       {"item", "item_held", "concurrent_item", "barrier", "sync", "sync_in_task", "coroutine", "after", "tick", "held_tick",
        "handler", "main_item", "main_handler", "main_loop_in_loop", "own_loop"}) {
    auto const e = run("exits_in_queues", how);
    EXPECT_EQ(e.status, 8) << how << ": " << e.said;
    std::string said = e.said;
    if (how == "concurrent_item") {
      auto const beside = said.find("beside.");
      ASSERT_NE(beside, std::string::npos) << said;
      said.erase(beside, std::string{"beside."}.size());
    }
    EXPECT_EQ(said, "finished.in a destructor.by a destructor.") << how;
  }
}

// Its queue is held by the item that never returns.
TEST(programs, rule_19_what_lies_behind_an_item_that_calls_exit_is_said) {
  ::setenv("ERRAND_EXIT_DEADLINE", "0.5", 1);
  auto const e = run("exits_in_queues", "item_with_one_behind");
  ::unsetenv("ERRAND_EXIT_DEADLINE");
  EXPECT_EQ(e.status, 8) << e.said;
  EXPECT_TRUE(in_order(e.said, {"finished.", "1 detached task has not ended", "task \"behind\"", "in a destructor."})) << e.said;
}

TEST(programs, rule_19_what_waits_in_queues_of_all_kinds_is_finished_after_main) {
  auto const e = run("returns_with_queues", "waiting");
  EXPECT_EQ(e.status, 5);
  EXPECT_EQ(e.said, "80 ran.");
}

TEST(programs, rule_19_what_waits_in_a_queue_that_stays_suspended_is_said) {
  ::setenv("ERRAND_EXIT_DEADLINE", "0.5", 1);
  auto const e = run("returns_with_queues", "suspended");
  ::unsetenv("ERRAND_EXIT_DEADLINE");
  EXPECT_EQ(e.status, 5);
  EXPECT_TRUE(in_order(e.said, {"1 detached task has not ended", "task \"never begun\"", "0 ran."})) << e.said;
}

TEST(programs, rule_19_queues_loops_timers_and_handlers_may_have_static_storage) {
  auto const e = run("returns_with_queues", "held");
  EXPECT_EQ(e.status, 5);
  EXPECT_EQ(e.said, "3 ran.");
}

TEST(programs, rule_19_nobody_waits_for_detached_timers_and_handlers) {
  auto const e = run("returns_with_queues", "detached_events");
  EXPECT_EQ(e.status, 5);
  EXPECT_EQ(e.said, "1 ran.");
}

TEST(programs, rule_19_quick_exit_and_Exit_wait_for_nobody) {
  for (std::string const how : {"quick_exit", "_Exit", "quick_exit_in_task", "_Exit_in_task"}) {
    auto const e = run("leaves_at_once", how);
    EXPECT_EQ(e.status, 9) << how;
    EXPECT_EQ(e.said, how.starts_with("quick") ? "quickly." : "") << how;
  }
}

TEST(programs, rule_19_a_library_with_errand_inside_stays_loaded_once_it_has_threads) {
  auto const e = run("opens_libraries", ERRAND_TEST_LIBRARY);
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.said, "stays loaded.the last one was finished.");
}

TEST(programs, rule_20_a_library_with_errand_inside_that_was_unloaded_leaves_no_fork_handler) {
  EXPECT_EQ(run("opens_unused", ERRAND_TEST_LIBRARY).status, 3);
}

TEST(programs, rule_19_exit_waits_for_writes_whoever_holds_them) {
  errand_test::scratch const made;
  std::string const dir = made.path();
  auto const e = run("exits_with_writes", dir);
  EXPECT_EQ(e.status, 6);
  EXPECT_TRUE(in_order(e.said, {"an exception that nobody took", "exits_with_writes.cpp", "/dev/full"})) << e.said;
  for (int i = 0; i < 300; ++i) {
    std::error_code error;
    EXPECT_EQ(std::filesystem::file_size(dir + "/" + std::to_string(i), error), 10'000U) << i;
  }
  std::error_code error;
  EXPECT_EQ(std::filesystem::file_size(dir + "/late", error), 4U);
}

TEST(programs, rule_19_a_return_from_main_waits_for_what_writers_were_given) {
  errand_test::scratch const made;
  std::string const dir = made.path();
  auto const e = run("returns_with_writers", dir);
  EXPECT_EQ(e.status, 7);
  EXPECT_TRUE(in_order(e.said, {"an exception that nobody took", "returns_with_writers.cpp", "/dev/full"})) << e.said;
  for (char const* const name : {"dropped", "atomic", "static", "of main", "late"}) {
    std::error_code error;
    EXPECT_EQ(std::filesystem::file_size(dir + "/" + name, error), 12'000'000U) << name;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{dir}, {}), 5);
}

// It is never destroyed.
TEST(programs, rule_19_exit_beside_a_writer_writes_what_it_has_collected) {
  errand_test::scratch const made;
  std::string const file = made / "file";
  EXPECT_EQ(run("exits_beside_a_writer", file).status, 8);
  std::error_code error;
  EXPECT_EQ(std::filesystem::file_size(file, error), 9U);
}

TEST(programs, signals_to_the_program_are_handled_by_its_own_threads) {
  auto const e = run("signals");
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.said, "handled, 0 by others");
}

TEST(programs, rule_26_where_address_space_is_limited_slabs_of_stacks_shrink_before_anything_fails) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "the sanitizers take address space by the terabyte";
  for (std::string const mebibytes : {"56", "100", "300", "1000"}) {
    auto const e = run("limited_address_space", mebibytes);
    EXPECT_EQ(e.status, 0) << mebibytes;
    EXPECT_EQ(e.said, "a wait failed by std::bad_alloc, and only that one") << mebibytes;
  }
}

TEST(programs, what_worker_processes_wrote_to_stderr_is_out_when_the_program_has_ended) {
  std::string all;
  for (int i = 0; i < 5000; ++i) all += "0123456789\n";
  errand_test::scratch const folder;
  auto const file = folder.path() / "stderr";
  for (auto const* const how : {"return", "exit_in_task"}) {
    // A file: what is in it when the program has ended was there by then.
    int const fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT_EQ(status_of(start("workers_write_to_stderr", how, fd)), 6);
    std::string said(all.size() + 100, '\0');
    said.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::pread(fd, said.data(), said.size(), 0))));
    EXPECT_TRUE(said == all + "late.") << how << ": " << said.size() << " bytes";
    ::close(fd);
  }
}

}  // namespace
