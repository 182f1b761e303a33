// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/frame_record.hpp"

#include "sched/wait.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/future.hpp>

namespace errand::detail {

frame_record::frame_record(std::source_location from) noexcept
    : record{[](record*, record_verb) noexcept { return true; }, from} {
  state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
}

bool wait_unless_stopped(frame_record& r) {
  wait_request q;
  q.awaited = &r;
  q.self = cancellable_task();
  if (q.self == nullptr || !stop_requested(*q.self)) block_or_sleep(q);
  return r.done();
}

void wait_to_the_end(frame_record& r) noexcept {
  if (r.done()) return;
  wait_request q;
  q.awaited = &r;
  block_or_sleep(q);
}

}  // namespace errand::detail
