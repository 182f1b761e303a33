// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What process_pool needs of what there is once per program. The rest of it stands in process_job.hpp, for the templates.
#pragma once

#include <errand/process.hpp>

namespace errand::detail {

struct process_pool_core;

/// Throws what start_dispatcher() throws, std::bad_alloc.
process_pool_core& make_process_pool(unsigned workers, process_limits const& limits);
/// Waits for its jobs and its workers. One that was made before a fork is the parent's, and is left alone.
void end_process_pool(process_pool_core& pool) noexcept;
/// Of `processes` for null; nothing if there was no job yet.
process_statistics statistics_of(process_pool_core* pool) noexcept;

}  // namespace errand::detail
