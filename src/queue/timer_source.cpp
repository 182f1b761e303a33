// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ticks: how many are due is reckoned from the clock when somebody takes them, so none is lost, and none is early. The timer is set
// only while somebody waits: ticks that nobody takes cost nothing.
#include "queue/event_core.hpp"
#include "sched/timers.hpp"
#include "task/stop.hpp"

#include <errand/detail/after.hpp>

#include <mutex>
#include <stdexcept>

namespace errand::detail {

namespace {

class timer_core final : public event_core, private waiter {
 public:
  timer_core(std::int64_t period, std::int64_t first) noexcept : period_{period}, first_{first} {
    wake = [](waiter* w) noexcept { static_cast<timer_core*>(w)->rang(); };
    timer_.to_wake = this;
  }

  void rearm(std::int64_t period, std::int64_t first) {
    {
      std::lock_guard const held{guard()};
      period_ = period;
      first_ = first;
      told_ = 0;
    }
    watch_anew();
  }

 private:
  // Of how many the time has come, since the first.
  [[nodiscard]] std::uint64_t due_by(std::int64_t at) const noexcept {
    if (at < first_) return 0;
    // Unsigned: the first may have been due before the clock began.
    return (static_cast<std::uint64_t>(at) - static_cast<std::uint64_t>(first_)) / static_cast<std::uint64_t>(period_) + 1;
  }
  [[nodiscard]] std::int64_t next_due() const noexcept {
    // The one after told_; what overflows never comes.
    std::uint64_t span = 0;
    std::int64_t at = 0;
    if (__builtin_mul_overflow(told_, static_cast<std::uint64_t>(period_), &span) || __builtin_add_overflow(first_, span, &at))
      return no_deadline;
    return at;
  }

  bool take(void* raw) override {
    auto const count = due_by(now());
    if (first_ == no_deadline || count <= told_) return false;
    static_cast<std::optional<tick>*>(raw)->emplace(tick{count - std::exchange(told_, count)});
    return true;
  }

  bool watch() override {
    watch_no_more();  // rearm() may have armed it between a ring and what that told
    auto const at = next_due();
    if (at == no_deadline) return false;
    if (at <= now()) return true;
    if (ringing_) return false;  // a timer that was taken back too late will say so, and whoever takes then finds nothing
    claimed_by.store(0, std::memory_order_relaxed);
    stopper_left.store(false, std::memory_order_relaxed);
    timer_.at = at;
    arm_timer(timer_);
    armed_ = true;
    add_reference();  // the timer's
    return false;
  }

  void watch_no_more() noexcept override {
    if (!std::exchange(armed_, false)) return;
    disarm_timer(timer_);
    if (claim(*this, claimant::itself))
      drop_reference();  // never the last: our caller has one
    else
      ringing_ = true;  // the timekeeper is on its way to rang()
  }

  void close() noexcept override {
    std::lock_guard const held{guard()};
    watch_no_more();  // likewise
  }

  void rang() noexcept {
    {
      std::lock_guard const held{guard()};
      ringing_ = false;
      armed_ = false;
    }
    arrived();
    drop_reference();  // the timer's
  }

  timer_entry timer_;
  // All under the guard.
  std::int64_t period_;
  std::int64_t first_;      // when the first one is due
  std::uint64_t told_ = 0;  // ticks that were taken
  bool armed_ = false;      // timer_ is in the heap, or has just been taken from it
  bool ringing_ = false;    // it was taken back, but too late
};

void check_period(std::int64_t period) {
  if (period <= 0)
    throw std::invalid_argument{"errand: the period of a timer must be positive; it is " + std::to_string(period) + " ns"};
}

}  // namespace

event_core& make_timer_source(std::int64_t period, std::int64_t first) {
  check_period(period);
  prepare_timers();
  return *new timer_core{period, first};
}

void rearm_timer(event_core& s, std::int64_t period, std::int64_t first) {
  check_period(period);
  if (!s.inherited()) static_cast<timer_core&>(s).rearm(period, first);
}

}  // namespace errand::detail
