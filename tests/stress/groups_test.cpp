// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups, blocking threads and pinned pools under races: failures, stops, spawns, waits and drops at the same moment. Whatever
// wins, each task ran once or never began, all are joined, and nothing is left.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <unistd.h>
#include <atomic>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/sanitizers.hpp"
#include "stress/by_chance.hpp"

namespace {

using errand_test::by_chance;
using errand_test::counted;
using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;
using std::chrono::nanoseconds;

class group_races : public by_chance {
 protected:
  // What a member may do; one in `failing` fails. It may spawn others, to a depth.
  void live(errand::task_group& g, generator mine, unsigned failing, int depth) {
    ++begun;
    struct at_end {
      std::atomic<int>& count;
      ~at_end() { ++count; }
    } const end{ended};
    switch (mine.below(7)) {
      case 0:
        break;
      case 1:
        errand::this_task::check_stop();
        break;
      case 2:
        errand::this_task::yield();
        break;
      case 3:
        errand::this_task::sleep_for(nanoseconds{mine.below(20'000)});
        break;
      case 4:
        errand::async([] {}).get();
        break;
      case 5:
        if (depth > 0) spawn(g, mine, failing, depth - 1);
        if (depth > 0) spawn(g, mine, failing, depth - 1);
        break;
      case 6: {
        errand::task_group inner;
        for (int i = 0; i < 3; ++i) spawn(inner, mine, failing, 0);
        if (mine.one_in(2)) inner.wait();
        break;
      }
    }
    if (mine.one_in(failing)) throw std::runtime_error{"by chance"};
  }

  void spawn(errand::task_group& g, generator& from, unsigned failing, int depth) {
    auto const body = [this, &g, mine = from.split(), failing, depth, payload = counted{}] { live(g, mine, failing, depth); };
    switch (from.below(8)) {
      case 0:
        g.spawn(errand::blocking, body);
        break;
      case 1:
        g.spawn({.timeout = nanoseconds{from.below(30'000)}, .name = "late"}, body);
        break;
      case 2:
        g.spawn([](auto f) -> errand::task<int> {
          co_await errand::async([] {});
          f();
          co_return 1;
        }, body);
        break;
      case 3:
        if (depth > 0) g.spawn(errand::inplace, body);
        break;
      default:
        g.spawn(body);
    }
  }

  // True if nothing failed.
  static bool joined(errand::task_group& g) {
    try {
      g.wait();
      return true;
    } catch (std::runtime_error const&) {  // also timed_out
      EXPECT_FALSE(g.errors().empty());
      return false;
    }
  }
};

TEST_F(group_races, failures_stops_and_spawns_against_a_wait) {
  for (rounds r{600}; r.next();) {
    errand::task_group g;
    auto mine = random.split();
    bool const stops = random.one_in(3);
    std::optional<std::jthread> other;
    if (random.one_in(4))
      other.emplace([&] {
        for (int i = 0; i < 5; ++i) spawn(g, mine, 20, 1);
        if (stops) g.request_stop();
      });
    for (auto n = random.below(20); n > 0; --n) spawn(g, random, random.one_in(2) ? 5 : 1000, 2);
    if (random.one_in(4)) g.request_stop();
    static_cast<void>(joined(g));
    other.reset();
    static_cast<void>(joined(g));
    ASSERT_EQ(begun, ended);
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(group_races, a_drop_against_everything) {
  for (rounds r{600}; r.next();) {
    {
      errand::task_group g;
      for (auto n = random.below(20); n > 0; --n) spawn(g, random, 10, 2);
      dither(random);
    }
    ASSERT_EQ(begun, ended);
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(group_races, a_stop_of_the_task_that_made_the_group_against_everything) {
  for (rounds r{600}; r.next();) {
    auto maker = errand::async([this, mine = random.split()]() mutable {
      errand::task_group g;
      for (auto n = mine.below(10); n > 0; --n) spawn(g, mine, 20, 2);
      if (mine.one_in(2)) static_cast<void>(joined(g));
    });
    dither(random);
    maker.request_stop();
    static_cast<void>(maker.result());
    ASSERT_EQ(begun, ended);
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(group_races, many_threads_spawn_into_one_group_and_wait_for_it) {
  for (rounds r{10}; r.next();) {
    std::atomic<int> ran{0};
    errand::task_group g;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, mine = random.split()]() mutable {
        for (int i = 0; i < 500; ++i) {
          g.spawn([&ran, payload = counted{}] { ++ran; });
          if (mine.one_in(100)) g.wait();
        }
      });
    threads.clear();
    g.wait();
    ASSERT_EQ(ran, 8 * 500);
    ASSERT_EQ(counted::alive(), 0);
  }
}

// Pages of memory in use, by the kernel's own count.
long resident_pages() {
  std::ifstream statm{"/proc/self/statm"};
  long all = 0;
  long resident = 0;
  statm >> all >> resident;
  return resident;
}

TEST_F(group_races, a_million_tasks_of_one_group_leave_nothing_behind_while_it_lives) {
  constexpr int at_once = 1000;
  constexpr int batches = 1000;
  long after_some = 0;
  std::atomic<int> ran{0};
  errand::task_group g;
  for (int batch = 0; batch < batches; ++batch) {
    for (int i = 0; i < at_once; ++i) g.spawn([&ran] { ran.fetch_add(1, std::memory_order_relaxed); });
    while (ran.load(std::memory_order_relaxed) != (batch + 1) * at_once) std::this_thread::yield();  // no wait()
    if (batch == 100) after_some = resident_pages();
  }
  long const grown = resident_pages() - after_some;
  g.wait();
  EXPECT_EQ(ran, batches * at_once);
  if (errand::detail::sanitized_memory) return;  // which keeps what was freed for a while
  EXPECT_LT(grown * ::sysconf(_SC_PAGESIZE), 16L << 20) << "900 000 records would be 100 MB";
}

TEST_F(group_races, blocking_tasks_that_start_stop_and_wait_for_others) {
  for (rounds r{200}; r.next();) {
    std::vector<errand::future<int>> all;
    for (int i = 0; i < 10; ++i)
      all.push_back(errand::async(errand::blocking, [mine = random.split(), payload = counted{}]() mutable {
        dither(mine);
        auto inner = errand::async([] { return 1; });
        if (mine.one_in(3)) return errand::async(errand::blocking, [] { return 1; }).get();
        if (mine.one_in(3)) errand::this_task::sleep_for(nanoseconds{mine.below(20'000)});
        return inner.get();
      }));
    for (auto& f : all) {
      if (random.one_in(4)) f.request_stop();
      if (random.one_in(8)) f = {};
    }
    for (auto& f : all)
      if (f.valid()) {
        auto o = f.result();
        EXPECT_TRUE(o.stopped() || std::move(o).value() == 1);
      }
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(group_races, pinned_pools_with_tasks_that_wait_for_one_another_across_workers) {
  for (rounds r{60}; r.next();) {
    errand::pool pinned{{.workers = 1 + random.below(4), .pinned = true}};
    errand::task_group g{pinned};
    for (int i = 0; i < 30; ++i)
      g.spawn([&, mine = random.split()]() mutable {
        for (int k = 0; k < 5; ++k) switch (mine.below(4)) {
            case 0:
              errand::this_task::yield();
              break;
            case 1:
              errand::this_task::sleep_for(nanoseconds{mine.below(20'000)});
              break;
            case 2:
              errand::async([] {}).get();
              break;
            case 3:
              errand::async(pinned, [] { errand::this_task::yield(); }).get();
              break;
          }
      });
    if (random.one_in(4)) g.request_stop();
    if (random.one_in(2)) g.wait();
  }
}

}  // namespace
