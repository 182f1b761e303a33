// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/timers.hpp"

#include "base/futex.hpp"
#include "task/stop.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

constexpr std::int64_t millisecond = 1'000'000;
constexpr std::int64_t day = 86'400'000 * millisecond;

// Wakes note their order.
struct alarm_clock : waiter {
  alarm_clock() {
    waiter::wake = [](waiter* w) noexcept {
      auto& self = static_cast<alarm_clock&>(*w);
      self.order = ++rung;
      self.woken_at.store(now());
      self.woken_at.notify_all();
    };
    entry.to_wake = this;
  }
  void arm(std::int64_t at) {
    entry.at = at;
    arm_timer(entry);
  }
  void wait() { woken_at.wait(0); }

  static inline std::atomic<int> rung{0};
  timer_entry entry;
  int order = 0;
  std::atomic<std::int64_t> woken_at{0};
};

class timers : public testing::Test {
 protected:
  timers() { prepare_timers(); }
};

TEST_F(timers, fire_never_early) {
  for (std::int64_t const span : {std::int64_t{0}, millisecond / 10, millisecond, 5 * millisecond}) {
    alarm_clock a;
    auto const at = now() + span;
    a.arm(at);
    a.wait();
    EXPECT_GE(a.woken_at.load(), at);
  }
}

TEST_F(timers, whose_time_has_passed_fire_at_once) {
  alarm_clock a;
  a.arm(now() - day);
  a.wait();
  alarm_clock b;
  b.arm(INT64_MIN);
  b.wait();
}

TEST_F(timers, fire_in_the_order_of_their_times_however_they_were_armed) {
  std::vector<alarm_clock> clocks(500);
  std::vector<std::size_t> by_time(clocks.size());
  for (std::size_t i = 0; i < clocks.size(); ++i) by_time[i] = i;
  std::vector<std::size_t> by_arming = by_time;
  std::shuffle(by_arming.begin(), by_arming.end(), std::minstd_rand{7});
  auto const base = now() + 20 * millisecond;
  for (auto const i : by_arming) clocks[i].arm(base + static_cast<std::int64_t>(i) * 1000);
  for (auto& c : clocks) c.wait();
  for (std::size_t i = 1; i < clocks.size(); ++i) ASSERT_LT(clocks[i - 1].order, clocks[i].order);
}

TEST_F(timers, a_nearer_one_is_not_held_up_by_a_farther_one) {
  alarm_clock far;
  far.arm(now() + day);
  alarm_clock near;
  near.arm(now() + millisecond);
  near.wait();
  EXPECT_EQ(far.woken_at.load(), 0);
  disarm_timer(far.entry);
}

TEST_F(timers, one_that_was_disarmed_never_fires) {
  alarm_clock disarmed;
  alarm_clock later;
  auto const at = now() + 2 * millisecond;
  disarmed.arm(at);
  later.arm(at + 1);
  disarm_timer(disarmed.entry);
  later.wait();
  EXPECT_EQ(disarmed.woken_at.load(), 0);
  disarm_timer(disarmed.entry);  // twice does no harm
  EXPECT_EQ(disarmed.entry.index, timer_entry::unarmed);
}

TEST_F(timers, a_waiter_that_somebody_else_has_claimed_is_not_woken) {
  alarm_clock claimed;
  ASSERT_TRUE(claim(claimed, claimant::completion));
  alarm_clock later;
  claimed.arm(now());
  later.arm(now() + 1);
  later.wait();
  EXPECT_EQ(claimed.woken_at.load(), 0);
}

TEST_F(timers, armed_and_disarmed_by_many_threads_each_fires_once_or_never) {
  std::atomic<int> fired{0};
  std::atomic<int> withdrawn{0};
  std::vector<std::jthread> threads;
  constexpr int each = 500;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::minstd_rand random{t + 1};
      for (int i = 0; i < each; ++i) {
        alarm_clock a;
        a.arm(now() + static_cast<std::int64_t>(random() % 50'000));
        for (auto n = random() % 20; n > 0; --n) std::this_thread::yield();
        disarm_timer(a.entry);
        if (claim(a, claimant::itself)) {
          ++withdrawn;
        } else {
          a.wait();
          ++fired;
        }
      }
    });
  threads.clear();
  EXPECT_EQ(fired + withdrawn, 4 * each);
}

}  // namespace
}  // namespace errand::detail
