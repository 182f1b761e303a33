// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Run loops and the main queue, which is this test's own thread.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>

#include <poll.h>
#include <pthread.h>
#include <atomic>
#include <csignal>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand::main_queue;
using errand_test::flag;
using errand_test::thread_number;

TEST(main_queue, runs_its_items_on_the_main_thread) {
  int const main = thread_number();
  auto f = errand::async([] { return 20; }).then(main_queue(), [&](int n) {
    EXPECT_EQ(thread_number(), main);
    EXPECT_TRUE(main_queue().is_current());
    return n + 1;
  });
  EXPECT_EQ(main_queue().run_until(f), 21);
  EXPECT_FALSE(f.valid());
}

TEST(main_queue, main_to_pool_to_main_many_times) {
  for (int i = 0; i < 2000; ++i)
    EXPECT_EQ(main_queue().run_until(errand::async([i] { return i; }).then(main_queue(), [](int n) { return n; })), i);
}

TEST(main_queue, items_come_in_order_and_poll_takes_what_is_there) {
  std::vector<int> order;
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 5; ++i)
    all.push_back(errand::async(main_queue(), [&, i] {
      order.push_back(i);
      if (i == 0) errand::async(main_queue(), [&] { order.push_back(9); }).detach();
    }));
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(main_queue().poll(), 5U);
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
  EXPECT_EQ(main_queue().poll(), 1U);
  EXPECT_EQ(main_queue().poll(), 0U);
  EXPECT_EQ(order.back(), 9);
}

TEST(main_queue, sync_from_a_worker_runs_there_and_gives_its_value) {
  int const main = thread_number();
  auto t = errand::async([&] {
    std::string text = "x";
    std::string& back = errand::sync(main_queue(), [&]() -> std::string& {
      EXPECT_EQ(thread_number(), main);
      return text;
    });
    EXPECT_EQ(&back, &text);
    EXPECT_THROW(errand::sync(main_queue(), [] { throw std::runtime_error{"no"}; }), std::runtime_error);
    return errand::sync(main_queue(), [](int n) { return n; }, 5);
  });
  EXPECT_EQ(main_queue().run_until(t), 5);
}

TEST(main_queue, sync_on_the_main_thread_runs_at_once) {
  std::vector<int> order;
  auto waits = errand::async(main_queue(), [&] { order.push_back(2); });
  errand::sync(main_queue(), [&] {
    EXPECT_TRUE(main_queue().is_current());
    order.push_back(1);
  });
  EXPECT_EQ(order, (std::vector{1}));
  main_queue().run_until(waits);
  EXPECT_EQ(order, (std::vector{1, 2}));
  EXPECT_THROW(main_queue().run_until(errand::async(main_queue(), [] { errand::sync(main_queue(), [] {}); })), errand::deadlock);
}

TEST(main_queue, rule_04_a_wait_runs_the_item_it_waits_for_in_place_and_no_other) {
  std::vector<int> order;
  auto first = errand::async(main_queue(), [&] { order.push_back(1); });
  auto second = errand::async(main_queue(), [&] { order.push_back(2); });
  second.get();
  EXPECT_EQ(order, (std::vector{2}));
  auto third = errand::async([] { return 3; }).then(main_queue(), [&](int n) { order.push_back(n); });
  third.get();  // comes later
  EXPECT_EQ(order, (std::vector{2, 3}));
  first.get();
  EXPECT_EQ(order, (std::vector{2, 3, 1}));
}

TEST(main_queue, rule_04_a_wait_in_an_item_for_a_later_one_is_a_deadlock) {
  auto outer = errand::async(main_queue(), [] { errand::async(main_queue(), [] {}).get(); });
  EXPECT_THROW(main_queue().run_until(outer), errand::deadlock);
  main_queue().poll();
}

TEST(main_queue, rule_04_a_cycle_through_the_main_thread_is_a_deadlock) {
  // Whoever closes it: the task by its sync, or the main thread by its wait.
  for (int i = 0; i < 50; ++i) {
    auto task = errand::async([&] { errand::sync(main_queue(), [] {}); });
    if (i % 2 == 0)
      while (main_queue().statistics().waiting == 0) std::this_thread::yield();
    try {
      task.get();
      ADD_FAILURE() << "nobody served the main queue";
    } catch (errand::deadlock const& e) {
      EXPECT_NE(std::string{e.what()}.find("main"), std::string::npos) << e.what();
    }
    if (task.valid()) main_queue().run_until(task);  // the main thread was refused: the task still waits
    main_queue().poll();
  }
}

TEST(main_queue, rule_04_a_wait_for_all_of_which_one_is_an_item_is_a_deadlock) {
  auto all = errand::when_all(errand::async([] {}), errand::async([] {}).then(main_queue(), [] {}));
  EXPECT_THROW(all.get(), errand::deadlock);
  main_queue().run_until(all);
}

TEST(main_queue, a_dropped_future_of_a_waiting_item_skips_it) {
  bool ran = false;
  { auto f = errand::async(main_queue(), [&] { ran = true; }); }
  main_queue().poll();
  EXPECT_FALSE(ran);
}

errand::task<int> hops(int main) {
  EXPECT_EQ(thread_number(), main);
  co_await errand::sleep_for(1ms);
  EXPECT_EQ(thread_number(), main);
  co_await errand::resume_on(errand::threads);
  EXPECT_NE(thread_number(), main);
  co_await errand::async([] {});
  co_await errand::resume_on(main_queue());
  EXPECT_EQ(thread_number(), main);
  co_return co_await errand::async([] { return 4; });
}

TEST(main_queue, coroutines_suspend_on_it_and_come_back) {
  auto f = errand::async(main_queue(), hops(thread_number()));
  auto other = errand::async(main_queue(), [] { return 1; });
  EXPECT_EQ(main_queue().run_until(f), 4);
  EXPECT_TRUE(other.ready()) << "a suspended coroutine does not hold the queue";
}

TEST(main_queue, a_coroutine_that_is_waited_for_without_serving_is_run_in_place) {
  auto f = errand::async(main_queue(), hops(thread_number()));
  EXPECT_EQ(f.get(), 4);
  auto dropped = errand::async(main_queue(), []() -> errand::task<void> { co_await errand::sleep_for(24h); });
  main_queue().poll();
  dropped.request_stop();
  EXPECT_THROW(dropped.get(), errand::operation_cancelled);
}

TEST(main_queue, loops_in_loops_three_deep_finish_while_every_worker_spins) {
  flag over;
  std::atomic<unsigned> spinning{0};
  unsigned const workers = errand::pool{}.size();
  std::vector<errand::future<void>> spin;
  for (unsigned i = 0; i < workers; ++i)
    spin.push_back(errand::async([&] {
      ++spinning;
      over.wait();
    }));
  while (spinning < workers) std::this_thread::yield();
  int depth = 0;
  int deepest = 0;
  std::function<int(int)> go = [&](int levels) {
    deepest = std::max(deepest, ++depth);
    auto const self = errand::this_task::name();
    if (levels > 0) {
      EXPECT_EQ(main_queue().run_until(errand::async(main_queue(), go, levels - 1)), levels - 1);
    }
    EXPECT_EQ(errand::this_task::name(), self);
    EXPECT_TRUE(main_queue().is_current());
    --depth;
    return levels;
  };
  EXPECT_EQ(main_queue().run_until(errand::async(main_queue(), go, 3)), 3);
  EXPECT_EQ(deepest, 4);
  over.raise();
}

TEST(main_queue, what_comes_while_a_nested_loop_sleeps_wakes_it) {
  auto outer = errand::async(main_queue(), [] {
    return main_queue().run_until(errand::after(2ms, [] { return 1; }).then(main_queue(), [](int n) { return n + 1; }));
  });
  EXPECT_EQ(main_queue().run_until(outer), 2);
}

TEST(main_queue, stop_ends_run_after_the_item_and_is_remembered) {
  main_queue().stop();
  main_queue().run();
  int ran = 0;
  auto a = errand::async(main_queue(), [&] {
    ++ran;
    main_queue().stop();
  });
  auto b = errand::async(main_queue(), [&] { ++ran; });
  main_queue().run();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(b.ready());
  main_queue().run_until(b);
  auto stops = errand::after(1ms, [] { main_queue().stop(); });
  main_queue().run();
  stops.get();
}

TEST(main_queue, run_for_says_whether_the_time_is_over) {
  EXPECT_TRUE(main_queue().run_for(1ms));
  EXPECT_TRUE(main_queue().run_for(0ms));
  auto stops = errand::after(1ms, [] { main_queue().stop(); });
  EXPECT_FALSE(main_queue().run_for(24h));
  stops.get();
}

extern "C" void stop_the_main_queue(int) { main_queue().stop(); }
TEST(main_queue, stop_from_a_signal_handler) {
  static_cast<void>(main_queue());
  auto const before = ::signal(SIGUSR1, &stop_the_main_queue);
  auto const main = ::pthread_self();
  auto sends = errand::after(1ms, [main] { ::pthread_kill(main, SIGUSR1); });
  main_queue().run();
  sends.get();
  ::signal(SIGUSR1, before);
}

bool can_be_read(int fd) {
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&p, 1, 0) == 1;
}

TEST(main_queue, the_descriptor_can_be_read_as_long_as_there_is_something_to_do) {
  auto f = errand::async(main_queue(), [] {});
  int const fd = main_queue().descriptor();
  EXPECT_EQ(main_queue().descriptor(), fd);
  EXPECT_TRUE(can_be_read(fd)) << "of what waited before";
  EXPECT_EQ(main_queue().poll(), 1U);
  EXPECT_FALSE(can_be_read(fd));
  auto g = errand::async([] {}).then(main_queue(), [] {});
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&p, 1, -1), 1);
  EXPECT_EQ(main_queue().poll(), 1U);
  EXPECT_TRUE(g.ready());
  main_queue().poll();
  EXPECT_FALSE(can_be_read(fd));
}

TEST(main_queue, the_hook_is_called_once_until_the_next_poll) {
  std::atomic<int> calls{0};
  main_queue().on_wake([&] { ++calls; });
  EXPECT_EQ(calls, 0);
  auto a = errand::async(main_queue(), [] {});
  auto b = errand::async(main_queue(), [] {});
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(main_queue().poll(), 2U);
  auto c = errand::async(main_queue(), [] {});
  EXPECT_EQ(calls, 2);
  main_queue().on_wake([&] { calls += 10; });
  EXPECT_EQ(calls, 12) << "there was something";
  main_queue().on_wake(nullptr);
  main_queue().poll();
  errand::async(main_queue(), [] {}).detach();
  main_queue().poll();
  EXPECT_EQ(calls, 12);
}

TEST(main_queue, suspension_holds_items_back) {
  auto guard = main_queue().suspend();
  auto f = errand::async(main_queue(), [] { return 1; });
  EXPECT_EQ(main_queue().poll(), 0U);
  auto resumes = errand::after(1ms, [&] { guard.resume(); });
  EXPECT_EQ(main_queue().run_until(f), 1);
  resumes.get();
}

TEST(main_queue, a_queue_may_have_it_for_a_target) {
  errand::serial_queue child{"child", main_queue()};
  int const main = thread_number();
  auto f = errand::async(child, [] { return thread_number(); });
  EXPECT_EQ(main_queue().run_until(f), main);
  auto g = errand::async([&] { return errand::sync(child, [] { return thread_number(); }); });
  EXPECT_EQ(main_queue().run_until(g), main);
}

TEST(main_queue, others_than_the_main_thread_may_not_serve_it) {
  std::thread{[] {
    EXPECT_THROW(main_queue().run(), std::logic_error);
    EXPECT_THROW(static_cast<void>(main_queue().poll()), std::logic_error);
  }}.join();
  errand::async([] { EXPECT_THROW(main_queue().run(), std::logic_error); }).get();
}

TEST(main_queue, works_in_the_child_of_a_fork) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  static_cast<void>(errand::async(main_queue(), [] {}));
  EXPECT_EQ(errand_test::in_child([] {
              auto f = errand::async([] { return 1; }).then(main_queue(), [](int n) { return n + 1; });
              errand_test::require(main_queue().run_until(f) == 2, "main -> pool -> main");
            }),
            0);
  std::thread{[] {
    EXPECT_EQ(errand_test::in_child([] {
                auto f = errand::async([] { return 1; }).then(main_queue(), [](int n) { return n + 1; });
                errand_test::require(main_queue().run_until(f) == 2, "the thread that forked is the main thread");
              }),
              0);
  }}.join();
  main_queue().poll();
}

TEST(run_loop, belongs_to_the_thread_that_first_serves_it) {
  errand::run_loop loop{"own"};
  std::thread serves{[&] { loop.run(); }};
  int const number = errand::async([&] { return errand::sync(loop, [] { return thread_number(); }); }).get();
  EXPECT_NE(number, thread_number());
  EXPECT_EQ(errand::async(loop, [] { return thread_number(); }).get(), number);
  EXPECT_THROW(static_cast<void>(loop.poll()), std::logic_error);
  loop.stop();
  serves.join();
}

TEST(run_loop, its_end_runs_what_waits) {
  errand::future<int> f;
  {
    errand::run_loop loop;
    f = errand::async(loop, [] { return thread_number(); });
  }
  EXPECT_EQ(f.get(), thread_number());
}

TEST(run_loop, what_comes_after_its_end_does_not_hang) {
  std::unique_ptr<errand::run_loop> loop = std::make_unique<errand::run_loop>();
  errand::queue const handle = *loop;
  auto suspended = errand::async(*loop, []() -> errand::task<int> {
    co_await errand::sleep_for(2ms);
    co_return 7;
  });
  loop.reset();
  EXPECT_EQ(errand::async(handle, [] { return 5; }).get(), 5);
  EXPECT_EQ(suspended.get(), 7);
  EXPECT_EQ(errand::sync(handle, [] { return 6; }), 6);
}

TEST(run_loop, many_threads_bring_items) {
  errand::run_loop loop;
  std::atomic<int> left{8 * 1000};
  int count = 0;
  errand::task_group tasks;
  for (int t = 0; t < 8; ++t)
    tasks.spawn([&] {
      for (int i = 0; i < 1000; ++i)
        errand::async(loop, [&] {
          ++count;
          if (--left == 0) loop.stop();
        }).detach();
    });
  loop.run();
  tasks.wait();
  EXPECT_EQ(count, 8000);
}

}  // namespace
