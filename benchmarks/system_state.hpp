// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the system knows of us: time, CPU time, memory, and which of our threads sleep. Read by rows outside what they time.
#pragma once

#include <cstdint>
#include <vector>

#include <sys/types.h>
#include <time.h>

namespace microbench {

// Nanoseconds of a clock.
[[nodiscard]] inline std::int64_t clock_ns(clockid_t clock) {
  timespec t;
  ::clock_gettime(clock, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}
[[nodiscard]] inline std::int64_t now_ns() { return clock_ns(CLOCK_MONOTONIC); }
// CPU time of all our threads together.
[[nodiscard]] inline std::int64_t cpu_ns() { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

// The same of another process. Throws wrong_result if it has gone.
[[nodiscard]] std::int64_t cpu_ns_of(pid_t process);

// A span divided among so many, in nanoseconds.
[[nodiscard]] inline double ns_each(std::int64_t from, std::int64_t to, std::uint64_t count) {
  return static_cast<double>(to - from) / static_cast<double>(count);
}

// Bytes of memory that are ours and present.
[[nodiscard]] double resident_bytes();
// The most that it has been in this process.
[[nodiscard]] double most_resident_bytes();
// How often the calling thread, or all threads, gave up the processor of their own accord: to sleep.
[[nodiscard]] long times_slept_by_this_thread();
[[nodiscard]] long times_slept_by_all_threads();
// Our threads but the calling one.
[[nodiscard]] std::vector<pid_t> other_threads();

// Returns when all other threads of the process are seen asleep (state S). Throws wrong_result if one is not, for two
// seconds on end. The caller stays awake all the time.
void wait_until_others_sleep();
// Returns when that one thread is asleep, and lets it run meanwhile.
void wait_until_asleep(pid_t thread);
[[nodiscard]] pid_t this_thread_id();
// Whether one of our threads runs, or waits for a processor (state R).
[[nodiscard]] bool is_runnable(pid_t thread);
// The same two of the first threads of other processes.
void wait_until_processes_sleep(std::vector<pid_t> const& processes);
void wait_until_process_is_asleep(pid_t process);

// Restricts the calling thread to the first processor that it may use; for contests of threads on one processor.
void stay_on_one_processor();

}  // namespace microbench
