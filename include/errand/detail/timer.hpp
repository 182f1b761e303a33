// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: sched
//
// A deadline as the timekeeper keeps it: in the memory of whoever waits, so that to wait allocates nothing. Parked tasks have
// theirs on their stack, sleeping coroutines in their frame, tasks with a time limit in their record's rare fields.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

struct timer_entry {
  static constexpr std::size_t unarmed = SIZE_MAX;
  std::int64_t at = 0;              // nanoseconds of the steady clock
  std::size_t index = unarmed;      // in the heap; under its lock
  waiter* to_wake = nullptr;        // one of the two: whom to wake,
  record* to_stop = nullptr;        // or which task to stop
};

}  // namespace errand::detail
