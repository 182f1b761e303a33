// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stock of blocking threads by itself, with limits and idle times of the tests' own: how it grows, queues, shrinks, and
// what it does where no thread can be started.
#include "sched/blocking.hpp"

#include "base/futex.hpp"

#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

constexpr std::int64_t for_ever = 3'600'000'000'000;

// A task for these threads, as start_on() would make it for the place `blocking`.
template <class F>
future<void> run_on(blocking_threads& threads, F f) {
  auto* const r = make_task_record(std::source_location::current(), std::move(f));
  r->state_.store(record_state::handle | record_state::queued);
  threads.run(*r);
  return future_access::make<void>(r);
}

struct flag {
  std::atomic<bool> raised{false};
  void raise() {
    raised = true;
    raised.notify_all();
  }
  void wait() { raised.wait(false); }
};

void until(auto condition) {
  while (!condition()) std::this_thread::yield();
}

TEST(blocking_threads, start_no_thread_before_the_first_task_and_keep_one_that_is_idle) {
  blocking_threads threads{{.idle_limit = for_ever}};
  EXPECT_EQ(threads.now().threads, 0U);
  std::thread::id first;
  std::thread::id second;
  run_on(threads, [&] { first = std::this_thread::get_id(); }).get();
  until([&] { return threads.now().idle == 1; });
  run_on(threads, [&] { second = std::this_thread::get_id(); }).get();
  EXPECT_EQ(first, second);
  EXPECT_EQ(threads.now().threads, 1U);
}

TEST(blocking_threads, grow_up_to_the_limit_and_queue_the_rest_in_order) {
  constexpr unsigned most = 4;
  blocking_threads threads{{.most = most, .idle_limit = for_ever}};
  flag let_go;
  std::atomic<unsigned> running{0};
  std::atomic<unsigned> highest{0};
  std::vector<future<void>> all;
  for (unsigned i = 0; i < 50; ++i)
    all.push_back(run_on(threads, [&] {
      auto const at_once = ++running;
      for (auto seen = highest.load(); seen < at_once && !highest.compare_exchange_weak(seen, at_once);) {
      }
      let_go.wait();
      --running;
    }));
  until([&] { return running == most; });
  EXPECT_EQ(threads.now().threads, most);
  EXPECT_EQ(threads.now().queued, 50 - most);
  let_go.raise();
  for (auto& f : all) f.get();
  EXPECT_EQ(highest, most);
}

TEST(blocking_threads, go_away_when_they_were_idle_for_long_enough) {
  blocking_threads threads{{.idle_limit = 1}};
  for (int round = 0; round < 20; ++round) {
    std::vector<future<void>> all;
    for (int i = 0; i < 5; ++i) all.push_back(run_on(threads, [] {}));
    for (auto& f : all) f.get();
    until([&] { return threads.now().threads == 0; });
  }
}

TEST(blocking_threads, given_a_task_in_the_moment_of_going_away_run_it) {
  blocking_threads threads{{.idle_limit = 1'000}};
  std::atomic<int> ran{0};
  for (int i = 0; i < 2000; ++i) {
    run_on(threads, [&] { ++ran; }).get();
    if (i % 3 == 0)
      for (auto const end = detail::now() + 1'000; detail::now() < end;) cpu_relax();
  }
  EXPECT_EQ(ran, 2000);
}

TEST(blocking_threads, a_task_that_was_stopped_while_it_queued_is_skipped) {
  blocking_threads threads{{.most = 1, .idle_limit = for_ever}};
  flag let_go;
  bool ran = false;
  auto holds = run_on(threads, [&] { let_go.wait(); });
  auto skipped = run_on(threads, [&] { ran = true; });
  auto last = run_on(threads, [] {});
  skipped.request_stop();
  EXPECT_TRUE(skipped.result().stopped());  // needs no thread
  let_go.raise();
  last.get();
  EXPECT_FALSE(ran);
}

void refuse() { throw std::system_error{std::make_error_code(std::errc::resource_unavailable_try_again)}; }

TEST(blocking_threads, where_none_can_be_started_the_task_fails_and_says_why) {
  blocking_threads threads{{.before_start = refuse}};
  auto f = run_on(threads, [] {});
  try {
    f.get();
    FAIL();
  } catch (std::system_error const& e) {
    EXPECT_EQ(e.code(), std::errc::resource_unavailable_try_again);
    EXPECT_NE(std::string{e.what()}.find("could not start a thread for 1 blocking task"), std::string::npos);
  }
  EXPECT_EQ(threads.now().threads, 0U);
}

TEST(blocking_threads, where_no_further_one_can_be_started_tasks_wait_for_those_there_are) {
  static std::atomic<int> left;
  left = 2;
  blocking_threads threads{{.idle_limit = for_ever, .before_start = [] {
                              if (left-- <= 0) refuse();
                            }}};
  flag let_go;
  std::atomic<int> running{0};
  std::atomic<int> ended{0};
  std::vector<future<void>> all;
  for (int i = 0; i < 10; ++i)
    all.push_back(run_on(threads, [&] {
      ++running;
      let_go.wait();
      ++ended;
    }));
  until([&] { return running == 2; });
  EXPECT_EQ(threads.now().queued, 8U);
  let_go.raise();
  for (auto& f : all) f.get();
  EXPECT_EQ(ended, 10);
}

}  // namespace
}  // namespace errand::detail
