// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What after() hooks its task to: a record that goes on outside, in the timekeeper's heap, and ends with the time or by a stop.
#include "sched/timers.hpp"
#include "task/stop.hpp"

#include <errand/detail/after.hpp>
#include <errand/detail/outside_task.hpp>

#include <stdexcept>

namespace errand::detail {

namespace {

class delay final : public result_record<void>, private waiter {
 public:
  explicit delay(std::source_location from) noexcept : result_record<void>{&act, from} {
    wake = [](waiter* w) noexcept { static_cast<delay*>(w)->one_has_come(); };
  }

  // Throws std::bad_alloc, and then is gone.
  void start(std::int64_t at) {
    timer_.at = at;
    timer_.to_wake = this;
    begin_outside(*this, *this);
    try {
      if (at != no_deadline) arm_timer(timer_);
    } catch (...) {
      // A stop from above may have come first, and then ends it.
      if (claim(*this, claimant::itself)) {
        stopped_ = true;
        one_has_come();
      }
      one_has_come();
      while (!done()) cpu_relax();
      release_handle(*this);
      throw;
    }
    one_has_come();
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<delay*>(base);
    if (verb == record_verb::drop) self->drop_value();
    if (verb == record_verb::destroy) {
      self->~delay();
      deallocate_record(self, sizeof(delay));
    }
    return true;
  }

  // Two must have: the one who starts it, with all that it does, and the one who claims the waiter. A stop may be first.
  void one_has_come() noexcept {
    // (DL1) acq_rel: the last of them sees what the other did.
    if (still_to_come_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    disarm_timer(timer_);
    auto const by = static_cast<claimant>(claimed_by.load(std::memory_order_relaxed));
    if (by == claimant::deadline)
      has_value_ = true;
    else
      stopped_ = true;
    end_outside(*this, *this);
  }

  timer_entry timer_;
  std::atomic<std::uint8_t> still_to_come_{2};  // (DL1)
};

}  // namespace

result_record<void>& make_delay(std::int64_t at, std::source_location from) {
  prepare_timers();
  auto* const made = make_record<delay>(from);
  made->start(at);
  return *made;
}

void throw_inplace_delay() {
  throw std::invalid_argument{"errand::after(): the place is inplace, which names no thread that could call the function later"};
}

}  // namespace errand::detail
