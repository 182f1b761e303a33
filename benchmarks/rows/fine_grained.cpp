// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fine-grained dispatches: by a coroutine on the pool, by plain serial code on the main thread and in a task.
#include "fine_grained.hpp"

#include <errand/task.hpp>

#include <memory>

namespace microbench {

namespace {

// As added_by_dispatch(), written for a coroutine: the co_await cannot stand in a callable.
errand::task<sample> added_by_awaiting(errand::pool& pool, settings const& s) {
  roll_call const who;
  slices work{s};
  while (work.next()) {
    std::size_t serial = 0, dispatched = 0;
    auto const t0 = now_ns();
    for (auto i = work.begin(); i < work.end(); ++i) serial += count_to(i);
    auto const t1 = now_ns();
    for (auto i = work.begin(); i < work.end(); ++i) {
      auto inner = errand::async(pool, &counted_task, i, seat_of_this_thread());
      dispatched += co_await inner;
    }
    work.note(t0, t1, now_ns(), serial, dispatched);
  }
  co_return work.result(who);
}

auto dispatch_to(errand::pool& pool) {
  return [&pool](std::size_t i, seat const* here) { return errand::async(pool, &counted_task, i, here).get(); };
}

add const coroutines{"fine-grained", role::ours, "errand, coroutines", [](settings const& s) -> repetition {
                       auto pool = std::make_shared<errand::pool>(s.workers);
                       return [=] { return errand::async(*pool, added_by_awaiting(*pool, s)).get(); };
                     }};
add const from_main{"fine-grained", role::ours, "errand, threads from main", [](settings const& s) -> repetition {
                      auto pool = std::make_shared<errand::pool>(s.workers);
                      return [=] { return added_by_dispatch(s, dispatch_to(*pool)); };
                    }};
add const from_task{"fine-grained", role::ours, "errand, threads from a task", [](settings const& s) -> repetition {
                      auto pool = std::make_shared<errand::pool>(s.workers);
                      return [=] {
                        return errand::async(*pool, [&] { return added_by_dispatch(s, dispatch_to(*pool)); }).get();
                      };
                    }};

}  // namespace

}  // namespace microbench
