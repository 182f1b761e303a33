// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A pool of worker processes as the dispatcher has it: a queue, limits, counters. It has no thread, no descriptor and no
// lock of its own, so a program may have many. `processes` is the one that is always there. All under the dispatcher's lock.
#pragma once

#include <errand/detail/process_generation.hpp>
#include <errand/process.hpp>

#include <cstddef>
#include <cstdint>

#include "process/job_list.hpp"

namespace errand::detail {

struct process_pool_core {
  process_pool_core(std::size_t workers, process_limits const& its_limits)
      : limits(its_limits), planned(workers), most(workers) {}

  [[nodiscard]] bool limits_time() const noexcept { return limits.time != std::chrono::nanoseconds::max(); }

  std::uint32_t const born_in = process_generation;  // constant, so no lock is needed
  process_limits const limits;
  std::size_t const planned;  // how many workers it was made for
  std::size_t most;           // how many it may have: fewer than planned once the kernel has refused more
  std::size_t living = 0;     // of its workers; those that are dying are still counted
  job_list queued;
  std::int64_t mean_job = 0;     // nanoseconds, 0: unknown
  unsigned stillborn = 0;        // workers in a row that died with no job begun
  std::size_t unfinished = 0;    // jobs given whose finished() has not returned. Of `processes`: not counted
  process_statistics counted{};  // `workers` and `busy` are filled in when somebody asks
};

}  // namespace errand::detail
