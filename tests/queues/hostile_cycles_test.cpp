// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Somebody who makes cycles of waits on purpose, and waits that only look like cycles: each real one is told to one of its members,
// and nobody else. What is dropped where it could never run is skipped.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/seed.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

void spin(int steps) {
  for (int i = 0; i < steps; ++i) asm volatile("" ::: "memory");
}

void must_not_run() { ADD_FAILURE() << "it has begun"; }

// ---- cycles ----------------------------------------------------------------------------------------------------------------

enum class flow : std::uint8_t { thread, task };

/// Each holds a queue by sync() and, when all do, wants the next one's. At least one is told, and then the others go on.
void expect_a_ring_is_told(std::size_t length, flow kind) {
  std::vector<errand::serial_queue> queues;
  for (std::size_t i = 0; i < length; ++i) queues.emplace_back("q" + std::to_string(i));
  std::atomic<std::size_t> holding{0}, told{0}, passed{0};
  auto const one_of_them = [&](std::size_t i) {
    errand::sync(queues[i], [&] {
      ++holding;
      while (holding < length) {
        if (kind == flow::task) errand::this_task::yield();
        std::this_thread::yield();
      }
      try {
        errand::sync(queues[(i + 1) % length], [] {});
        ++passed;
      } catch (errand::deadlock const& e) {
        ++told;
        for (auto const* const name : {"\"q0\"", "\"q1\""})
          EXPECT_NE(std::string_view{e.what()}.find(name), std::string_view::npos) << name << " in: " << e.what();
      }
    });
  };
  if (kind == flow::thread) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < length; ++i) threads.emplace_back(one_of_them, i);
    for (auto& t : threads) t.join();
  } else {
    errand::task_group tasks;
    for (std::size_t i = 0; i < length; ++i) tasks.spawn([&, i] { one_of_them(i); });
    tasks.wait();
  }
  EXPECT_GE(told, 1U);
  EXPECT_EQ(told + passed, length);
}

TEST(queues_survive, cycles_of_sync_among_plain_threads_and_among_tasks) {
  for (int round = 0; round < 20; ++round) {
    for (std::size_t const length : {2U, 3U, 5U}) expect_a_ring_is_told(length, flow::thread);
    if (round % 2 == 0) expect_a_ring_is_told(10, flow::task);
  }
}

TEST(queues_survive, a_cycle_of_a_plain_thread_and_an_item) {
  for (int round = 0; round < 50; ++round) {
    errand::serial_queue of_item{"of item"}, of_thread{"of thread"};
    flag item_holds, thread_holds;
    std::atomic<int> told{0};
    auto const wants = [&](errand::serial_queue const& q) {
      try {
        errand::sync(q, [] {});
      } catch (errand::deadlock const&) {
        ++told;
      }
    };
    auto item = errand::async(of_item, [&] {
      item_holds.raise();
      thread_holds.wait_yielding();
      wants(of_thread);
    });
    std::thread thread{[&] {
      errand::sync(of_thread, [&] {
        thread_holds.raise();
        item_holds.wait();
        wants(of_item);
      });
    }};
    thread.join();
    item.get();
    EXPECT_GE(told, 1);
  }
}

TEST(queues_survive, a_plain_thread_that_waits_for_a_task_that_wants_the_queue_it_holds) {
  errand::serial_queue q{"held"};
  for (int round = 0; round < 50; ++round) {
    errand::sync(q, [&] {
      auto task = errand::async([&] { errand::sync(q, must_not_run); });
      EXPECT_THROW(task.get(), errand::deadlock);
    });
    EXPECT_EQ(errand::sync(q, [&] { return round; }), round);
  }
}

// ---- no cycles -------------------------------------------------------------------------------------------------------------

/// Who holds a queue waits only for later ones, in every way there is.
class upward_waits {
 public:
  void go(std::size_t first, std::uint64_t seed, int steps) {
    errand_test::generator choose{seed};
    if (steps == 0 || first == queues_.size()) return errand::sync(top_, [] {});
    std::size_t const next = first + choose() % (queues_.size() - first);
    auto const& q = queues_[next];
    auto const above = [this, next, further = choose(), steps] { go(next + 1, further, steps - 1); };
    switch (choose() % 5) {
      case 0: return errand::sync(q, above);
      case 1: return errand::async(q, above).get();
      case 2: return errand::async([] {}).then(q, above).get();
      case 3:
        return errand::async(q, [above]() -> errand::task<void> {
                 above();
                 co_await errand::sleep_for(1us);
               }).get();
      default: return stopped(errand::async(q, above));
    }
  }

 private:
  static void stopped(errand::future<void> f) {
    f.request_stop();
    try {
      f.get();
    } catch (errand::operation_cancelled const&) {
      errand::this_task::check_stop();  // it may be the caller's own
    }
  }
  std::vector<errand::serial_queue> queues_ = std::vector<errand::serial_queue>(12);
  errand::concurrent_queue top_{{.name = "top", .width = 2}};
};

TEST(queues_survive, waits_that_lead_upwards_from_all_sides_and_are_no_cycles) {
  upward_waits all;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t)
    threads.emplace_back([&all, t] {
      for (std::uint64_t i = 0; i < 60; ++i) all.go(0, t * 1000 + i, 4);
    });
  std::vector<errand::future<void>> tasks;
  for (std::uint64_t i = 0; i < 60; ++i) tasks.push_back(errand::async([&all, i] { all.go(0, 77777 + i, 4); }));
  for (auto& f : tasks) EXPECT_NO_THROW(f.get());
  for (auto& t : threads) t.join();
}

TEST(queues_survive, links_that_come_to_their_queue_while_a_cycle_is_looked_for) {
  errand::serial_queue mine{"mine"}, other{"other"};
  for (int round = 0; round < 3000; ++round)
    EXPECT_EQ(errand::async(mine, [&] {
                return errand::async([&] { spin(round % 1000); }).then(other, [&] { return round; }).get();
              }).get(),
              round);
}

// ---- what could never run --------------------------------------------------------------------------------------------------

TEST(queues_survive, later_items_that_are_dropped_or_waited_for_in_an_item) {
  errand::serial_queue q{"q"};
  for (int round = 0; round < 200; ++round) {
    auto const drops_and_waits = [&] {
      { auto const link = errand::async([] {}).then(q, must_not_run); }
      {
        auto const link = errand::async([] {}).then(q, must_not_run);
        auto const timed = errand::after(q, 1us, must_not_run);
        spin(round * 10);  // they come to the queue, or are about to
      }
      EXPECT_THROW(errand::async([] {}).then(q, must_not_run).get(), errand::deadlock);
      EXPECT_THROW(errand::after(q, 1us, must_not_run).get(), errand::deadlock);
    };
    errand::async(q, drops_and_waits).get();
    errand::sync(q, drops_and_waits);
  }
  EXPECT_EQ(errand::async(q, [] { return 1; }).get(), 1);
}

TEST(queues_survive, a_link_that_is_dropped_in_an_item_of_its_queue_while_its_input_runs) {
  errand::serial_queue q{"q"};
  for (int round = 0; round < 20; ++round) {
    errand::async(q, [&] {
      flag sleeps, spins;
      auto const after_sleep = errand::async([&] {
                                 sleeps.raise();
                                 errand::this_task::sleep_for(24h);  // until it is stopped
                               }).then(q, must_not_run);
      sleeps.wait_yielding();
      auto const after_spin = errand::async([&] {
                                spins.raise();
                                for (int i = 0; i < 20; ++i) std::this_thread::yield();
                              }).then(q, must_not_run);
      spins.wait_yielding();
    }).get();
  }
}

// A bound that only those could make room in who wait for it.
TEST(queues_survive, waits_for_room_that_never_comes) {
  errand::serial_queue base{"base"};
  errand::serial_queue small{{.name = "small", .on = base, .bound = 1}};
  auto const fill = [&] {
    errand::async(small, [] {}).detach();
    try {
      errand::async(small, must_not_run).detach();
      ADD_FAILURE() << "there was room";
    } catch (errand::deadlock const& e) {
      for (auto const* const word : {"\"small\"", "room", "1 item"})
        EXPECT_NE(std::string_view{e.what()}.find(word), std::string_view::npos) << word << " in: " << e.what();
    }
  };
  errand::async(base, fill).get();  // who holds its target
  errand::sync(small, [] {});
  errand::sync(base, fill);
  errand::sync(small, fill);
  errand::async(small, fill).get();
  EXPECT_EQ(errand::async(small, [] { return 1; }).get(), 1);
}

}  // namespace
