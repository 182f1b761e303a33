// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/process_task.hpp>

#include "task/references.hpp"

namespace errand::detail {

void submit_for(record& r, process_job& job) noexcept {
  pin(r);  // the job may end, and its future be taken, before the next line
  submit_process_job(job);
  // A stop that found no job yet has left its bit. (S1) seq_cst: pairs with (S1) in stop_record().
  if ((r.state_.load(std::memory_order_seq_cst) & record_state::stop) != 0) stop_process_job(job);
  unpin(r);
}

}  // namespace errand::detail
