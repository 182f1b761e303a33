// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A worker process: a fork of the zygote that runs one job after another until it is killed. Called by the zygote, in
// the child, and never returns.
#pragma once

#include "process/modules.hpp"

namespace errand::detail {

// What the zygote inherits from the program and hands on to its workers.
struct worker_world {
  int shared_fd;
  int bell_fd;
  module_list const* modules;
};

[[noreturn]] void worker_main(worker_world const& world, unsigned slot) noexcept;

}  // namespace errand::detail
