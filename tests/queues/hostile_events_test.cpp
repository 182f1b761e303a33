// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Somebody who cancels, drops, replaces and rearms handlers at the worst time and from all sides:
// no call begins after its handler has ended, nothing that was captured stays, no datum is lost or told twice.
#include <gtest/gtest.h>
#include <errand/queue.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

/// Calls `end` when the last copy is gone.
template <class End>
std::shared_ptr<void> at_end(End end) {
  return {nullptr, [end](void*) { end(); }};
}

// ---- the end of a handler --------------------------------------------------------------------------------------------------

TEST(events_survive, being_cancelled_by_several_who_all_wait_until_what_was_captured_is_gone) {
  for (int round = 0; round < 30; ++round) {
    std::atomic<bool> inside{false}, gone{false};
    auto goes_slowly = [&] {
      for (int i = 0; i < 10; ++i) std::this_thread::yield();
      gone = true;
    };
    auto t = errand::every(1us, [&, captured = at_end(goes_slowly)] {
      inside = true;
      std::this_thread::yield();
      inside = false;
    });
    auto const cancel = [&] {
      t.cancel();
      EXPECT_FALSE(inside);
      EXPECT_TRUE(gone);
      EXPECT_FALSE(t.active());
    };
    std::thread one{cancel}, two{cancel};
    auto three = errand::async(cancel);
    cancel();
    three.get();
    one.join();
    two.join();
    t.wait();
  }
}

TEST(events_survive, a_handler_that_is_dropped_in_its_own_call) {
  errand::serial_queue q;
  for (int round = 0; round < 100; ++round) {
    errand::data_source<errand::merge::add> sums;
    auto const add = sums.adder();
    std::optional<errand::handler> h;
    flag made, gone;
    int calls = 0;  // within the queue
    h = errand::on(q, std::move(sums), [&, captured = at_end([&] { gone.raise(); })] {
      made.wait();
      ++calls;
      h.reset();
      EXPECT_FALSE(gone.is_raised()) << "its function is there as long as it runs";
    });
    add(1);  // before: it is good as long as the handler
    add(1);
    made.raise();
    gone.wait();
    EXPECT_EQ(errand::sync(q, [&] { return calls; }), 1);
  }
}

TEST(events_survive, a_ticker_that_is_replaced_in_its_own_tick) {
  errand::serial_queue q;
  for (int round = 0; round < 20; ++round) {
    std::optional<errand::ticker> t;
    flag made;
    std::atomic<int> first{0}, second{0};
    t = errand::every(q, 1us, [&] {
      made.wait();
      ++first;
      *t = errand::every(q, 1us, [&] { ++second; });
    });
    made.raise();
    while (second < 2) std::this_thread::yield();
    EXPECT_EQ(first, 1);
    t->cancel();
    int const then = second;
    EXPECT_EQ(errand::sync(q, [&] { return second.load(); }), then);
  }
}

TEST(events_survive, being_cancelled_by_an_item_ahead_of_a_call_that_waits) {
  errand::serial_queue base;
  errand::serial_queue child{"", base};
  for (int round = 0; round < 100; ++round) {
    errand::data_source<errand::merge::add> sums;
    auto const add = sums.adder();
    std::atomic<int> calls{0};
    auto h = errand::on(child, std::move(sums), [&] { ++calls; });
    errand::async(round % 2 == 0 ? base : child, [&] {
      add(1);
      h.cancel();  // by who holds the queue: it waits for nobody
    }).get();
    add(1);
    EXPECT_EQ(errand::sync(child, [&] { return calls.load(); }), 0);

    auto t = errand::every(child, 1ns, [&] { ++calls; });
    int const then = errand::sync(round % 2 == 0 ? child : base, [&] {
      t.cancel();
      return calls.load();
    });
    EXPECT_EQ(errand::sync(child, [&] { return calls.load(); }), then);
  }
}

// ---- timers ----------------------------------------------------------------------------------------------------------------

TEST(events_survive, timers_of_one_nanosecond_that_never_count_ahead_of_the_clock) {
  using clock = std::chrono::steady_clock;
  auto const nanoseconds_since = [](clock::time_point start) {
    return static_cast<std::uint64_t>((clock::now() - start) / 1ns);
  };
  errand::serial_queue q;
  auto const start = clock::now();
  std::uint64_t sum = 0, calls = 0;
  auto t = errand::every(q, 1ns, [&](errand::tick now) {
    EXPECT_GE(now.count, 1U);
    sum += now.count;
    EXPECT_LE(sum, nanoseconds_since(start));
    if (++calls == 100) throw errand::operation_cancelled{};
  });
  t.wait();
  EXPECT_GE(sum, 100U);

  errand::timer_source ticks{24h};
  auto const rearmed = clock::now();
  ticks.rearm(1ns);
  sum = 0;
  for (int i = 0; i < 100; ++i) {
    sum += ticks.next()->count;
    EXPECT_LE(sum, nanoseconds_since(rearmed));
  }
}

TEST(events_survive, a_timer_that_is_rearmed_from_all_sides_at_once) {
  errand::serial_queue q;
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> calls{0};
    std::optional<errand::ticker> t;
    flag made;
    t = errand::every(q, 1us, [&] {
      made.wait();
      t->rearm(1us * (1 + ++calls % 5));
    });
    made.raise();
    std::thread often{[&] {
      for (int i = 0; i < 50; ++i) t->rearm(1ns);
    }};
    std::thread seldom{[&] {
      for (int i = 0; i < 50; ++i) t->rearm(24h);
    }};
    often.join();
    seldom.join();
    t->rearm(1us);
    for (int const before = calls; calls < before + 3;) std::this_thread::yield();
    t->cancel();
    t->rearm(1us);
    int const then = calls;
    EXPECT_EQ(errand::sync(q, [&] { return calls.load(); }), then) << "it has ended";
  }
}

// ---- sources ---------------------------------------------------------------------------------------------------------------

TEST(events_survive, signals_named_in_any_order_and_twice) {
  errand::signal_source source{SIGUSR2, SIGUSR1, SIGUSR2, SIGUSR1};
  for (int round = 0; round < 20; ++round) {
    ::raise(SIGUSR2);
    ::raise(SIGUSR1);
    ::raise(SIGUSR1);
    auto const first = source.try_next();
    auto const second = source.try_next();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->signal, SIGUSR1) << "the lowest comes first";
    EXPECT_EQ(first->count, 2U);
    EXPECT_EQ(second->signal, SIGUSR2);
    EXPECT_EQ(second->count, 1U);
    EXPECT_FALSE(source.try_next()) << "each is told once";
  }
}

// Looks for an event until it is told that somebody else waits for one: it is his.
template <class Source>
void look_until_refused(Source& source) {
  for (;;) {
    try {
      EXPECT_FALSE(source.try_next());
    } catch (std::logic_error const&) {
      return;
    }
    std::this_thread::yield();
  }
}

TEST(events_survive, two_who_want_the_events_of_one_source) {
  errand::data_source<errand::merge::add> sums;
  auto task = errand::async([&] { return *sums.next(); });
  look_until_refused(sums);
  EXPECT_THROW(sums.next(), std::logic_error);
  sums.add(3);
  EXPECT_EQ(task.get(), 3U);

  auto coroutine = errand::async([&]() -> errand::task<std::uint64_t> { co_return *co_await sums; });
  look_until_refused(sums);
  sums.add(4);
  EXPECT_EQ(coroutine.get(), 4U);

  errand::timer_source ticks{24h};
  std::thread thread{[&] { EXPECT_FALSE(ticks.next()); }};
  look_until_refused(ticks);
  ticks.cancel();
  thread.join();
  EXPECT_FALSE(ticks.try_next());
}

TEST(events_survive, stops_of_who_waits_for_data_and_lose_none) {
  for (int round = 0; round < 100; ++round) {
    errand::data_source<errand::merge::add> sums;
    std::uint64_t got = 0;
    auto reads = round % 2 == 0 ? errand::async([&] {
      for (;;) got += *sums.next();
    })
                                : errand::async([&]() -> errand::task<void> {
                                    for (;;) got += *co_await sums;
                                  });
    std::thread adds{[&] {
      for (int i = 0; i < 20; ++i) sums.add(1);
    }};
    reads.request_stop();
    EXPECT_TRUE(reads.result().stopped());
    adds.join();
    got += sums.try_next().value_or(0);
    EXPECT_EQ(got, 20U);
  }
}

TEST(events_survive, values_that_put_others_as_they_go) {
  using value = std::shared_ptr<void>;
  std::atomic<int> gone{0};
  {
    errand::data_source<errand::merge::replace<value>> values;
    auto const put = values.putter();
    put(at_end([&] {
      ++gone;
      put(at_end([&] { ++gone; }));
    }));
    put(nullptr);  // the first one goes
    EXPECT_GE(gone, 1);
    EXPECT_TRUE(values.next());
    values.cancel();
    put(at_end([&] { ++gone; }));
  }
  EXPECT_EQ(gone, 3);
}

TEST(events_survive, those_who_add_when_the_handler_has_ended) {
  errand::serial_queue q{"q"};
  std::uint64_t sum = 0;
  std::optional<decltype(std::declval<errand::data_source<errand::merge::add>&>().adder())> add;
  std::optional<decltype(std::declval<errand::data_source<errand::merge::replace<std::string>>&>().putter())> put;
  {
    errand::data_source<errand::merge::add> sums;
    errand::data_source<errand::merge::replace<std::string>> names;
    add.emplace(sums.adder());
    put.emplace(names.putter());
    auto const h = errand::on(q, std::move(sums), [&](std::uint64_t n) { sum += n; });
    (*add)(3);
    while (errand::sync(q, [&] { return sum; }) != 3) std::this_thread::yield();
  }
  (*add)(4);
  auto const copy = *add;
  add.reset();
  copy(5);
  (*put)("a value that is longer than what a string keeps in itself");
  EXPECT_EQ(errand::sync(q, [&] { return sum; }), 3U);
}

TEST(events_survive, a_full_queue_that_refuses_items_and_takes_events) {
  errand::serial_queue q{{.name = "full", .bound = 1, .full = errand::when_full::refuse}};
  auto held = q.suspend();
  auto item = errand::async(q, [] {});
  errand::data_source<errand::merge::add> sums;
  auto const add = sums.adder();
  std::atomic<std::uint64_t> sum{0};
  auto const h = errand::on(q, std::move(sums), [&](std::uint64_t n) { sum += n; });
  auto const ticks = errand::every(q, 1us, [] {});
  add(1);
  add(2);
  EXPECT_THROW(errand::async(q, [] {}).get(), errand::queue_full);
  EXPECT_EQ(sum, 0U);
  held.resume();
  item.get();
  while (sum < 3) std::this_thread::yield();
  EXPECT_EQ(sum, 3U);
}

}  // namespace
