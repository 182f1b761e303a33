// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the zygote does all its life: takes orders, forks workers, kills them, reaps them, reports their deaths, and
// passes on what they write to their stderr. It has one thread, and waits for nothing but poll(). There are two of it: one
// serves, its parent, the guardian, sleeps and lets another one serve if that dies (README.md, "The zygote's death").
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "process/worker.hpp"

namespace errand::detail {

// In the child of the program; never returns. `socket` leads to the program; a worker gets the program's mask of signals.
[[noreturn]] void run_zygote(worker_world const& world, int socket, pid_t program, sigset_t const& program_mask) noexcept;

}  // namespace errand::detail
