// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// after() and every(): when they come, in which order, how they end. Times are only compared with what must not be less.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using errand_test::flag;

TEST(after, comes_not_before_its_time_and_gives_its_value) {
  auto const start = clock::now();
  EXPECT_EQ(errand::after(20ms, [](int a, int b) { return a + b; }, 2, 3).get(), 5);
  EXPECT_GE(clock::now() - start, 20ms);
}

TEST(after, runs_as_an_item_of_its_queue) {
  errand::serial_queue q{"q"};
  EXPECT_TRUE(errand::after(q, 1ms, [&] { return q.is_current(); }).get());
  EXPECT_TRUE(errand::after(q, clock::now() + 1ms, [&] { return q.is_current(); }).get());
}

TEST(after, large_spans_never_end_and_past_points_are_due_at_once) {
  using std::chrono::system_clock;
  std::vector<errand::future<void>> never;
  never.push_back(errand::after(std::chrono::hours::max(), [] {}));
  never.push_back(errand::after(std::chrono::seconds::max(), [] {}));
  never.push_back(errand::after(std::chrono::nanoseconds::max(), [] {}));
  never.push_back(errand::after(std::chrono::nanoseconds::max() - 1ns, [] {}));
  never.push_back(errand::after(std::chrono::duration<double>{1e300}, [] {}));
  never.push_back(errand::after(clock::time_point::max(), [] {}));
  never.push_back(errand::after(system_clock::time_point::max(), [] {}));
  errand::after(0s, [] {}).get();
  errand::after(-1s, [] {}).get();
  errand::after(std::chrono::hours::min(), [] {}).get();
  errand::after(clock::now() - 1h, [] {}).get();
  errand::after(clock::time_point::min(), [] {}).get();
  errand::after(system_clock::now() - 1h, [] {}).get();
  for (auto& f : never) EXPECT_FALSE(f.ready());
  for (auto& f : never) f.request_stop();
  for (auto& f : never) EXPECT_TRUE(f.result().stopped());
}

TEST(after, shorter_spans_come_first) {
  errand::serial_queue q;
  std::vector<int> order;
  auto late = errand::after(q, 40ms, [&] { order.push_back(2); });
  auto soon = errand::after(q, 1ms, [&] { order.push_back(1); });
  late.get();
  soon.get();
  EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST(after, takes_no_place_in_a_queue_before_its_time) {
  errand::serial_queue q{errand::queue_options{.bound = 1, .full = errand::when_full::refuse}};
  auto never = errand::after(q, std::chrono::hours::max(), [] {});
  EXPECT_EQ(q.statistics().waiting, 0U);
  EXPECT_EQ(errand::async(q, [] { return 1; }).get(), 1);
  never.request_stop();
  EXPECT_THROW(never.get(), errand::operation_cancelled);
}

TEST(after, a_stop_before_its_time_is_a_stop_at_once) {
  std::atomic<bool> ran{false};
  auto f = errand::after(24h, [&] { ran = true; });
  EXPECT_FALSE(f.ready());
  f.request_stop();
  EXPECT_THROW(f.get(), errand::operation_cancelled);
  EXPECT_FALSE(ran);
  { auto dropped = errand::after(24h, [&] { ran = true; }); }
  EXPECT_FALSE(ran);
}

TEST(after, a_stop_of_the_task_that_started_it_reaches_it) {
  flag begun;
  auto outer = errand::async([&] {
    auto inner = errand::after(24h, [] {});
    begun.raise();
    inner.get();
  });
  begun.wait();
  outer.request_stop();
  EXPECT_THROW(outer.get(), errand::operation_cancelled);
}

TEST(after, takes_what_async_takes) {
  auto moved = std::make_unique<int>(7);
  EXPECT_EQ(*errand::after(1ms, [](std::unique_ptr<int> p) { return p; }, std::move(moved)).get(), 7);
  EXPECT_FALSE(errand::after(1ms, [](std::stop_token t) { return t.stop_requested(); }).get());
  auto coroutine = [](int n) -> errand::task<int> {
    co_await errand::sleep_for(1ms);
    co_return n + 1;
  };
  EXPECT_EQ(errand::after(1ms, coroutine, 1).get(), 2);
  EXPECT_EQ(errand::after(1ms, coroutine(4)).get(), 5);
  EXPECT_THROW(errand::after(1ms, [] { throw std::runtime_error{"no"}; }).get(), std::runtime_error);
}

TEST(after, says_who_started_it) {
  auto f = errand::after(1ms, [] { return std::string{}; });
  errand::place const here = errand::inplace;
  EXPECT_THROW(static_cast<void>(errand::after(here, 1ms, [] {})), std::invalid_argument);
  f.get();
}

TEST(after, thousands_at_a_time_all_come) {
  std::atomic<int> count{0};
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 5000; ++i) all.push_back(errand::after(std::chrono::microseconds{i % 97 * 10}, [&] { ++count; }));
  for (auto& f : all) f.get();
  EXPECT_EQ(count, 5000);
}

TEST(every, ticks_come_at_multiples_of_the_period) {
  errand::serial_queue q;
  auto const start = clock::now();
  std::vector<clock::duration> at;
  std::uint64_t sum = 0;
  errand::ticker t = errand::every(q, 2ms, [&](errand::tick now) {
    sum += now.count;
    at.push_back(clock::now() - start);
    if (at.size() == 10) throw errand::operation_cancelled{};
  });
  t.wait();
  EXPECT_FALSE(t.active());
  ASSERT_EQ(at.size(), 10U);
  for (std::size_t i = 0; i < at.size(); ++i) EXPECT_GE(at[i], (i + 1) * 2ms);
  EXPECT_GE(at.back(), sum * 2ms) << "no tick is counted before its time";
}

// Whatever the delays, and however long somebody looks away: what has passed is what the counts say, to a period.
TEST(timer_source, counts_do_not_drift) {
  constexpr auto period = 70us;
  auto const before = clock::now();
  errand::timer_source ticks{period};
  auto const after = clock::now();
  std::int64_t sum = 0;
  for (int i = 0; i < 300; ++i) {
    if (i % 50 == 49) errand::this_task::sleep_for(3ms);  // ticks are missed, and counted
    auto const asked = clock::now();
    sum += static_cast<std::int64_t>(ticks.next()->count);
    EXPECT_LE(sum, (clock::now() - before) / period);
    EXPECT_GE(sum, (asked - after) / period);
  }
}

TEST(every, ticks_are_never_counted_before_their_time) {
  errand::serial_queue q;
  auto const start = clock::now();
  std::uint64_t sum = 0;
  std::uint64_t calls = 0;
  clock::duration last{};
  auto t = errand::every(q, 100us, [&](errand::tick now) {
    auto const before = clock::now() - start;
    sum += now.count;
    ++calls;
    last = before;
    if (calls == 200) throw errand::operation_cancelled{};
  });
  t.wait();
  EXPECT_LE(sum, static_cast<std::uint64_t>(last / 100us));
  EXPECT_GE(sum, calls);
}

TEST(every, never_two_at_a_time_and_missed_ticks_coalesce) {
  std::atomic<int> inside{0};
  std::atomic<bool> twice{false};
  std::uint64_t second = 0;
  int calls = 0;
  auto t = errand::every(1ms, [&](errand::tick now) {
    if (++inside != 1) twice = true;
    if (++calls == 1) errand::this_task::sleep_for(20ms);
    if (calls == 2) second = now.count;
    --inside;
    if (calls == 3) throw errand::operation_cancelled{};
  });
  t.wait();
  EXPECT_FALSE(twice);
  EXPECT_GE(second, 19U);
}

TEST(every, ticks_missed_while_suspended_coalesce) {
  errand::serial_queue q;
  auto guard = q.suspend();
  std::atomic<std::uint64_t> first{0};
  auto t = errand::every(q, 1ms, [&](errand::tick now) {
    first = now.count;
    throw errand::operation_cancelled{};
  });
  errand::this_task::sleep_for(20ms);
  EXPECT_EQ(first, 0U);
  EXPECT_LE(q.statistics().submitted, 1U) << "a suspended queue gathers no ticks";
  guard.resume();
  t.wait();
  EXPECT_GE(first, 19U);
}

TEST(every, a_timer_of_100_ns_on_a_suspended_queue_starves_nobody) {
  errand::serial_queue q;
  auto guard = q.suspend();
  std::atomic<int> calls{0};
  auto t = errand::every(q, 100ns, [&] { ++calls; });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(errand::async([i] { return i; }).get(), i);
  EXPECT_EQ(calls, 0);
  EXPECT_LE(q.statistics().submitted, 1U);
  t.cancel();
  guard.resume();
  EXPECT_EQ(errand::async(q, [&] { return calls.load(); }).get(), 0);
}

TEST(every, a_timer_of_100_ns_lets_others_have_their_turn) {
  std::atomic<int> calls{0};
  auto t = errand::every(100ns, [&] { ++calls; });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(errand::async([i] { return i; }).get(), i);
  while (calls < 10) errand::this_task::yield();
  t.cancel();
  int const then = calls;
  errand::this_task::sleep_for(1ms);
  EXPECT_EQ(calls, then);
}

TEST(every, cancel_waits_for_a_tick_that_runs) {
  flag begun;
  std::atomic<bool> ended{false};
  auto t = errand::every(1ms, [&] {
    begun.raise();
    errand::this_task::sleep_for(5ms);
    ended = true;
  });
  begun.wait();
  t.cancel();
  EXPECT_TRUE(ended);
}

TEST(every, cancel_in_a_tick_does_not_wait_for_it) {
  flag made;
  std::atomic<int> calls{0};
  std::unique_ptr<errand::ticker> t;
  t = std::make_unique<errand::ticker>(errand::every(1ms, [&] {
    made.wait_yielding();
    ++calls;
    t->cancel();
    EXPECT_FALSE(t->active());
  }));
  made.raise();
  t->wait();
  EXPECT_EQ(calls, 1);
}

TEST(every, what_it_captured_is_gone_after_cancel) {
  auto held = std::make_shared<int>(1);
  std::weak_ptr<int> const seen = held;
  errand::serial_queue q;
  auto guard = q.suspend();
  auto t = errand::every(q, 100us, [held = std::move(held)] { static_cast<void>(held); });
  while (q.statistics().submitted == 0) errand::this_task::yield();
  t.cancel();
  EXPECT_TRUE(seen.expired()) << "although a tick waits in the suspended queue";
}

TEST(every, keeps_its_queue_as_long_as_it_ticks_and_no_longer) {
  static std::atomic<int> values{0};
  struct counted {
    counted() { ++values; }
    counted(counted const&) { ++values; }
    ~counted() { --values; }
  };
  static errand::queue_local<counted> const local_value{};
  std::atomic<int> calls{0};
  auto t = [&] {
    errand::serial_queue q;
    const_cast<errand::queue_local<counted>&>(local_value).set(q, counted{});
    return errand::every(q, 100us, [&] {
      EXPECT_NE(local_value.get(), nullptr);
      ++calls;
    });
  }();
  while (calls < 50) errand::this_task::yield();
  EXPECT_EQ(values, 1) << "the queue has no handle any more, but its ticker";
  t.cancel();
  while (values != 0) errand::this_task::yield();  // the last item's worker lets go of it
}

TEST(every, an_error_ends_it_and_is_thrown_by_wait) {
  int calls = 0;
  auto t = errand::every(1ms, [&] {
    if (++calls == 3) throw std::runtime_error{"the third"};
  });
  EXPECT_THROW(t.wait(), std::runtime_error);
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(t.active());
}

std::atomic<int> reported{0};
TEST(every, an_error_that_nobody_took_is_reported_once) {
  reported = 0;
  auto const before = errand::set_unobserved_error_handler([](errand::unobserved_error const& e) {
    EXPECT_NE(e.from.line(), 0U);
    ++reported;
  });
  {
    auto t = errand::every(1ms, [] { throw std::runtime_error{"nobody takes me"}; });
    while (t.active()) errand::this_task::yield();
  }
  while (reported == 0) errand::this_task::yield();  // by whoever lets go of it last
  errand::set_unobserved_error_handler(before);
  EXPECT_EQ(reported, 1);
}

TEST(every, waiting_for_itself_is_a_deadlock) {
  flag made;
  std::unique_ptr<errand::ticker> t;
  t = std::make_unique<errand::ticker>(errand::every(1ms, [&] {
    made.wait_yielding();
    t->wait();
  }));
  made.raise();
  EXPECT_THROW(t->wait(), errand::deadlock);
}

TEST(every, rearming_an_active_timer_replaces_the_tick_to_come) {
  std::atomic<int> calls{0};
  auto t = errand::every(24h, [&] { ++calls; });
  t.rearm(1ms);
  while (calls < 3) errand::this_task::yield();
  t.rearm(24h);
  int const then = calls;
  errand::this_task::sleep_for(10ms);
  EXPECT_LE(calls, then + 1) << "one may have been on its way";
  for (int i = 0; i < 1000; ++i) t.rearm(std::chrono::nanoseconds{100 + i});
  while (calls <= then + 1) errand::this_task::yield();
}

TEST(every, large_periods_do_not_overflow_however_they_are_set) {
  auto t = errand::every(24h, [] { FAIL(); });
  t.rearm(std::chrono::hours::max());
  t.rearm(std::chrono::nanoseconds::max());
  EXPECT_TRUE(t.active());
  // The first is due at once, the second never.
  errand::timer_source once{std::chrono::nanoseconds::max(), clock::now() - 1s};
  EXPECT_EQ(once.next()->count, 1U);
  EXPECT_FALSE(once.try_next());
  errand::timer_source past{1ns, clock::time_point::min()};
  EXPECT_GE(past.next()->count, 1U);
  EXPECT_GE(past.next()->count, 1U) << "and so it goes on";
}

TEST(every, large_periods_do_not_overflow) {
  auto a = errand::every(std::chrono::hours::max(), [] { FAIL(); });
  auto b = errand::every(std::chrono::nanoseconds::max(), [] { FAIL(); });
  auto c = errand::every(std::chrono::nanoseconds::max() / 2, [] { FAIL(); });
  EXPECT_TRUE(a.active() && b.active() && c.active());
  EXPECT_THROW(static_cast<void>(errand::every(0s, [] {})), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(errand::every(-1s, [] {})), std::invalid_argument);
}

TEST(timer_source, gives_ticks_to_a_loop_in_a_task) {
  auto sum = errand::async([] {
    errand::timer_source ticks{1ms};
    std::uint64_t all = 0;
    for (int i = 0; i < 5; ++i) all += ticks.next()->count;
    return all;
  });
  EXPECT_GE(sum.get(), 5U);
}

TEST(timer_source, gives_ticks_to_a_thread_and_its_first_when_said) {
  auto const start = clock::now();
  errand::timer_source ticks{24h, start + 2ms};
  EXPECT_FALSE(ticks.try_next());
  EXPECT_EQ(ticks.next()->count, 1U);
  EXPECT_GE(clock::now() - start, 2ms);
}

errand::task<int> count_ticks(errand::timer_source& ticks) {
  int count = 0;
  while (auto const t = co_await ticks)
    if (++count == 5) ticks.cancel();
  co_return count;
}
TEST(timer_source, gives_ticks_to_a_coroutine_up_to_its_cancellation) {
  errand::timer_source ticks{1ms};
  EXPECT_EQ(errand::async(count_ticks(ticks)).get(), 5);
  EXPECT_FALSE(ticks.next());
}

TEST(timer_source, cancel_ends_the_wait_of_a_loop) {
  errand::timer_source ticks{24h};
  auto waits = errand::async([&] { return ticks.next().has_value(); });
  auto cancels = errand::after(1ms, [&] { ticks.cancel(); });
  EXPECT_FALSE(waits.get());
  cancels.get();
}

TEST(timer_source, a_stop_ends_the_wait_of_a_loop) {
  errand::timer_source ticks{24h};
  flag begun;
  auto waits = errand::async([&] {
    begun.raise();
    static_cast<void>(ticks.next());
  });
  begun.wait();
  waits.request_stop();
  EXPECT_THROW(waits.get(), errand::operation_cancelled);
  auto again = errand::async([](errand::timer_source& t) -> errand::task<void> { co_await t; }, std::ref(ticks));
  again.request_stop();
  EXPECT_THROW(again.get(), errand::operation_cancelled);
  ticks.rearm(1ms);
  EXPECT_TRUE(ticks.next());
}

TEST(timer_source, one_at_a_time_may_wait_for_it) {
  errand::timer_source ticks{24h};
  std::atomic<int> number{0};
  bool got_one = true;
  std::thread waits{[&] {
    number = errand_test::thread_number();
    got_one = ticks.next().has_value();
  }};
  while (number == 0) std::this_thread::yield();
  errand_test::wait_until_asleep(number);
  EXPECT_THROW(static_cast<void>(ticks.next()), std::logic_error);
  EXPECT_THROW(static_cast<void>(errand::on(errand::threads, std::move(ticks), [] {})), std::logic_error);
  ticks.cancel();  // NOLINT(bugprone-use-after-move): it was refused
  waits.join();
  EXPECT_FALSE(got_one);
}

TEST(timer_source, is_taken_over_by_its_handler) {
  errand::timer_source ticks{1ms};
  std::atomic<int> calls{0};
  auto h = errand::on(errand::threads, std::move(ticks), [&] { ++calls; });
  EXPECT_THROW(static_cast<void>(ticks.next()), std::logic_error);  // NOLINT(bugprone-use-after-move)
  while (calls < 2) errand::this_task::yield();
  h.cancel();
  h.cancel();
  h.wait();
}

TEST(timer_source, many_are_made_and_cancelled_while_they_tick) {
  errand::concurrent_queue q;
  std::atomic<std::uint64_t> calls{0};
  errand::for_each_index(200, [&](std::size_t i) {
    auto t = errand::every(q, std::chrono::nanoseconds{100 + i * 37 % 5000}, [&] { ++calls; });
    for (std::size_t n = 0; n < i % 7; ++n) errand::this_task::yield();
    if (i % 3 == 0) t.rearm(1us);
    t.cancel();
  });
  auto const then = calls.load();
  EXPECT_EQ(errand::async_barrier(q, [&] { return calls.load(); }).get(), then);
}

}  // namespace
