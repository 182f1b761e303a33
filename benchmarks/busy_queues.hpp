// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Four hundred queues that all have work: who of those that run the items is runnable, looked at by the main thread meanwhile.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace microbench {

inline constexpr std::size_t busy_queues = 400;
inline constexpr std::int64_t busy_ns = 5000;  // the work of an item

// The threads that have run an item.
class runners {
 public:
  void here() {
    thread_local runners const* known_to = nullptr;
    if (known_to == this) return;
    known_to = this;
    std::lock_guard const lock{guard_};
    threads_.push_back(this_thread_id());
  }
  [[nodiscard]] std::vector<pid_t> threads() const {
    std::lock_guard const lock{guard_};
    return threads_;
  }

 private:
  mutable std::mutex guard_{};
  std::vector<pid_t> threads_{};
};

// In a process of its own. give(q, f): f as an item of queue number q. Milliseconds.
template <class Give>
sample keep_queues_busy(settings const& s, Give give) {
  auto const each = s.times(100);
  auto const n = busy_queues * each;
  auto const all = std::make_shared<runners>();
  auto const shared = all.get();
  std::vector<std::atomic<std::size_t>> entered(busy_queues);  // each by the items of its queue alone: no addition in one step
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < each; ++i)
    for (std::size_t q = 0; q < busy_queues; ++q)
      give(q, [shared, mine = &entered[q]] {
        shared->here();
        auto const before = mine->load(std::memory_order_relaxed);
        for (auto const until = now_ns() + busy_ns; now_ns() < until;) {
        }
        mine->store(before + 1, std::memory_order_relaxed);
        visit();
      });
  std::size_t most = 0;
  std::size_t looks = 0;
  while (who.end().visits < n) {
    auto const threads = all->threads();
    most = std::max(most, static_cast<std::size_t>(std::count_if(threads.begin(), threads.end(), &is_runnable)));
    ++looks;
    require(now_ns() - begin < 120'000'000'000, "400 queues are not done after two minutes");
    timespec const moment{0, 200'000};
    ::nanosleep(&moment, nullptr);
  }
  auto const end = now_ns();
  require(std::all_of(entered.begin(), entered.end(), [&](auto const& count) { return count.load() == each; }),
          "items of a serial queue ran at the same time");
  require(most != 0, "no thread was seen running items");
  auto facts = who.end(n).facts();
  facts.push_back({"most runnable", static_cast<double>(most)});
  facts.push_back({"runnable beyond workers", most > s.workers ? static_cast<double>(most - s.workers) : 0});
  facts.push_back({"looks", static_cast<double>(looks)});
  return {ns_each(begin, end, 1'000'000), std::move(facts)};
}

}  // namespace microbench
