// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The user's end of a pool of workers: checks what it is made with, asks the dispatcher for one when the first job comes,
// and gives it back.
#include <errand/process.hpp>
#include <stdexcept>
#include <string>

#include "process/pool_state.hpp"
#include "process/support.hpp"

namespace errand {

process_pool::process_pool(unsigned workers, process_limits const& limits)
    : workers_(workers != 0 ? workers : detail::process_worker_count()), limits_(limits) {
  if (workers_ > detail::most_process_workers)
    throw std::invalid_argument("errand::process_pool: " + std::to_string(workers_) + " workers; at most " +
                                std::to_string(detail::most_process_workers) + " are possible");
  if (limits_.time.count() <= 0)
    throw std::invalid_argument("errand::process_pool: a limit of " + std::to_string(limits_.time.count()) +
                                " ns leaves a job no time; for none at all leave it out");
  static_cast<void>(&detail::process_hook<>::registered);
}

process_pool::~process_pool() {
  // (PP1) acquire: sees the pool as it was made.
  auto* const made = core_.load(std::memory_order_acquire);
  if (made != nullptr) detail::end_process_pool(*made);
}

detail::process_pool_core& process_pool::core() const {
  // (PP1) acquire, and release below: whoever finds a pool finds it made.
  auto* there = core_.load(std::memory_order_acquire);
  while (there == nullptr || there->born_in != detail::process_generation) {
    detail::process_pool_core& made = detail::make_process_pool(workers_, limits_);
    // (PP1) as above.
    bool const ours = core_.compare_exchange_strong(there, &made, std::memory_order_acq_rel, std::memory_order_acquire);
    if (ours) return made;
    detail::end_process_pool(made);  // somebody else has made it
  }
  return *there;
}

process_statistics process_pool::statistics() const {
  auto* const there = core_.load(std::memory_order_acquire);  // (PP1)
  if (there == nullptr || there->born_in != detail::process_generation) return {};
  return detail::statistics_of(there);
}

process_statistics processes_t::statistics() { return detail::statistics_of(nullptr); }

std::string to_string(process_statistics const& s) {
  auto const number = [](auto n, char const* what) { return std::to_string(n) + what; };
  return number(s.busy, " of ") + number(s.workers, " workers busy; ") + number(s.jobs, " jobs, ") +
         number(s.ended, " ended, ") + number(s.lost, " lost; ") + number(s.workers_started, " workers started, ") +
         number(s.workers_died, " died, ") + number(s.workers_killed, " killed, ") +
         number(s.workers_recycled, " recycled");
}

}  // namespace errand
