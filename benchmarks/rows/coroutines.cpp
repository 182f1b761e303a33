// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// co_await of a child coroutine, and of a task on a pool.
#include "system_state.hpp"
#include "who_ran.hpp"

#include <errand/task.hpp>

#include <memory>

namespace microbench {

namespace {

[[gnu::noinline]] errand::task<std::size_t> successor(std::size_t n) { co_return n + 1; }

errand::task<sample> call_children(std::size_t count) {
  std::size_t n = 0;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) {
    auto child = successor(n);
    n = co_await child;
  }
  auto const end = now_ns();
  require(n == count, "a child coroutine did not run");
  co_return sample{ns_each(begin, end, count)};
}

errand::task<sample> await_tasks(errand::pool& pool, std::size_t count) {
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) {
    auto started = errand::async(pool, empty_task);
    co_await started;
  }
  auto const end = now_ns();
  co_return sample{ns_each(begin, end, count), who.end(count).facts()};
}

// A coroutine of one pool of `workers` that awaits tasks there, or on a second pool.
repetition await_on_pool(std::size_t count, unsigned workers, bool elsewhere) {
  auto home = std::make_shared<errand::pool>(workers);
  auto other = elsewhere ? std::make_shared<errand::pool>(workers) : home;
  return [=] { return errand::async(*home, await_tasks(*other, count)).get(); };
}

add const child{"co-await-child", role::ours, "errand", [](settings const& s) -> repetition {
                  auto pool = std::make_shared<errand::pool>(1U);
                  return [pool, n = s.times(2'000'000)] { return errand::async(*pool, call_children(n)).get(); };
                }};

add const one{"co-await-async", role::ours, "errand, 1 worker",
              [](settings const& s) { return await_on_pool(s.times(200'000), 1, false); }};
add const two{"co-await-async", role::ours, "errand, 2 workers",
              [](settings const& s) { return await_on_pool(s.times(200'000), 2, false); }};
add const across{"co-await-async", role::ours, "errand, on another pool",
                 [](settings const& s) { return await_on_pool(s.times(20'000), 1, true); }};

}  // namespace

}  // namespace microbench
