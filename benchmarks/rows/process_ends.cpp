// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Jobs that do not end well: how soon a crash is heard of and whom it harms, and how soon a runaway is dead.
#include "process_trips.hpp"

#include <errand/process.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <new>

#include <csignal>
#include <sys/mman.h>

namespace microbench {

namespace {

// ---- a crash

void crash() { ::raise(SIGSEGV); }

// From the start of a job that crashes, with a worker awake for it, until its future throws.
double crash_heard_of() {
  auto const begin = now_ns();
  auto doomed = errand::async(errand::processes, &crash);
  try {
    doomed.get();
  } catch (errand::process_died const& e) {
    auto const end = now_ns();
    require(e.signal() == SIGSEGV, "the job did not die of its signal");
    return ns_each(begin, end, 1'000'000);
  }
  throw wrong_result{"a job that crashed has returned"};
}

// Forty jobs, one that crashes in their midst: each of the others gives its answer. How many did not.
std::uint32_t harmed_by_a_crash(attendance& who) {
  constexpr std::uint32_t others = 40;
  std::vector<errand::future<stamp>> jobs;
  errand::future<void> doomed;
  for (std::uint32_t i = 0; i < others; ++i) {
    if (i == others / 2) doomed = errand::async(errand::processes, &crash);
    jobs.push_back(errand::async(errand::processes, &stamped, i));
  }
  require(doomed.result().error() != nullptr, "a job that crashed has returned");
  std::uint32_t harmed = 0;
  for (std::uint32_t i = 0; i < others; ++i) {
    try {
      who.note(jobs[i].get(), i);
    } catch (errand::process_died const&) {
      ++harmed;
    }
  }
  return harmed;
}

sample crashes(settings const& s) {
  std::vector<double> times;
  attendance who;
  for (std::size_t i = 0; i < s.times(100); ++i) {
    who.note(errand::async(errand::processes, &stamped, 7U).get(), 7);  // a new worker in place of the last
    times.push_back(crash_heard_of());
  }
  auto const harmed = harmed_by_a_crash(who);
  return {median(times),
          {{"processes", static_cast<double>(who.others().size())},
           {"worst ms", *std::max_element(times.begin(), times.end())},
           {"others harmed", static_cast<double>(harmed)}}};
}

add const crashed{"process-crash", role::ours, "errand",
                  [](settings const& s) -> repetition { return [s] { return crashes(s); }; }, place::own_process};

// ---- a runaway

// What the runaway tells of itself. Shared with the workers: made before them.
struct telltale {
  std::atomic<pid_t> process{0};
  std::atomic<std::uint64_t> turns{0};
};
telltale* runaway_tells = nullptr;

void run_away() {
  runaway_tells->process.store(::getpid());
  for (;;) runaway_tells->turns.fetch_add(1, std::memory_order_relaxed);
}

sample runaways(settings const& s) {
  using clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC, as now_ns()
  std::vector<double> thrown, dead;
  for (std::size_t i = 0; i < s.times(20); ++i) {
    static_cast<void>(errand::async(errand::processes, &stamped, 7U).get());
    runaway_tells->process = 0;
    runaway_tells->turns = 0;
    auto const deadline = clock::now() + std::chrono::milliseconds{20};
    bool late = false;
    auto runaway = errand::async({.on = errand::processes, .deadline = deadline}, &run_away);
    try {
      runaway.get();
    } catch (errand::timed_out const&) {
      late = true;
    }
    auto const told = clock::now();
    require(late && told >= deadline, "a loop without end has ended before its deadline");
    require(runaway_tells->turns.load() != 0, "the loop without end has not begun");
    while (::kill(runaway_tells->process.load(), 0) == 0)
      require(clock::now() < deadline + std::chrono::seconds{10}, "the runaway is still there 10 s after its deadline");
    require(errno == ESRCH, "the runaway is somebody else's process");
    auto const gone = clock::now();
    auto const ms = [&](clock::time_point at) { return std::chrono::duration<double, std::milli>(at - deadline).count(); };
    thrown.push_back(ms(told));
    dead.push_back(ms(gone));
  }
  return {median(dead), {{"ms to get()", median(thrown)}, {"worst ms", *std::max_element(dead.begin(), dead.end())}}};
}

add const overrun{"process-deadline", role::ours, "errand",
                  [](settings const& s) -> repetition {
                    void* const shared =
                        ::mmap(nullptr, sizeof(telltale), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
                    require(shared != MAP_FAILED, "no memory to share with the workers");
                    runaway_tells = new (shared) telltale;
                    return [s] { return runaways(s); };
                  },
                  place::own_process};

}  // namespace

}  // namespace microbench
