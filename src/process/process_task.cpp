// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/process_task.hpp>
#include <errand/task.hpp>

#include "task/rare_fields.hpp"
#include "task/references.hpp"

namespace errand::detail {

void start_process_record(record& r, process_job& job, waiter& on_stop, start_options const* options) {
  try {
    prepare_process_job(job);
  } catch (...) {
    destroy(r);
    throw;
  }
  if (options == nullptr) {
    begin_outside(r, on_stop);
  } else {
    begin_outside(r, on_stop, *options);
    job.name = rare_fields_of(r).name.c_str();
  }
  pin(r);  // the job may end, and its record be let go of, before the next lines
  // (S1) seq_cst: pairs with (S1) in stop_record(). A stop that has come already: no worker shall see the job.
  job.stop_wanted = (r.state_.load(std::memory_order_seq_cst) & record_state::stop) != 0;
  submit_process_job(job);
  // One that came before the job could be found has left its bit. (S1) as above.
  if ((r.state_.load(std::memory_order_seq_cst) & record_state::stop) != 0) stop_process_job(job);
  unpin(r);
}

}  // namespace errand::detail
