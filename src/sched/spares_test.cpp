// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Of spares what is not to be seen from outside: that they go when they idle, that the monitor sleeps when there is nothing
// to watch, and what a thread_probe says. What they are for: tests/api/spare_rules_test.cpp.
#include "sched/spares.hpp"
#include "sched/thread_probe.hpp"

#include <gtest/gtest.h>
#include <errand/task.hpp>

#include <pthread.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

using namespace std::chrono_literals;

class idle_limit {
 public:
  explicit idle_limit(std::int64_t limit) : before_{spare_idle_limit.exchange(limit)} {}
  ~idle_limit() { spare_idle_limit = before_; }
  idle_limit(idle_limit const&) = delete;
  idle_limit& operator=(idle_limit const&) = delete;

 private:
  std::int64_t before_;
};

// Threads are named by their numbers: those of the spares come after the workers'.
bool is_spare_of_pool_with(unsigned workers) {
  char name[16] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  std::string const whole{name};
  return std::stoul(whole.substr(whole.rfind('/') + 1)) >= workers;
}

// Blocks tasks in the kernel, as many as wanted, until it is opened.
class gate {
 public:
  void pass() { open_.wait(false); }
  // On a loaded machine a worker may seem blocked before it has taken its task: then a spare takes that, and is here until
  // the gate opens.
  void enter(unsigned workers) {
    if (is_spare_of_pool_with(workers)) ++spares_inside_;
  }
  unsigned spares_inside() const { return spares_inside_; }

  void open() {
    open_ = true;
    open_.notify_all();
  }

 private:
  std::atomic<bool> open_{false};
  std::atomic<unsigned> spares_inside_{0};
};

// A task more runs, so spares have come.
void block(errand::pool& p, gate& g, std::vector<errand::future<void>>& blocked, unsigned tasks) {
  std::atomic<unsigned> begun{0};
  for (unsigned i = 0; i < tasks; ++i)
    blocked.push_back(errand::async(p, [&, workers = p.size()] {
      g.enter(workers);
      ++begun;
      g.pass();
    }));
  errand::async(p, [] {}).get();
  while (begun != tasks) std::this_thread::yield();
}

void wait_until_spares_are(errand::pool& p, unsigned as_many) {
  while (p.statistics().spares != as_many) std::this_thread::yield();
}

TEST(spares, go_when_they_idle_also_while_those_they_came_for_are_blocked_and_come_again) {
  idle_limit const soon{1'000'000};
  for (unsigned const size : {1U, 3U}) {
    errand::pool p{size};
    for (int round = 0; round < 5; ++round) {
      gate g;
      std::vector<errand::future<void>> blocked;
      block(p, g, blocked, size);
      wait_until_spares_are(p, g.spares_inside());
      errand::async(p, [] {}).get();
      g.open();
      for (auto& f : blocked) f.get();
      wait_until_spares_are(p, 0);
    }
  }
}

TEST(spares, that_have_left_make_room_for_others_at_the_limit) {
  idle_limit const soon{1'000'000};
  errand::pool one{{.workers = 1, .spares = 1}};
  for (int round = 0; round < 20; ++round) {
    gate g;
    std::vector<errand::future<void>> blocked;
    block(one, g, blocked, 1);
    g.open();
    for (auto& f : blocked) f.get();
    if (round % 2 == 0) wait_until_spares_are(one, 0);
  }
}

TEST(spares, a_pool_can_end_while_its_spares_leave) {
  idle_limit const soon{200'000};
  for (int round = 0; round < 50; ++round) {
    gate g;
    errand::pool two{2};
    std::vector<errand::future<void>> blocked;
    block(two, g, blocked, 3);
    g.open();
    for (auto& f : blocked) f.get();
  }
}

// Of the threads of that name: how often they have gone to sleep so far.
long times_asleep(std::string const& name) {
  long sum = 0;
  for (auto const& thread : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream comm{thread.path() / "comm"};
    std::string line;
    if (!std::getline(comm, line) || line != name) continue;
    std::ifstream status{thread.path() / "status"};
    while (std::getline(status, line))
      if (line.rfind("voluntary_ctxt_switches:", 0) == 0) sum += std::stol(line.substr(line.find(':') + 1));
  }
  return sum;
}

// For ever, if it looked again and again.
void wait_until_the_monitor_sleeps_for_good() {
  for (long before = -1, now = times_asleep("errand/monitor"); now != before; now = times_asleep("errand/monitor")) {
    before = now;
    std::this_thread::sleep_for(50ms);
  }
}

TEST(monitor, sleeps_while_nothing_is_queued_also_when_tasks_are_blocked) {
  errand::pool two{2};
  gate g;
  std::vector<errand::future<void>> blocked;
  block(two, g, blocked, 3);
  EXPECT_GT(times_asleep("errand/monitor"), 0);
  wait_until_the_monitor_sleeps_for_good();
  errand::async(two, [] {}).get();
  g.open();
  for (auto& f : blocked) f.get();
  wait_until_the_monitor_sleeps_for_good();
}

TEST(thread_probe, tells_whether_a_thread_sleeps_and_whether_it_has_run_meanwhile) {
  thread_probe mine;
  EXPECT_EQ(mine.time_run(), -1);
  EXPECT_EQ(mine.state(), '?');
  mine.adopt();
  EXPECT_EQ(mine.state(), 'R');
  EXPECT_EQ(mine.number(), ::gettid());

  thread_probe theirs;
  gate first, second;
  std::atomic<bool> between{false};
  std::jthread thread{[&] {
    theirs.adopt();
    first.pass();
    between = true;
    second.pass();
  }};
  while (theirs.number() == 0) std::this_thread::yield();
  while (theirs.state() != 'S') std::this_thread::yield();
  auto const asleep = theirs.time_run();
  EXPECT_EQ(theirs.time_run(), asleep);
  first.open();
  while (!between) std::this_thread::yield();
  EXPECT_GT(theirs.time_run(), asleep);
  second.open();
}

TEST(thread_probe, a_thread_that_has_ended_is_not_known) {
  thread_probe theirs;
  std::thread{[&] { theirs.adopt(); }}.join();
  while (theirs.state() != '?') std::this_thread::yield();  // it may be on its way out for a moment
  EXPECT_EQ(theirs.time_run(), -1);
}

}  // namespace
}  // namespace errand::detail
