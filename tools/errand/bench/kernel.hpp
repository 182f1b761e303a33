// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The work itself: counting loops and files of lines, exactly the jobs of the post.
// Every technique and every rival calls these same compiled functions (they live in a
// translation unit of their own and are never inlined), so that the rows of the table
// differ only in how the work is handed out. Jobs and answers are trivially copyable:
// they travel to other processes as they are. Failures are answers, not exceptions,
// because half of the rivals cannot carry an exception home.
#pragma once

#include <cstdint>
#include <string_view>

namespace bench {

inline constexpr std::string_view line_of_the_post = "asdf\n";

enum class job_kind : std::uint32_t { count, write };

// One indivisible job: count a double loop of size n, or write n lines to a new file.
struct job {
  static constexpr std::size_t path_capacity = 1000;

  job_kind kind = job_kind::count;
  std::uint64_t n = 0;
  bool durable = false;           // a write job is done when the file is on the disk
  char path[path_capacity] = {};  // of a write job, null-terminated

  static job count(std::uint64_t n);
  static job write(std::uint64_t lines, std::string_view path,
                   bool durable = false);  // throws failure if the path is too long
};

struct answer {
  std::uint64_t value = 0;       // steps counted, or lines written
  double seconds = 0;            // of this job alone, on the thread that ran it
  std::uint64_t place = 0;       // where it ran, see current_place()
  std::uint64_t dispatches = 0;  // fine-grained only: inner loops handed out one by one
  std::uint64_t elsewhere = 0;   // of those, how many ran on another thread or process than the one that dispatched
  int error = 0;                 // errno of a failed write
};

// The result of one inner loop, the unit that the fine-grained workload dispatches.
struct unit {
  std::uint64_t steps = 0;
  std::uint64_t place = 0;
};

// Counts 0 to i one step at a time; no step can be optimised away.
[[gnu::noinline]] unit inner_loop(std::uint64_t i) noexcept;

// Runs one job from beginning to end where it is called.
[[gnu::noinline]] answer run_job(job const& j) noexcept;

// A number that differs between any two live threads, also of different processes.
// Costs two loads, no system call: a fine-grained run calls it for every dispatch.
std::uint64_t current_place() noexcept;

// Seconds on the steady clock.
double now() noexcept;

// The fine-grained form of a job: a counting job becomes n dispatches, each awaited before
// the next, `dispatch(i)` running inner_loop(i) wherever the technique sends it.
template <class Dispatch>
answer count_by_dispatches(job const& j, Dispatch&& dispatch) {
  double const begin = now();
  answer a;
  for (std::uint64_t i = 0; i < j.n; ++i) {
    std::uint64_t const here = current_place();
    unit const u = dispatch(i);
    a.value += u.steps;
    a.elsewhere += u.place != here ? 1 : 0;
  }
  a.dispatches = j.n;
  a.place = current_place();
  a.seconds = now() - begin;
  return a;
}

}  // namespace bench
