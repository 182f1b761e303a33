// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Somebody who uses run loops as no docs show it: suspended by another thread, destroyed in an item, told of work
// by hook and descriptor alone, waited for by the very thread that should serve them.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>

#include <poll.h>
#include <atomic>
#include <memory>
#include <thread>

#include "support/sequencer.hpp"

namespace {

using errand::main_queue;

TEST(loops_survive, being_resumed_by_another_thread_while_their_own_waits_for_an_item) {
  int const main = errand_test::thread_number();
  for (int round = 0; round < 20; ++round) {
    auto held = main_queue().suspend();
    auto item = errand::async(main_queue(), [&] { return round; });
    std::thread resumes{[&] {
      errand_test::wait_until_asleep(main);
      held.resume();
    }};
    EXPECT_EQ(round % 2 == 0 ? item.get() : main_queue().run_until(item), round);
    resumes.join();
  }
}

TEST(loops_survive, waits_of_their_own_thread_for_what_only_it_could_run) {
  {
    errand::task_group members;
    members.spawn(main_queue(), [] { ADD_FAILURE() << "it has begun"; });
    EXPECT_THROW(members.wait(), errand::deadlock);
  }
  errand::serial_queue small{{.name = "small", .on = main_queue(), .bound = 1}};
  int count = 0;
  errand::async(small, [&] { ++count; }).detach();
  EXPECT_THROW(errand::async(small, [] {}).detach(), errand::deadlock) << "room in a queue that stands on it";
  main_queue().poll();
  EXPECT_EQ(count, 1);
  errand::async(small, [&] { ++count; }).detach();
  main_queue().poll();
  EXPECT_EQ(count, 2);
}

TEST(loops_survive, being_destroyed_in_an_item_of_their_own) {
  for (int round = 0; round < 50; ++round) {
    auto owned = std::make_unique<errand::run_loop>("own");
    auto* const loop = owned.get();
    int count = 0;
    errand::async(*loop, [&] { ++count; }).detach();
    errand::async(*loop, [&] {
      owned.reset();
      ++count;
    }).detach();
    errand::async(*loop, [&] { ++count; }).detach();
    loop->poll();
    EXPECT_EQ(count, 3) << "its end runs what waits";
  }
}

TEST(loops_survive, a_suspension_in_which_the_descriptor_stays_silent) {
  errand::run_loop loop{"held"};
  pollfd ready{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(loop.descriptor(), ready.fd) << "it is the same each time";
  auto held = loop.suspend();
  errand::async(loop, [] {}).detach();
  EXPECT_EQ(loop.poll(), 0U);
  EXPECT_EQ(::poll(&ready, 1, 0), 0) << "there is nothing to do";
  held.resume();
  EXPECT_EQ(::poll(&ready, 1, -1), 1);
  EXPECT_EQ(loop.poll(), 1U);
  EXPECT_EQ(::poll(&ready, 1, 0), 0);
}

TEST(loops_survive, threads_that_serve_them_only_when_hook_or_descriptor_say_so) {
  constexpr int items = 1000;
  auto const bring_to = [](errand::run_loop& loop, int& count) {
    return std::thread{[&] {
      for (int i = 0; i < items; ++i) {
        if (i % 50 == 1) errand::async(loop, [&] { ++count; }).get();
        else if (i % 50 == 2) errand::sync(loop, [&] { ++count; });
        else errand::async(loop, [&] { ++count; }).detach();
      }
    }};
  };
  {
    errand::run_loop loop{"hook"};
    std::atomic<int> told{0};
    loop.on_wake([&] {
      told = 1;
      told.notify_one();
    });
    int count = 0;
    auto brings = bring_to(loop, count);
    while (count < items) {
      told.wait(0);
      told = 0;
      loop.poll();
    }
    brings.join();
    loop.on_wake(nullptr);
    EXPECT_EQ(count, items);
  }
  {
    errand::run_loop loop{"descriptor"};
    pollfd ready{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
    int count = 0;
    auto brings = bring_to(loop, count);
    while (count < items) {
      EXPECT_EQ(::poll(&ready, 1, -1), 1);
      loop.poll();
    }
    brings.join();
    EXPECT_EQ(count, items);
    EXPECT_EQ(::poll(&ready, 1, 0), 0);
  }
}

TEST(loops_survive, two_of_them_that_sync_onto_each_other) {
  errand::run_loop left{"left"}, right{"right"};
  std::thread serves_left{[&] { left.run(); }};
  std::thread serves_right{[&] { right.run(); }};
  int count = 0;
  for (int i = 0; i < 200; ++i) {
    errand::async(left, [&] { errand::sync(right, [&] { ++count; }); }).get();
    errand::sync(right, [&] { errand::sync(left, [&] { ++count; }); });
  }
  EXPECT_EQ(count, 400);
  auto cycle = errand::async(left, [&] { errand::sync(right, [&] { errand::sync(left, [] {}); }); });
  EXPECT_THROW(cycle.get(), errand::deadlock);
  left.stop();
  right.stop();
  serves_left.join();
  serves_right.join();
}

}  // namespace
