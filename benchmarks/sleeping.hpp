// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sleeping: how late one sleep ends, and many sleepers at once. What ours, the rivals and the bare thread are timed by.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

#include <atomic>
#include <chrono>

namespace microbench {

inline constexpr std::chrono::nanoseconds short_sleep = std::chrono::milliseconds{1};
inline constexpr std::chrono::nanoseconds long_sleep = std::chrono::milliseconds{100};

// How late sleeps of short_sleep ended; collected by whoever sleeps.
class lateness {
 public:
  // `begin` is the time just before the sleep; called just after it.
  void woke(std::int64_t begin) {
    auto const late = now_ns() - begin - short_sleep.count();
    require(late >= 0, "a sleep ended before its time");
    late_.push_back(static_cast<double>(late) / 1000);
  }
  [[nodiscard]] bool enough(std::size_t count) const { return late_.size() == count; }
  // In microseconds.
  [[nodiscard]] sample result() const {
    return {median(late_),
            {{"p99", percentile(late_, 99)}, {"CPU", ns_each(cpu_, cpu_ns(), 1) / ns_each(from_, now_ns(), 1)}}};
  }

 private:
  std::int64_t cpu_ = cpu_ns();
  std::int64_t from_ = now_ns();
  std::vector<double> late_{};
};

// Sleep short_sleep by `sleep`, again and again.
template <class Sleep>
sample lateness_of(std::size_t count, Sleep sleep) {
  lateness late;
  while (!late.enough(count)) {
    auto const begin = now_ns();
    sleep();
    late.woke(begin);
  }
  return late.result();
}

// Many sleepers of long_sleep at the same time, in a process of their own.
class sleepers {
 public:
  // By each, with the time just before its sleep.
  void woke(std::int64_t begin) {
    if (now_ns() - begin < long_sleep.count()) early_.fetch_add(1, std::memory_order_relaxed);
    woken_.fetch_add(1, std::memory_order_relaxed);
  }
  // By who has started them all.
  void all_started() { threads_ = other_threads().size(); }
  // In milliseconds.
  [[nodiscard]] sample result(std::size_t count) const {
    auto const end = now_ns();
    require(woken_.load() == count, "not every sleeper woke");
    require(early_.load() == 0, "a sleeper woke before its time");
    return {ns_each(from_, end, 1'000'000),
            {{"MB", (most_resident_bytes() - resident_before_) / 1e6},
             {"threads", static_cast<double>(threads_)},
             {"CPU s", ns_each(cpu_, cpu_ns(), 1'000'000'000)}}};
  }

 private:
  double resident_before_ = resident_bytes();
  std::size_t threads_ = 0;
  std::int64_t cpu_ = cpu_ns();
  std::int64_t from_ = now_ns();
  std::atomic<std::size_t> woken_{0};
  std::atomic<std::size_t> early_{0};
};

}  // namespace microbench
