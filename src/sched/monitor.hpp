// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The monitor: one thread of the process. It looks at pools in which there is work and nobody left to wake, whether their
// workers are blocked in the kernel, and calls spares for those (spares.cpp). Who would wake a worker and finds none asleep
// wakes the monitor, which is started by the first of them, and sleeps while no pool is watched. README.md, "Spares".
#pragma once

#include <atomic>
#include <cstdint>

namespace errand::detail {

/// The monitor sleeps on it: (M1) release of 1 by who calls it, after a pool's `watched_`; acquire by the monitor.
inline constinit std::atomic<std::uint32_t> monitor_called{0};

/// Starts its thread, unless this process has done so.
void start_monitor() noexcept;

}  // namespace errand::detail
