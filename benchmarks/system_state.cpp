// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "system_state.hpp"

#include "harness.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace microbench {

namespace {

constexpr std::int64_t patience = 2'000'000'000;

struct close_file {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using file = std::unique_ptr<std::FILE, close_file>;

// The third field of /proc/.../stat; the second, the name in parentheses, may hold anything. 'X' for a thread that is gone.
char state_in(std::string const& path) {
  file const stat{std::fopen(path.c_str(), "re")};
  char line[512];
  if (!stat || std::fgets(line, sizeof line, stat.get()) == nullptr) return 'X';
  char const* const name_end = std::strrchr(line, ')');
  return name_end != nullptr && name_end[1] == ' ' ? name_end[2] : 'X';
}

char state_of(pid_t thread) { return state_in("/proc/self/task/" + std::to_string(thread) + "/stat"); }
// Of the first thread of any process.
char state_of_process(pid_t process) { return state_in("/proc/" + std::to_string(process) + "/stat"); }

// Looks until each of them is asleep or gone; the caller stays awake all the time.
template <class State>
void wait_until_all_sleep(std::vector<pid_t> const& ids, State state, char const* otherwise) {
  auto const last = now_ns() + patience;
  for (;;) {
    bool all = true;
    for (auto const id : ids) {
      char const seen = state(id);
      all = all && (seen == 'S' || seen == 'X');
    }
    if (all) return;
    require(now_ns() < last, otherwise);
  }
}
// The same for one, which may need the processor that we are on.
template <class State>
void let_fall_asleep(pid_t id, State state, char const* otherwise) {
  auto const last = now_ns() + patience;
  while (state(id) != 'S') {
    require(now_ns() < last, otherwise);
    timespec const moment{0, 20'000};
    ::nanosleep(&moment, nullptr);
  }
}

long times_slept(int who) {
  rusage u;
  ::getrusage(who, &u);
  return u.ru_nvcsw;
}

}  // namespace

std::int64_t cpu_ns_of(pid_t process) {
  clockid_t clock;
  require(::clock_getcpuclockid(process, &clock) == 0, "a process that should be there has no clock");
  return clock_ns(clock);
}

double resident_bytes() {
  file const statm{std::fopen("/proc/self/statm", "re")};
  long total = 0, resident = 0;
  require(statm && std::fscanf(statm.get(), "%ld %ld", &total, &resident) == 2, "/proc/self/statm cannot be read");
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double most_resident_bytes() {
  // Not getrusage's ru_maxrss, which a process inherits from the one that started it.
  file const status{std::fopen("/proc/self/status", "re")};
  char line[256];
  long kibibytes = 0;
  while (status && std::fgets(line, sizeof line, status.get()) != nullptr)
    if (std::sscanf(line, "VmHWM: %ld kB", &kibibytes) == 1) return static_cast<double>(kibibytes) * 1024;
  throw wrong_result{"/proc/self/status has no VmHWM"};
}

long times_slept_by_this_thread() { return times_slept(RUSAGE_THREAD); }
long times_slept_by_all_threads() { return times_slept(RUSAGE_SELF); }

std::vector<pid_t> other_threads() {
  std::vector<pid_t> others;
  for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/task"}) {
    auto const id = static_cast<pid_t>(std::atoi(entry.path().filename().c_str()));
    if (id != ::gettid()) others.push_back(id);
  }
  return others;
}

void wait_until_others_sleep() {
  wait_until_all_sleep(other_threads(), &state_of, "a thread that should be idle is still not asleep after 2 s");
}
void wait_until_processes_sleep(std::vector<pid_t> const& processes) {
  wait_until_all_sleep(processes, &state_of_process, "a process that should be idle is still not asleep after 2 s");
}

void wait_until_asleep(pid_t thread) {
  let_fall_asleep(thread, &state_of, "a thread that should wait for its task is still not asleep after 2 s");
}
void wait_until_process_is_asleep(pid_t process) {
  let_fall_asleep(process, &state_of_process, "a process that should wait for its job is still not asleep after 2 s");
}

pid_t this_thread_id() { return ::gettid(); }

bool is_runnable(pid_t thread) { return state_of(thread) == 'R'; }

void stay_on_one_processor() {
  cpu_set_t allowed;
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &allowed)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

}  // namespace microbench
