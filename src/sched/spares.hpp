// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is to be known of spares outside spares.cpp: the limit that a pool has unless it was told another, and how long one
// waits to be needed again before its thread ends.
#pragma once

#include <atomic>
#include <cstdint>

namespace errand::detail {

/// ERRAND_SPARE_THREADS, else 256.
[[nodiscard]] unsigned default_most_spares();

/// Nanoseconds, as for blocking threads: a thread costs as much as some dozen tasks, but keeps its stack as long as it is
/// there. Changed by tests alone.
inline constinit std::atomic<std::int64_t> spare_idle_limit{10'000'000'000};

}  // namespace errand::detail
