// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Somebody who uses queues in all ways at once and at the wrong time: nothing is lost, counted wrongly or held back for ever. The same
// with cycles, run loops and events: hostile_cycles_test, hostile_loops_test, hostile_events_test.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>
#include <errand/sync.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

void must_not_run() { ADD_FAILURE() << "it has begun"; }

// ---- sync: its counts and its room -----------------------------------------------------------------------------------------

template <class Queue>
void expect_syncs_are_counted(Queue const& q) {
  errand::sync(q, [] {});
  auto const once = q.statistics();
  EXPECT_EQ(once.submitted, 1U) << "of an idle queue";
  EXPECT_EQ(once.begun, 1U);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&q] {
      for (int i = 0; i < 500; ++i) errand::sync(q, [] {});
    });
  for (auto& t : threads) t.join();
  auto const now = q.statistics();
  EXPECT_EQ(now.submitted, 2001U);
  EXPECT_EQ(now.begun, 2001U);
  EXPECT_EQ(now.waiting, 0U);
  EXPECT_EQ(now.running, 0U);
}

TEST(queues_survive, syncs_from_all_sides_and_count_each) {
  expect_syncs_are_counted(errand::serial_queue{});
  expect_syncs_are_counted(errand::concurrent_queue{});
  expect_syncs_are_counted(errand::concurrent_queue{{.width = 2}});
}

template <class Queue>
void expect_room_for(int count, Queue const& q) {
  auto const held = q.suspend();
  std::vector<errand::future<void>> all;
  for (int i = 0; i < count; ++i) EXPECT_NO_THROW(all.push_back(errand::async(q, [] {}))) << i;
  EXPECT_THROW(errand::async(q, must_not_run).get(), errand::queue_full);
  for (auto& f : all) f.request_stop();
}

TEST(queues_survive, syncs_that_had_to_wait_and_give_back_the_room_they_took) {
  errand::concurrent_queue table{{.name = "table", .bound = 3, .full = errand::when_full::refuse}};
  errand::serial_queue line{{.name = "line", .bound = 3, .full = errand::when_full::refuse}};
  auto const contend = [](auto const& q) {
    for (int round = 0; round < 5; ++round) {
      auto held = q.suspend();
      std::vector<std::thread> threads;
      for (int t = 0; t < 3; ++t) threads.emplace_back([&q] { errand::sync(q, [] {}); });
      while (q.statistics().waiting < 3) std::this_thread::yield();
      held.resume();
      for (auto& t : threads) t.join();
    }
    EXPECT_EQ(q.statistics().waiting, 0U);
    expect_room_for(3, q);
  };
  contend(table);
  contend(line);
}

TEST(queues_survive, syncs_that_are_stopped_while_they_wait) {
  errand::concurrent_queue table{{.name = "table", .bound = 3, .full = errand::when_full::refuse}};
  errand::serial_queue line{{.name = "line", .bound = 3, .full = errand::when_full::refuse}};
  auto const stop_those_that_wait = [](auto const& q, auto wait_in) {
    for (int round = 0; round < 20; ++round) {
      auto held = q.suspend();
      std::vector<errand::future<void>> tasks;
      for (int i = 0; i < 5; ++i) tasks.push_back(errand::async([&, i] { wait_in(i); }));
      if (round % 2 == 0)
        while (q.statistics().waiting < 5) std::this_thread::yield();
      for (auto& f : tasks) f.request_stop();
      for (auto& f : tasks) EXPECT_TRUE(f.result().stopped());
    }
    errand::sync(q, [] {});
    while (q.statistics().waiting != 0) std::this_thread::yield();
    EXPECT_EQ(q.statistics().running, 0U);
    expect_room_for(3, q);
  };
  stop_those_that_wait(table, [&](int i) {
    if (i % 2 == 0) errand::sync_barrier(table, must_not_run);
    else errand::sync(table, must_not_run);
  });
  stop_those_that_wait(line, [&](int) { errand::sync(line, must_not_run); });
}

TEST(queues_survive, syncs_from_queue_to_queue_on_one_worker_without_spares) {
  errand::pool one{{.workers = 1, .spares = 0}};
  std::vector<errand::serial_queue> queues;
  for (int i = 0; i < 5; ++i) queues.emplace_back("", one);
  std::atomic<int> count{0};
  errand::async(one, [&] {
    for (int round = 0; round < 50; ++round) {
      std::vector<errand::future<void>> items;
      for (std::size_t i = 0; i < queues.size(); ++i)
        items.push_back(errand::async(queues[i], [&, i] {
          ++count;
          if (i + 1 < queues.size()) errand::sync(queues[i + 1], [&] { ++count; });
        }));
      for (auto& f : items) f.get();
      for (auto const& q : queues) errand::sync(q, [&] { ++count; });
    }
  }).get();
  EXPECT_EQ(count, 50 * (5 + 4 + 5));
}

// ---- bounds ----------------------------------------------------------------------------------------------------------------

TEST(queues_survive, a_full_one_that_lets_in_what_cannot_wait_and_refuses_the_rest) {
  errand::serial_queue q{{.name = "full", .bound = 1, .full = errand::when_full::refuse}};
  auto held = q.suspend();
  auto item = errand::async(q, [] { return 1; });
  auto link = errand::async([] { return 2; }).then(q, [](int n) { return n; });
  auto timed = errand::after(q, 0ms, [] { return 3; });
  auto coroutine = errand::async([&]() -> errand::task<int> {
    co_await errand::resume_on(q);
    co_return 4;
  });
  while (q.statistics().waiting < 4) std::this_thread::yield();
  EXPECT_THROW(errand::async(q, must_not_run).get(), errand::queue_full);
  EXPECT_THROW(errand::async(q.at(errand::priority::high), must_not_run).get(), errand::queue_full);
  errand::task_group group;
  EXPECT_THROW(group.spawn(q, must_not_run), errand::queue_full);
  group.wait();
  held.resume();
  EXPECT_EQ(item.get() + link.get() + timed.get() + coroutine.get(), 10);
}

// ---- groups, shares and their time limits ----------------------------------------------------------------------------------

TEST(queues_survive, members_whose_time_is_over_in_a_queue_that_does_not_go_on) {
  errand::serial_queue q{"q"};
  {
    errand::task_group group{q};
    auto const held = q.suspend();
    group.spawn({.timeout = 1us}, must_not_run);
    EXPECT_THROW(group.wait(), errand::timed_out) << "it is suspended";
  }
  flag begun;
  errand::semaphore may_end;
  auto busy = errand::async(q, [&] {
    begun.raise();
    may_end.acquire();
  });
  begun.wait();
  errand::task_group group{q};
  for (int i = 0; i < 3; ++i) group.spawn({.timeout = 1us}, must_not_run);
  EXPECT_THROW(group.wait(), errand::timed_out) << "an item holds it";
  may_end.release();
  busy.get();
  EXPECT_THROW(group.wait(), errand::timed_out) << "each time";
}

TEST(queues_survive, the_loser_of_when_any_that_stands_in_a_suspended_one) {
  errand::serial_queue held{"held"}, runs{"runs"};
  for (int round = 0; round < 50; ++round) {
    auto guard = held.suspend();
    auto const first = errand::when_any(errand::async(held, [] {
                                          must_not_run();
                                          return 1;
                                        }),
                                        errand::async(runs, [] { return 2; }))
                           .get();
    EXPECT_EQ(first.index, 1U);
    EXPECT_EQ(first.value, 2);
  }
  errand::sync(held, [] {});
  while (held.statistics().waiting != 0) std::this_thread::yield();
}

TEST(queues_survive, a_shared_future_wanted_by_items_links_and_threads) {
  errand::serial_queue gives{"gives"}, takes{"takes"};
  for (int round = 0; round < 20; ++round) {
    auto const shared = errand::async(gives, [&] { return round; }).share();
    std::vector<errand::future<int>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(shared.then(takes, [](int n) { return n; }));
      all.push_back(errand::async(takes, [shared] { return shared.get(); }));
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) threads.emplace_back([&] { EXPECT_EQ(shared.get(), round); });
    for (auto& f : all) EXPECT_EQ(f.get(), round);
    for (auto& t : threads) t.join();
  }
}

// ---- targets ---------------------------------------------------------------------------------------------------------------

TEST(queues_survive, a_chain_of_a_hundred_targets_and_refuse_one_more) {
  std::vector<errand::serial_queue> chain(1);
  while (chain.size() < 101) chain.emplace_back("t", chain.back());
  auto const& top = chain.back();
  try {
    errand::serial_queue{"one more", top};
    ADD_FAILURE() << "nothing was thrown";
  } catch (std::invalid_argument const& e) {
    EXPECT_NE(std::string{e.what()}.find("100"), std::string::npos) << e.what();
  }
  EXPECT_THROW((errand::concurrent_queue{"one more", top}), std::invalid_argument);

  int count = 0;  // within the domain
  errand::task_group items;
  for (auto const& q : chain)
    items.spawn(q, [&] {
      ++count;
      EXPECT_TRUE(q.is_current());
      EXPECT_TRUE(chain.front().is_current());
      EXPECT_EQ(top.is_current(), q == top);
    });
  for (auto const& q : chain) errand::sync(q, [&] { ++count; });
  items.wait();
  errand::async(top, [&] {
    for (std::size_t i = 0; i < chain.size(); i += 20)
      EXPECT_THROW(errand::sync(chain[i], must_not_run), errand::deadlock) << i;
  }).get();
  EXPECT_FALSE(to_string(top).empty());
  EXPECT_EQ(errand::sync(top, [&] { return count; }), 202);

  auto const last = top;
  chain.clear();  // from the bottom or from the top: it stays as long as what stands on it
  EXPECT_EQ(errand::async(last, [&] { return ++count; }).get(), 203);
}

// ---- the child of a fork ---------------------------------------------------------------------------------------------------

TEST(queues_survive, a_fork_whose_child_is_refused_what_needs_those_of_the_parent) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  using errand_test::require;
  errand::serial_queue q{"parents"};
  errand::concurrent_queue c{"parents", q};
  static errand::queue_local<std::string> value;
  value.set(q, "parents");
  auto ended = errand::async(q, [] { return 1; });
  ended.wait();
  flag runs, go_on;
  auto busy = errand::every(errand::blocking, 1us, [&] {
    runs.raise();
    go_on.wait();
  });
  runs.wait();
  auto idle = errand::every(q, 24h, [] {});
  errand::data_source<errand::merge::add> sums;
  auto held = q.suspend();
  auto waiting = errand::async(q, [] {});
  auto timed = errand::after(24h, [] {});

  auto const in_child = errand_test::in_child([&] {
    auto const refused = [](char const* what, auto call) {
      try {
        call();
      } catch (std::logic_error const&) {
        return;
      }
      require(false, std::string{what} + " is refused");
    };
    auto const nothing = [] {};
    refused("after()", [&] { errand::after(q, 0ms, nothing).get(); });
    refused("every()", [&] { errand::every(q, 1ms, nothing).wait(); });
    refused("on()", [&] { errand::on(q, errand::timer_source{1ms}, nothing).wait(); });
    refused("a priority", [&] { errand::async(q.at(errand::priority::high), nothing).get(); });
    refused("a child queue", [&] { errand::async_barrier(c, nothing).get(); });
    refused("sync() of a child queue", [&] { errand::sync(c, nothing); });
    refused("then() of a task of the child's", [&] { errand::async(nothing).then(q, nothing).get(); });
    refused("then() onto the queue of an item of the parent's", [&] { std::move(ended).then([](int) {}).get(); });
    refused("resume_on()", [&] { errand::async([&]() -> errand::task<void> { co_await errand::resume_on(q); }).get(); });
    refused("spawn()", [&] {
      errand::task_group group;
      group.spawn(q, nothing);
      group.wait();
    });
    refused("set()", [&] { value.set(q, "childs"); });
    refused("assert_current()", [&] { q.assert_current(); });
    refused("next()", [&] { sums.next(); });
    refused("try_next()", [&] { static_cast<void>(sums.try_next()); });
    refused("get() of what waited", [&] { waiting.get(); });
    refused("get() of what was to come", [&] { timed.get(); });
    refused("wait() of a handler", [&] { idle.wait(); });

    // These do nothing, and end.
    held.resume();
    busy.cancel();
    idle.cancel();
    idle.rearm(1ms);
    sums.add(1);
    sums.cancel();
    require(!busy.active() && !idle.active(), "a handler that was cancelled is not active");
    { auto const again = q.suspend(); }
    require(q.name() == "parents" && !q.is_current() && !to_string(q).empty(), "it can still be described");
    static_cast<void>(q.statistics());
    require(*value.of(q) == "parents", "it has its value");
    require(errand::async(errand::serial_queue{"childs"}, [] { return 7; }).get() == 7, "a queue of the child's own");
  });
  EXPECT_EQ(in_child, 0);
  go_on.raise();
  held.resume();
  waiting.get();
}

}  // namespace
