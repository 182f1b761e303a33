// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two runners that let each other run: what tasks, fibers and threads are all timed by. Each calls take_turns() once.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

#include <atomic>

namespace microbench {

// The counters are atomics for the sake of the threads among the rivals; all accesses are plain loads and stores.
class alternation {
 public:
  explicit alternation(std::size_t turns) : turns_{turns} {}

  // `me` is 1 or 2; `yield` lets the other run.
  template <class Yield>
  void take_turns(int me, Yield yield) {
    present_.fetch_add(1);
    while (present_.load(std::memory_order_relaxed) != 2) yield();
    if (me == 1) begin_ = now_ns();
    for (std::size_t i = 0; i < turns_; ++i) {
      if (last_.load(std::memory_order_relaxed) != me)
        alternated_.store(alternated_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      last_.store(me, std::memory_order_relaxed);
      yield();
    }
    if (me == 1) end_ = now_ns();
  }

  // When both have returned. A yield of one includes the other's, so a turn of both counts as two.
  [[nodiscard]] sample result() const {
    auto const share = static_cast<double>(alternated_.load()) / static_cast<double>(2 * turns_);
    require(share > 0, "neither let the other run");
    return {ns_each(begin_, end_, 2 * turns_), {{"% alternated", 100 * share}}};
  }

 private:
  std::size_t turns_;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
  std::atomic<int> present_{0};
  std::atomic<int> last_{0};
  std::atomic<std::size_t> alternated_{0};
};

}  // namespace microbench
