// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Says in words how a worker process died, and makes the process_died that the job's future will throw.
#pragma once

#include <chrono>
#include <exception>

namespace errand::detail {

struct process_job;

// Of the worker that ran the job. `note` is what else is to be said, or null.
std::exception_ptr death_of(process_job const& job, int signal, int status, char const* note);
// Of several workers in a row, before they could begin a job.
std::exception_ptr death_of_newborns(int signal, int status);
// Of the process that forks the workers.
std::exception_ptr death_of_zygote();

// It ran longer than its pool allows: a timed_out.
std::exception_ptr overrun_of(process_job const& job, std::chrono::nanoseconds limit);

}  // namespace errand::detail
