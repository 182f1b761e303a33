// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "system_state.hpp"

#include "harness.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace microbench {

namespace {

struct close_file {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using file = std::unique_ptr<std::FILE, close_file>;

// The third field of /proc/.../stat; the second, the name in parentheses, may hold anything. 'X' for a thread that is gone.
char state_of(pid_t thread) {
  auto const path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  file const stat{std::fopen(path.c_str(), "re")};
  char line[512];
  if (!stat || std::fgets(line, sizeof line, stat.get()) == nullptr) return 'X';
  char const* const name_end = std::strrchr(line, ')');
  return name_end != nullptr && name_end[1] == ' ' ? name_end[2] : 'X';
}

long times_slept(int who) {
  rusage u;
  ::getrusage(who, &u);
  return u.ru_nvcsw;
}

}  // namespace

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
  auto const last = now_ns() + 2'000'000'000;
  auto const others = other_threads();
  for (;;) {
    bool all = true;
    for (auto const id : others) {
      char const state = state_of(id);
      all = all && (state == 'S' || state == 'X');
    }
    if (all) return;
    require(now_ns() < last, "a thread that should be idle is still not asleep after 2 s");
  }
}

void wait_until_asleep(pid_t thread) {
  auto const last = now_ns() + 2'000'000'000;
  while (state_of(thread) != 'S') {
    require(now_ns() < last, "a thread that should wait for its task is still not asleep after 2 s");
    timespec const moment{0, 20'000};  // it may need the processor that we are on
    ::nanosleep(&moment, nullptr);
  }
}

pid_t this_thread_id() { return ::gettid(); }

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
