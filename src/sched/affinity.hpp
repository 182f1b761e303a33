// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Binding a thread to one processor, for pinned pools; and undoing it for the threads that such a thread starts, which
// would inherit it; and taking over where another one may run.
#pragma once

namespace errand::detail {

/// Binds the calling thread to the `number`th of the processors that the process may use, counted round. Says on stderr if
/// the system refuses; the thread then runs anywhere.
void bind_to_processor(unsigned number) noexcept;
/// Whether bind_to_processor() has bound the calling thread.
[[nodiscard]] bool bound_to_processor() noexcept;
/// Lets the calling thread run on all processors that the process may use.
void unbind_from_processor() noexcept;
/// Lets the calling thread run where the thread of that number may.
void run_where(int thread) noexcept;

}  // namespace errand::detail
