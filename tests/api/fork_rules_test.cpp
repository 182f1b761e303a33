// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rule of behaviour 20: after fork() in user code the child has a working errand, and what it inherited is the parent's.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/task.hpp>

#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;
using errand_test::fork_child;
using errand_test::in_child;
using errand_test::require;
using errand_test::status_of;

int twice(int x) { return 2 * x; }

errand::task<int> twice_later(int x) {
  errand::this_task::sleep_for(1ms);
  auto half = errand::async(twice, x);
  co_return co_await half;
}

// All parts of the scheduler: pool, loops, parking, timers, stops, detached tasks, coroutines, a pool of one's own.
void require_working_errand() {
  require(errand::async(twice, 4).get() == 8, "a task has its value");
  std::vector<int> xs(100);
  std::iota(xs.begin(), xs.end(), 0);
  require(errand::map(xs, twice)[99] == 198, "a loop");
  auto nested = errand::async([] {
    errand::this_task::sleep_for(1ms);
    auto inner = errand::async(twice, 1);
    errand::this_task::yield();
    return inner.get();
  });
  require(nested.wait_for(100s) == errand::future_status::ready && nested.get() == 2, "tasks that park");
  auto late = errand::async({.timeout = 1ms}, [] { errand::this_task::sleep_for(24h); });
  require(late.result().error() != nullptr, "a time limit");
  { auto dropped = errand::async([] { errand::this_task::sleep_for(24h); }); }
  require(twice_later(21).get() == 42, "a coroutine");
  errand::pool own{2};
  require(errand::async(own, twice, 5).get() == 10, "a pool of its own");
  errand::async([] { errand::this_task::sleep_for(1ms); }).detach();
  require(errand::finish() == 0, "nothing is left behind");
}

class fork_rules : public testing::Test {
 protected:
  void SetUp() override {
    if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  }
};

// True if `wait` throws what a future of the parent's throws: the operation, the task and why, in words.
template <class Wait>
bool is_refused(Wait wait, std::string const& operation) {
  try {
    wait();
  } catch (std::logic_error const& e) {
    std::string const text = e.what();
    return text.find(operation) != std::string::npos && text.find("\"of the parent\"") != std::string::npos &&
           text.find("fork_rules_test.cpp:") != std::string::npos && text.find("parent process") != std::string::npos;
  }
  return false;
}

TEST_F(fork_rules, rule_20_the_child_has_a_working_errand) {
  EXPECT_EQ(errand::async(twice, 1).get(), 2);
  EXPECT_EQ(in_child(require_working_errand), 0);
  EXPECT_EQ(errand::async(twice, 1).get(), 2);
}

TEST_F(fork_rules, rule_20_a_child_of_the_child_has_one_too) {
  EXPECT_EQ(in_child([] {
              require_working_errand();
              require(in_child([] {
                        require_working_errand();
                        require(in_child(require_working_errand) == 0, "the third generation");
                      }) == 0,
                      "the second generation");
              require_working_errand();
            }),
            0);
}

TEST_F(fork_rules, rule_20_whatever_waits_for_a_task_of_the_parent_throws_and_names_it) {
  flag let_go;
  auto f = errand::async({.name = "of the parent"}, [&] {
    let_go.wait_yielding();
    return 7;
  });
  EXPECT_EQ(in_child([&] {
              require(is_refused([&] { f.get(); }, "get()"), "get");
              require(is_refused([&] { f.wait(); }, "wait()"), "wait");
              require(is_refused([&] { static_cast<void>(f.result()); }, "result()"), "result");
              require(is_refused([&] { f.wait_for(1ms); }, "wait_for()"), "wait_for");
              require(is_refused([&] { f.wait_until(std::chrono::steady_clock::now()); }, "wait_until()"), "wait_until");
              auto const awaits = [](errand::future<int>& awaited) -> errand::task<int> { co_return co_await awaited; };
              require(is_refused([&] { awaits(f).get(); }, "co_await"), "co_await");
              require(f.valid(), "it is still a future of that task");
              require(f.ready(), "nobody has to wait for it");
            }),
            0);
  let_go.raise();
  EXPECT_EQ(f.get(), 7);
}

TEST_F(fork_rules, rule_20_a_task_that_had_ended_before_the_fork_is_the_parents_all_the_same) {
  auto f = errand::async({.name = "of the parent"}, twice, 2);
  auto here = errand::async({.on = errand::inplace, .name = "of the parent"}, twice, 3);
  f.wait();
  EXPECT_EQ(in_child([&] {
              require(is_refused([&] { f.get(); }, "get()"), "a task of the pool");
              require(is_refused([&] { here.get(); }, "get()"), "one that ran in place");
            }),
            0);
  EXPECT_EQ(f.get(), 4);
  EXPECT_EQ(here.get(), 6);
}

TEST_F(fork_rules, rule_20_dropping_stopping_and_detaching_a_task_of_the_parent_does_nothing) {
  flag begun;
  flag let_go;
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 4; ++i)
    all.push_back(errand::async([&] {
      begun.raise();
      let_go.wait_yielding();
      errand::this_task::sleep_for(1ms);
    }));
  begun.wait();
  EXPECT_EQ(in_child([&] {
              all[0].request_stop();
              all[1].detach();
              all[2] = errand::async([] {});
              all.clear();
              require(errand::finish() == 0, "the child has no detached task");
              require_working_errand();
            }),
            0);
  let_go.raise();
  for (auto& f : all) EXPECT_NO_THROW(f.get());
}

TEST_F(fork_rules, rule_20_a_stop_asked_in_the_child_does_not_touch_the_parents_tasks) {
  flag let_go;
  std::stop_source source;
  auto f = errand::async({.stop = source.get_token()}, [&] { let_go.wait_yielding(); });
  EXPECT_EQ(in_child([&] { require(source.request_stop(), "asked"); }), 0);
  let_go.raise();
  EXPECT_NO_THROW(f.get());
}

TEST_F(fork_rules, rule_20_the_end_of_the_child_waits_for_its_own_detached_tasks_and_not_for_the_parents) {
  flag let_go;
  errand::async([&] { let_go.wait_yielding(); }).detach();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  pid_t const child = fork_child([&] {
    errand::async([&] {
      errand::this_task::sleep_for(10ms);
      static_cast<void>(::write(ends[1], "x", 1) == 1);
    }).detach();
    std::exit(3);
  });
  EXPECT_EQ(status_of(child), 3);
  ::close(ends[1]);
  char said = 0;
  EXPECT_EQ(::read(ends[0], &said, 1), 1);
  ::close(ends[0]);
  let_go.raise();
}

TEST_F(fork_rules, rule_20_errors_that_the_parent_did_not_take_are_not_counted_in_the_child) {
  auto* const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) {});
  errand::async([] { throw 1; }).wait();
  EXPECT_EQ(in_child([] {
              require(errand::finish() == 0, "none of its own");
              errand::async([] { throw 1; }).wait();
              require(errand::finish() == 1, "one of its own");
            }),
            0);
  errand::set_unobserved_error_handler(before);
}

TEST_F(fork_rules, rule_20_a_pool_made_by_the_parent_starts_its_threads_anew_in_the_child) {
  errand::pool mine{2};
  errand::place const there = mine;
  flag let_go;
  auto parents = errand::async(mine, [&] { let_go.wait_yielding(); });
  EXPECT_EQ(in_child([&] {
              require(mine.size() == 2, "as large as before");
              require(errand::async(mine, twice, 3).get() == 6, "given by its name");
              require(errand::async(there, twice, 3).get() == 6, "given by a place");
              require(errand::async({.on = mine}, twice, 3).get() == 6, "given by an option");
              flag first;
              auto second = errand::async(mine, [&] { first.wait(); });
              errand::async(mine, [&] { first.raise(); }).get();
              second.get();
            }),
            0);
  let_go.raise();
  EXPECT_NO_THROW(parents.get());
  EXPECT_EQ(errand::async(mine, twice, 1).get(), 2);
}

TEST_F(fork_rules, rule_20_and_with_the_options_it_was_made_with) {
  std::atomic<int> hooked{0};
  errand::pool mine{{.workers = 2, .pinned = true, .name = "mine"}, [&] { ++hooked; }};
  errand::async(mine, [] {}).get();
  EXPECT_EQ(in_child([&] {
              hooked = 0;
              require(mine.statistics().asleep == 2 && mine.statistics().started == 0, "idle up to its first task");
              char name[16] = {};
              errand::async(mine, [&] { pthread_getname_np(pthread_self(), name, sizeof name); }).get();
              require(std::string{name}.starts_with("mine/"), "named");
              require(hooked >= 1, "with its function called on each thread");
              require(mine.statistics().started == 1, "counted anew");
            }),
            0);
}

TEST_F(fork_rules, rule_20_a_group_of_the_parents_is_refused_and_dropped_without_waiting) {
  flag let_go;
  std::optional<errand::task_group> g{std::in_place};
  g->spawn([&] { let_go.wait_yielding(); });
  EXPECT_EQ(in_child([&] {
              auto const refused = [](auto call) {
                try {
                  call();
                } catch (std::logic_error const&) {
                  return true;
                }
                return false;
              };
              require(refused([&] { g->spawn([] {}); }), "spawn");
              require(refused([&] { g->wait(); }), "wait");
              require(refused([&] { static_cast<void>(g->errors()); }), "errors");
              g->request_stop();
              g.reset();
            }),
            0);
  let_go.raise();
  EXPECT_NO_THROW(g->wait());
}

TEST_F(fork_rules, rule_20_a_pool_made_by_the_parent_ends_in_the_child_used_there_or_not) {
  std::optional<errand::pool> used{2U};
  std::optional<errand::pool> unused{2U};
  flag let_go;
  auto busy = errand::async(*unused, [&] { let_go.wait_yielding(); });
  EXPECT_EQ(in_child([&] {
              auto f = errand::async(*used, [] { errand::this_task::sleep_for(1ms); });
              f.wait();
              used.reset();
              unused.reset();
            }),
            0);
  let_go.raise();
  busy.get();
}

TEST_F(fork_rules, rule_20_several_threads_of_the_child_may_be_the_first_to_use_it) {
  errand::pool mine{2};
  EXPECT_EQ(in_child([&] {
              std::atomic<int> sum{0};
              std::vector<std::thread> threads;
              for (int i = 0; i < 4; ++i)
                threads.emplace_back([&] { sum += errand::async(mine, twice, 1).get() + errand::async(twice, 1).get(); });
              for (auto& t : threads) t.join();
              require(sum == 16, "each had its values");
            }),
            0);
}

TEST_F(fork_rules, rule_20_a_coroutine_that_had_not_begun_is_the_childs_as_well) {
  auto unbegun = twice_later(4);
  EXPECT_EQ(in_child([&] { require(std::move(unbegun).get() == 8, "its value"); }), 0);
  EXPECT_EQ(std::move(unbegun).get(), 8);
}

TEST_F(fork_rules, rule_20_a_task_in_place_on_a_foreign_thread_is_the_childs_as_well) {
  pid_t child = -1;
  auto f = errand::async({.on = errand::inplace, .timeout = 1h, .name = "forks"}, [&] {
    child = fork_child([] {
      require(errand::this_task::name() == "forks", "it runs in the child");
      require_working_errand();
    });
    return 5;
  });
  EXPECT_EQ(status_of(child), 0);
  EXPECT_EQ(f.get(), 5);

  std::fflush(nullptr);
  auto both = errand::async({.on = errand::inplace, .timeout = 1h}, [] { return ::fork(); });
  pid_t const other = both.get();  // in the parent and in the child
  if (other == 0) ::_exit(errand::async(twice, 3).get());
  EXPECT_EQ(status_of(other), 6);
}

TEST_F(fork_rules, rule_20_a_fork_from_a_foreign_thread) {
  EXPECT_EQ(errand::async(twice, 1).get(), 2);
  int status = -1;
  std::thread{[&] { status = in_child(require_working_errand); }}.join();
  EXPECT_EQ(status, 0);
}

TEST_F(fork_rules, rule_20_a_task_may_fork_to_exec_or_exit) {
  auto executes = errand::async([] {
    pid_t const child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", "exit 9", static_cast<char*>(nullptr));
      ::_exit(1);
    }
    return status_of(child);
  });
  auto exits = errand::async([] {
    pid_t const child = ::fork();
    if (child == 0) ::_exit(8);
    return status_of(child);
  });
  EXPECT_EQ(exits.get(), 8);
  EXPECT_EQ(executes.get(), 9);
}

TEST_F(fork_rules, rule_20_what_a_task_forks_does_not_inherit_that_signals_are_left_to_other_threads) {
  sigset_t here;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &here);
  ASSERT_EQ(::sigismember(&here, SIGTERM), 0);
  EXPECT_EQ(errand::async([] {
              pid_t const child = ::fork();
              if (child == 0) {
                sigset_t mask;
                ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
                ::_exit(::sigismember(&mask, SIGTERM));
              }
              return status_of(child);
            }).get(),
            0);
  // But who blocks signals over his fork, to let go of handlers first, shall not be disturbed.
  EXPECT_EQ(errand::async([] {
              sigset_t everything;
              sigset_t before;
              ::sigfillset(&everything);
              ::pthread_sigmask(SIG_SETMASK, &everything, &before);
              pid_t const child = ::fork();
              if (child == 0) {
                sigset_t mask;
                ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
                ::_exit(::sigismember(&mask, SIGTERM));
              }
              ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
              return status_of(child);
            }).get(),
            1);
}

// The child's stderr, which it writes until it ends.
std::string said_by(pid_t child, int from, int& status) {
  std::string text;
  char some[256];
  for (ssize_t got; (got = ::read(from, some, sizeof some)) > 0;) text.append(some, static_cast<std::size_t>(got));
  status = status_of(child);
  return text;
}

// Runs `forks` (which returns fork()'s answer) with the child's stderr in a pipe.
template <class Forks>
std::string said_by_child_of(Forks forks, int& status) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  pid_t const child = forks([&](pid_t answer) {
    if (answer == 0) ::dup2(ends[1], STDERR_FILENO);
    return answer;
  });
  ::close(ends[1]);
  auto text = said_by(child, ends[0], status);
  ::close(ends[0]);
  return text;
}

TEST_F(fork_rules, rule_20_a_task_that_returns_in_the_child_of_its_fork_ends_it_with_a_message) {
  int status = 0;
  auto const text = said_by_child_of(
      [](auto in_pipe) { return errand::async({.name = "forker"}, [=] { return in_pipe(::fork()); }).get(); }, status);
  EXPECT_EQ(status, -SIGABRT);
  EXPECT_NE(text.find("task \"forker\""), std::string::npos) << text;
  EXPECT_NE(text.find("may only exec or _exit"), std::string::npos) << text;
}

TEST_F(fork_rules, rule_20_so_does_one_at_blocking) {
  int status = 0;
  auto text = said_by_child_of(
      [](auto in_pipe) { return errand::async(errand::blocking, [=] { return in_pipe(::fork()); }).get(); }, status);
  EXPECT_EQ(status, -SIGABRT);
  EXPECT_NE(text.find("may only exec or _exit"), std::string::npos) << text;
  text = said_by_child_of(
      [](auto in_pipe) {
        return errand::async(errand::blocking, [in_pipe]() -> errand::task<pid_t> { co_return in_pipe(::fork()); }).get();
      },
      status);
  EXPECT_EQ(status, -SIGABRT);
  EXPECT_NE(text.find("may only exec or _exit"), std::string::npos) << text;
}

TEST_F(fork_rules, rule_20_so_does_one_that_ran_in_place_on_a_worker_and_a_coroutine) {
  int status = 0;
  auto text = said_by_child_of(
      [](auto in_pipe) {
        return errand::async([=] { return errand::async([=] { return in_pipe(::fork()); }).get(); }).get();
      },
      status);
  EXPECT_EQ(status, -SIGABRT);
  EXPECT_NE(text.find("may only exec or _exit"), std::string::npos) << text;
  text = said_by_child_of(
      [](auto in_pipe) {
        return errand::async([in_pipe]() -> errand::task<pid_t> {
                 auto before = errand::async([] { errand::this_task::sleep_for(1ms); });
                 co_await before;
                 co_return in_pipe(::fork());
               }).get();
      },
      status);
  EXPECT_EQ(status, -SIGABRT);
  EXPECT_NE(text.find("may only exec or _exit"), std::string::npos) << text;
}

}  // namespace
