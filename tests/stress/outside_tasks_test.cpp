// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tasks whose work goes on outside the pools, as those of worker processes: their end against a stop.
#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <atomic>
#include <thread>

#include "support/seed.hpp"

namespace {

namespace detail = errand::detail;
using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;
using errand_test::test_seed;

/// A task outside whose work is done, or stopped, whenever the test says so.
struct outside_task final : detail::result_record<void>, detail::waiter {
  outside_task() : detail::result_record<void>{&act, std::source_location::current()} {
    wake = [](detail::waiter*) noexcept {};
  }
  static bool act(detail::record* base, detail::record_verb verb) noexcept {
    if (verb == detail::record_verb::destroy) {
      auto* const self = static_cast<outside_task*>(base);
      self->~outside_task();
      detail::deallocate_record(self, sizeof(outside_task));
    }
    return true;
  }
};

// The stopper has found the waiter, and has not claimed it yet, when the end comes: the end must not wait for what never comes.
TEST(outside_tasks, a_stop_and_the_end_at_the_same_time) {
  generator random{test_seed()};
  std::atomic<outside_task*> to_stop{nullptr};
  std::atomic<bool> last{false};
  std::jthread stopper([&, chance = random.split()]() mutable {
    for (;;) {
      outside_task* const r = to_stop.load();
      if (r != nullptr) {
        dither(chance);
        detail::request_stop(*r);
        to_stop.store(nullptr);
      } else if (last.load()) {
        return;
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (rounds r{20'000}; r.next();) {
    auto* const task = detail::make_record<outside_task>();
    detail::begin_outside(*task, *task);
    to_stop.store(task);
    dither(random);
    detail::end_outside(*task, *task);
    EXPECT_TRUE(task->done());
    while (to_stop.load() != nullptr) std::this_thread::yield();
    detail::release_handle(*task);
  }
  last.store(true);
}

}  // namespace
