// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/monitor.hpp"

#include "base/fork.hpp"
#include "base/futex.hpp"
#include "sched/pool_core.hpp"
#include "sched/threads.hpp"

namespace errand::detail {

namespace {

// Its thread never ends: no static destructor joins one.
constinit std::atomic<bool> started{false};

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { started.store(false, std::memory_order_relaxed); }};

[[noreturn]] void run() noexcept {
  for (;;) {
    monitor_called.exchange(0, std::memory_order_acquire);  // (M1)
    auto const next_look = pool_core::look_at_watched();
    futex_wait(monitor_called, 0, next_look);
  }
}

}  // namespace

void start_monitor() noexcept {
  if (started.load(std::memory_order_relaxed) || started.exchange(true, std::memory_order_relaxed)) return;
  try {
    start_thread("errand/monitor", [] { run(); }).detach();
  } catch (...) {
    started.store(false, std::memory_order_relaxed);  // where no thread can be started, there would be no spare either
  }
}

}  // namespace errand::detail
