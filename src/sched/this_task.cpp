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
  check_stop();
  worker* const w = this_thread().as_worker;
  if (w == nullptr) return std::this_thread::yield();
  if (w->work().seems_empty() && w->home().arrivals().seems_empty() && !w->has_mail()) return;
  fiber_waiter f;
  f.run = [](runnable* r) noexcept { worker::resume(static_cast<fiber_waiter&>(*r)); };
  f.reschedule = true;
  worker::leave_stack_to(f);
  check_stop();
}

}  // namespace errand::this_task
