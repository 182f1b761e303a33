// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Says in words how a worker process died, and makes the process_died that the job's future will throw.
#pragma once

#include <chrono>
#include <exception>

#include "process/zygote.hpp"

namespace errand::detail {

struct process_job;

// Of the worker that ran the job. `note` is what else is to be said, or null. All that make a process_died quote the last
// lines that the worker wrote to its stderr.
std::exception_ptr death_of(process_job const& job, zygote::news const& death, char const* note);
// Of several workers in a row, before they could begin a job.
std::exception_ptr death_of_newborns(zygote::news const& last);
// Of the process that forks the workers.
std::exception_ptr death_of_zygote();

// It ran longer than its pool allows: a timed_out.
std::exception_ptr overrun_of(process_job const& job, std::chrono::nanoseconds limit);

}  // namespace errand::detail
