// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/thread_probe.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include <cstdio>
#include <cstring>

namespace errand::detail {

void thread_probe::adopt() noexcept {
  clockid_t clock{};
  if (::pthread_getcpuclockid(::pthread_self(), &clock) != 0) return;
  clock_.store(clock, std::memory_order_relaxed);
  number_.store(::gettid(), std::memory_order_relaxed);
}

std::int64_t thread_probe::time_run() const noexcept {
  timespec t{};
  if (number() == 0 || ::clock_gettime(clock_.load(std::memory_order_relaxed), &t) != 0) return -1;
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

char thread_probe::state() const noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", number());
  int const file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return '?';
  // "number (name) state …": the name is short, and may have parentheses of its own.
  char text[128];
  auto const got = ::read(file, text, sizeof text);
  ::close(file);
  if (got <= 0) return '?';
  auto const* const end = static_cast<char const*>(::memrchr(text, ')', static_cast<std::size_t>(got)));
  return end != nullptr && end + 2 < text + got ? end[2] : '?';
}

}  // namespace errand::detail
