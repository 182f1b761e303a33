// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// A task whose work goes on outside the pools: in another process, in the kernel, on a thread for files. It counts as begun
// and as waiting at a point of cancellation from its start to its end, so a stop finds a waiter to wake; the waking tells
// whoever does the work.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

/// Marks the record as begun outside, with the waiter that a stop wakes, as a child of the running task.
void begin_outside(record& r, waiter& on_stop) noexcept;
/// The same with a name, a deadline, a stop token; a stop that has come already has left its bit and wakes nobody. Throws
/// std::bad_alloc, std::system_error, and has destroyed the record then.
void begin_outside(record& r, waiter& on_stop, start_options const& options);
/// The same for what is to be finished in any case, as a write. It is no child of the running task; a drop of its future
/// detaches it; only a stop of that very future reaches it; and the end of the program waits for it, also while it is held.
void begin_kept_outside(record& r, waiter& on_stop) noexcept;
/// Its end: value or error are in place. May free the record.
void end_outside(record& r, waiter& on_stop) noexcept;

}  // namespace errand::detail
