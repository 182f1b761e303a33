// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How errand starts its threads: named, with asynchronous signals left to the program's own threads, and after the hooks
// of those who need a process that has no thread yet (the zygote).
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace errand::detail {

/// Registers what must happen before errand's first thread starts. From static initialisers; at most eight.
void before_first_thread(void (*hook)() noexcept) noexcept;

/// Runs those hooks, if nobody in this process has. start_thread() does; to be called as well before entering a once_flag or the guard of a
/// static under which a thread will be started: a forked copy of the process would inherit it as it is at that moment.
void run_first_thread_hooks() noexcept;

/// Starts a thread, which may run on any processor of the process. The name is cut to the system's 15 characters. Throws std::system_error.
[[nodiscard]] std::thread start_thread(std::string const& name, std::function<void()> body);

}  // namespace errand::detail
