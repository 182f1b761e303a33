// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// System allocations in the steady state: after the same work has been done some times.
#include "allocations.hpp"

#include "who_ran.hpp"

#include <errand/task.hpp>

#include <memory>
#include <vector>

namespace microbench {

namespace {

constexpr std::size_t tasks = 10'000;
constexpr int rounds_before =
    20;  // how many tasks are alive at once differs from one to the next: the most must have been

// What `tasks` tasks allocate, of which all have been joined when `work` returns.
template <class Work>
sample allocations_of(Work work) {
  for (int i = 0; i < rounds_before; ++i) work();
  roll_call const who;
  std::uint64_t allocations;
  {
    allocation_count const count;
    work();
    allocations = count.so_far();
  }
  auto facts = who.end(tasks).facts();
  facts.push_back({"in all", static_cast<double>(allocations)});
  return {static_cast<double>(allocations) / tasks, std::move(facts)};
}

using errand::pool;

errand::task<void> coroutine_child() {
  visit();
  co_return;
}
errand::task<void> coroutine_parent(pool& p) {
  for (std::size_t i = 0; i < tasks; ++i) co_await errand::async(p, coroutine_child());
}

repetition from_main(settings const& s) {
  auto p = std::make_shared<pool>(s.workers);
  auto futures = std::make_shared<std::vector<errand::future<void>>>(tasks);
  return [=] {
    return allocations_of([&] {
      for (auto& f : *futures) f = errand::async(*p, empty_task);
      for (auto& f : *futures) f.get();
    });
  };
}

// One task of a pool joins them all, one after the other.
repetition inside(settings const& s, void (*join)(pool&)) {
  auto p = std::make_shared<pool>(s.workers);
  return [=] {
    return allocations_of([&] {
      errand::async(*p, [&] {
        for (std::size_t i = 0; i < tasks; ++i) join(*p);
      }).get();
    });
  };
}

add const in_task{"allocations", role::ours, "errand, inside a task",
                  [](settings const& s) { return inside(s, [](pool& p) { errand::async(p, empty_task).get(); }); }};
add const main_thread{"allocations", role::ours, "errand, from main", &from_main};
add const hop{"allocations", role::ours, "errand, by a hop",
              [](settings const& s) { return inside(s, [](pool& p) { errand::async(p, coroutine_child()).get(); }); }};
add const coroutines{"allocations", role::ours, "errand, coroutines", [](settings const& s) -> repetition {
                       auto p = std::make_shared<pool>(s.workers);
                       return [=] { return allocations_of([&] { errand::async(*p, coroutine_parent(*p)).get(); }); };
                     }};

}  // namespace

}  // namespace microbench
