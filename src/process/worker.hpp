// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A worker process: a fork of the zygote that runs one job after another until it is killed. Called by the zygote, in
// the child, and never returns.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "process/modules.hpp"

namespace errand::detail {

// What the zygote inherits from the program and hands on to its workers.
struct worker_world {
  int shared_fd;
  module_list const* modules;
};

// What one worker is told.
struct worker_birth {
  std::uint32_t slot;     // of the shared file
  std::uint64_t memory;   // process_limits::memory
  std::uint64_t largest;  // process_limits::recycle_when_larger
  bool tells_time;        // it shall say when each job begins
};

[[noreturn]] void worker_main(worker_world const& world, worker_birth const& birth, pid_t zygote) noexcept;

}  // namespace errand::detail
