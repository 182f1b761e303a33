// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A completion record in the frame of who waits for it, instead of a future: for what is waited for by its starter alone.
#pragma once

#include <errand/detail/record.hpp>

#include <source_location>

namespace errand::detail {

/// Completed once, by who has done what it stands for (complete()); the frame may be gone then.
struct frame_record : record {
  explicit frame_record(std::source_location from) noexcept;
};

/// Parks the task, or blocks the thread. False if a stop of the waiting task came first: then the record may still be completed
/// at any time, and its frame must stay until nobody can do so any more.
[[nodiscard]] bool wait_unless_stopped(frame_record& r);
/// The same, whatever is asked of the task.
void wait_to_the_end(frame_record& r) noexcept;

}  // namespace errand::detail
