// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What queues hold as a whole: widths along chains of targets, groups used again, many queues on few threads, those who block and the one
// who frees them, cycles among threads, errors on every way. The table at the end of src/queue/README.md says where the rest is tested.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>
#include <errand/sync.hpp>

#include <pthread.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand::main_queue;
using errand_test::flag;

/// How many are inside, and the most there were at a time.
class crowd {
 public:
  void enter() {
    int const now = ++inside_;
    for (int most = most_; most < now && !most_.compare_exchange_weak(most, now);) {
    }
  }
  void leave() { --inside_; }
  [[nodiscard]] int most() const { return most_; }
  [[nodiscard]] int inside() const { return inside_; }

 private:
  std::atomic<int> inside_{0}, most_{0};
};

void spin(int steps) {
  for (int i = 0; i < steps; ++i) asm volatile("" ::: "memory");
}

// ---- widths ----------------------------------------------------------------------------------------------------------------

TEST(widths, no_more_are_under_way_than_the_smallest_along_the_targets_lets) {
  errand::pool six{{.workers = 6}};
  std::array<unsigned, 4> const widths{5, 2, 7, 3};  // from the bottom up
  std::vector<errand::concurrent_queue> chain;
  for (unsigned const width : widths)
    chain.emplace_back(errand::queue_options{.on = chain.empty() ? errand::place{six} : errand::place{chain.back()}, .width = width});
  // Of each queue: its own items and those of the queues above it.
  std::array<crowd, 4> crowds;
  auto const enter_all = [&](std::size_t from) {
    for (std::size_t i = 0; i <= from; ++i) crowds[i].enter();
  };
  auto const leave_all = [&](std::size_t from) {
    for (std::size_t i = 0; i <= from; ++i) crowds[i].leave();
  };
  errand::task_group all;
  for (std::size_t n = 0; n < 400; ++n) {
    std::size_t const level = n % chain.size();
    all.spawn(chain[level], [&, level, n] {
      enter_all(level);
      if (n % 3 == 0) errand::this_task::yield();
      if (n % 5 == 0) errand::async(six, [] {}).get();  // parked ones are under way, too
      leave_all(level);
    });
  }
  for (int t = 0; t < 2; ++t)
    all.spawn(errand::blocking, [&] {
      for (std::size_t i = 0; i < 100; ++i)
        errand::sync(chain[i % chain.size()], [&, level = i % chain.size()] {
          enter_all(level);
          spin(100);
          leave_all(level);
        });
    });
  all.wait();
  int smallest = 1000;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    smallest = std::min(smallest, static_cast<int>(widths[i]));
    EXPECT_LE(crowds[i].most(), smallest) << "queue " << i;
    EXPECT_EQ(crowds[i].inside(), 0);
  }

  // And that many are: two that wait for each other. (Those that park before they have met hang if it is one at a time.)
  std::atomic<int> met{0};
  errand::task_group both;
  for (int i = 0; i < 2; ++i)
    both.spawn(chain.back(), [&] {
      ++met;
      while (met < 2) errand::this_task::yield();
    });
  both.wait();
}

// ---- groups ----------------------------------------------------------------------------------------------------------------

TEST(groups, of_items_that_were_waited_for_in_vain_are_waited_for_again) {
  errand::serial_queue q;
  for (int round = 0; round < 3; ++round) {
    auto held = q.suspend();
    auto both = errand::when_all(errand::async(q, [] { return 1; }), errand::async(q, [] { return 2; }));
    EXPECT_EQ(both.wait_for(1ms), errand::future_status::timeout);
    EXPECT_EQ(both.wait_for(0ms), errand::future_status::timeout);
    held.resume();
    EXPECT_EQ(both.wait_for(24h), errand::future_status::ready);
    EXPECT_EQ(both.get(), (std::tuple{1, 2}));
  }
}

TEST(groups, are_used_again_after_a_wait_that_timed_out) {
  errand::serial_queue q;
  errand::task_group group{q};
  int count = 0;
  for (int round = 1; round <= 3; ++round) {
    auto held = q.suspend();
    for (int i = 0; i < 5; ++i) group.spawn([&] { ++count; });
    auto waits = errand::async([&] { group.wait(); });
    EXPECT_EQ(waits.wait_for(1ms), errand::future_status::timeout);
    held.resume();
    EXPECT_EQ(waits.wait_for(24h), errand::future_status::ready);
    waits.get();
    EXPECT_EQ(count, 5 * round);
  }
}

// ---- queues and threads ------------------------------------------------------------------------------------------------------

TEST(queues_on_threads, four_hundred_busy_ones_run_on_no_more_than_there_are_workers) {
  for (unsigned const workers : {1U, 2U, 4U}) {
    errand::pool p{{.workers = workers, .spares = 0}};
    crowd running;
    std::mutex guard;
    std::set<int> threads;
    std::vector<errand::serial_queue> queues;
    for (int i = 0; i < 400; ++i) queues.emplace_back("", p);
    errand::task_group items;
    auto const work = [&] {
      running.enter();  // from here to the next wait it has a thread for itself
      spin(200);
      running.leave();
    };
    for (int round = 0; round < 10; ++round)
      for (std::size_t i = 0; i < queues.size(); ++i)
        items.spawn(queues[i], [&, i] {
          work();
          if (i % 7 == 0) errand::async(p, work).get();
          if (i % 11 == 0) errand::this_task::yield();
          work();
          std::lock_guard const held{guard};
          threads.insert(errand_test::thread_number());
        });
    items.wait();
    EXPECT_LE(running.most(), static_cast<int>(workers));
    EXPECT_LE(threads.size(), workers);
  }
}

TEST(queues_on_threads, workers_have_names) {
  auto const name = [] {
    std::string text(16, '\0');
    pthread_getname_np(pthread_self(), text.data(), text.size());
    return std::string{text.c_str()};
  };
  errand::serial_queue q;
  EXPECT_EQ(errand::async(q, name).get().substr(0, 7), "errand/");
  errand::pool io{{.workers = 1, .name = "io"}};
  EXPECT_EQ(errand::async(errand::serial_queue{"q", io}, name).get(), "io/0");
  EXPECT_EQ(errand::async(errand::concurrent_queue{"c", io}, name).get(), "io/0");
  EXPECT_EQ(errand::async(errand::serial_queue{"child", errand::serial_queue{"base", io}}, name).get(), "io/0");

  // The one that waits for events, too.
  errand::signal_source const source{SIGUSR1};
  auto const names = [] {
    std::set<std::string> all;
    for (auto const& thread : std::filesystem::directory_iterator{"/proc/self/task"}) {
      std::ifstream file{thread.path() / "comm"};
      std::string text;
      if (std::getline(file, text)) all.insert(text);
    }
    return all;
  };
  while (!names().contains("errand/events")) std::this_thread::yield();  // it gives itself its name
}

// Blocks who reads, until somebody writes.
struct closed_door {
  closed_door() {
    if (::pipe(ends.data()) != 0) throw std::runtime_error{"no pipe"};
  }
  ~closed_door() {
    for (int const end : ends) ::close(end);
  }
  closed_door(closed_door const&) = delete;
  closed_door& operator=(closed_door const&) = delete;
  void pass() const {
    char c = 0;
    while (::read(ends[0], &c, 1) != 1) {
    }
  }
  void open(std::size_t for_how_many) const {
    std::string const bytes(for_how_many, '.');
    if (::write(ends[1], bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) throw std::runtime_error{"no write"};
  }
  std::array<int, 2> ends{};
};

TEST(queues_on_threads, a_pool_full_of_sleepers_still_runs_one_more) {
  errand::pool two{2};
  closed_door door;
  std::vector<errand::serial_queue> queues;
  for (int i = 0; i < 3; ++i) queues.emplace_back("", two);
  std::atomic<int> asleep{0};
  errand::task_group sleepers;
  for (std::size_t i = 0; i < 2; ++i)
    sleepers.spawn(queues[i], [&] {
      ++asleep;
      door.pass();
    });
  while (asleep < 2) std::this_thread::yield();
  errand::async(queues[2], [&] { door.open(2); }).get();
  sleepers.wait();
}

// Whether they park, block in the kernel, or wait for a lock of somebody else's.
TEST(queues_on_threads, the_one_that_unblocks_n_blocked_ones_runs_at_once) {
  errand::pool two{2};
  auto const try_with = [&](int count, auto wait, auto release) {
    std::vector<errand::serial_queue> queues;
    for (int i = 0; i <= count; ++i) queues.emplace_back("", two);
    std::atomic<int> blocked{0};
    errand::task_group all;
    for (int i = 0; i < count; ++i)
      all.spawn(queues[static_cast<std::size_t>(i)], [&] {
        ++blocked;
        wait();
      });
    while (blocked < count) std::this_thread::yield();
    errand::async(queues.back(), [&] { release(count); }).get();
    all.wait();
  };
  errand::semaphore permits;
  try_with(1000, [&] { permits.acquire(); }, [&](int count) { permits.release(count); });
  closed_door door;
  try_with(40, [&] { door.pass(); }, [&](int count) { door.open(static_cast<std::size_t>(count)); });
  std::counting_semaphore<> standard{0};
  try_with(20, [&] { standard.acquire(); }, [&](int count) { standard.release(count); });
}

// ---- cycles ----------------------------------------------------------------------------------------------------------------

TEST(cycles, of_two_threads_that_sync_onto_each_others_queue_are_told) {
  // Each has a thread to itself, one of errand's. Plain threads: hostile_cycles_test.
  for (int round = 0; round < 20; ++round) {
    errand::serial_queue left{"left"}, right{"right"};
    flag in_left, in_right;
    auto const goes = [](errand::serial_queue const& first, errand::serial_queue const& second, flag& mine, flag& other) {
      try {
        errand::sync(first, [&] {
          mine.raise();
          other.wait();
          errand::sync(second, [] {});
        });
      } catch (errand::deadlock const& e) {
        return std::string{e.what()};
      }
      return std::string{};
    };
    auto one = errand::async({.on = errand::blocking, .name = "one"}, [&] { return goes(left, right, in_left, in_right); });
    auto two = errand::async({.on = errand::blocking, .name = "two"}, [&] { return goes(right, left, in_right, in_left); });
    auto const said = one.get() + two.get();
    for (auto const* const word : {"\"one\"", "\"two\"", "\"left\"", "\"right\""})
      EXPECT_NE(said.find(word), std::string::npos) << word << " in: " << said;
  }
}

// ---- errors ----------------------------------------------------------------------------------------------------------------

struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fails() { throw failure{"of the user's"}; }

TEST(errors, of_async_sync_and_loops_reach_the_caller_and_the_queue_goes_on) {
  errand::serial_queue q;
  errand::concurrent_queue c;
  EXPECT_THROW(errand::async(q, fails).get(), failure);
  EXPECT_THROW(errand::async_barrier(c, fails).get(), failure);
  EXPECT_THROW(errand::sync(q, fails), failure) << "of an idle one";
  EXPECT_THROW(errand::sync_barrier(c, fails), failure);
  EXPECT_THROW(errand::after(q, 1ms, fails).get(), failure);
  EXPECT_THROW(errand::async(q, [] { return 1; }).then(q, [](int) { fails(); }).get(), failure);

  // Of a busy one: from a task, which parks, and from a thread, which runs what lies ahead.
  {
    flag begun, go_on;
    auto busy = errand::async(q, [&] {
      begun.raise();
      go_on.wait_yielding();
    });
    begun.wait();
    auto waits = errand::async([&] { errand::sync(q, fails); });
    while (q.statistics().waiting == 0) std::this_thread::yield();
    go_on.raise();
    EXPECT_THROW(waits.get(), failure);
    busy.get();
  }
  {
    auto held = q.suspend();
    auto ahead = errand::async(q, fails);
    std::thread thread{[&] { EXPECT_THROW(errand::sync(q, fails), failure); }};
    while (q.statistics().waiting < 2) std::this_thread::yield();
    held.resume();
    thread.join();
    EXPECT_THROW(ahead.get(), failure);
  }

  // Loops: over elements, in an item; and those that a thread runs.
  EXPECT_THROW(errand::async(q, [] { errand::for_each_index(100, [](std::size_t i) { if (i == 50) fails(); }); }).get(), failure);
  EXPECT_THROW(main_queue().run_until(errand::async(main_queue(), fails)), failure);
  EXPECT_THROW(main_queue().run_until(errand::async(main_queue(), fails).share()), failure);
  EXPECT_THROW(main_queue().run_until(errand::async([] { errand::sync(main_queue(), fails); })), failure);
  auto its = errand::async(main_queue(), fails);
  EXPECT_EQ(main_queue().poll(), 1U) << "an item's error is its future's business";
  EXPECT_THROW(its.get(), failure);
  auto in_both = errand::async(main_queue(), [] { main_queue().run_until(errand::async(main_queue(), fails)); });
  EXPECT_THROW(main_queue().run_until(in_both), failure) << "out of a loop in a loop";

  EXPECT_EQ(errand::sync(q, [] { return 1; }) + errand::sync(c, [] { return 1; }) + errand::async(q, [] { return 1; }).get(), 3);
  EXPECT_EQ(main_queue().run_until(errand::async(main_queue(), [] { return 4; })), 4);
}

}  // namespace
