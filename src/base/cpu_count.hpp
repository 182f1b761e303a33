// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How many workers the default pool has: ERRAND_THREADS, or the processors this process may really use, by affinity and
// by the container's quota. Called once, when the first pool starts.
#pragma once

#include <string_view>

namespace errand::detail {

inline constexpr unsigned most_workers = 4096;

/// At least 1, at most `most_workers`. An ERRAND_THREADS that is no number from 1 to that is said on stderr and ignored.
[[nodiscard]] unsigned default_worker_count();

/// What an environment variable says, if that is a number from `least` to `most_workers`; otherwise that is said on stderr.
/// `otherwise` then, and if there is no such variable or nothing in it.
[[nodiscard]] unsigned limit_from_environment(char const* name, unsigned least, unsigned otherwise);

/// Processors allowed by sched_getaffinity, capped by the cgroup's CPU quota (version 2, else 1), rounded up.
[[nodiscard]] unsigned usable_processors();

/// The quota in the texts of a cgroup's files, as processors rounded up; 0 where there is none. Version 2: "cpu.max";
/// version 1: cpu.cfs_quota_us and cpu.cfs_period_us.
[[nodiscard]] unsigned quota_of(std::string_view cpu_max) noexcept;
[[nodiscard]] unsigned quota_of(std::string_view quota_us, std::string_view period_us) noexcept;

}  // namespace errand::detail
