// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a running task may ask of itself.
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/rare_fields.hpp"
#include "task/thread_state.hpp"

#include <errand/task.hpp>

namespace errand::this_task {

using namespace detail;

std::string_view name() noexcept {
  record const* const self = this_thread().current;
  if (self == nullptr) return {};
  auto const* const rare = self->rare_.load(std::memory_order_acquire);  // (F1)
  return rare != nullptr ? std::string_view{rare->name} : std::string_view{};
}

std::stop_token stop_token() {
  record* const self = this_thread().current;
  return self != nullptr ? stop_token_of(*self) : std::stop_token{};
}

void check_stop() {
  if (record* const self = this_thread().current; self != nullptr) throw_if_stopped(*self);
}

void yield() {
  thread_state& t = this_thread();
  record* const self = t.current;  // the same on whatever thread it goes on
  if (self != nullptr) throw_if_stopped(*self);
  if (t.as_worker == nullptr || t.calling_back != 0) return std::this_thread::yield();
  worker::let_others_run(t);
  if (self != nullptr) throw_if_stopped(*self);
}

}  // namespace errand::this_task
