// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Idle costs no CPU: a pool of eight workers after use.
#include "idle_window.hpp"

#include <errand/task.hpp>

#include <vector>

namespace microbench {

namespace {

add const idle{"idle-cpu", role::ours, "errand",
               [](settings const& s) -> repetition {
                 return [s] {
                   errand::pool pool{idle_workers};
                   return idle_window(s, [&] {
                     std::vector<errand::future<void>> futures;
                     for (int i = 0; i < 10'000; ++i) futures.push_back(errand::async(pool, empty_task));
                     for (auto& f : futures) f.get();
                   });
                 };
               },
               place::own_process};

add const nothing{"idle-cpu", role::floor, "no pool",
                  [](settings const& s) -> repetition { return [s] { return idle_window(s, [] {}); }; },
                  place::own_process};

}  // namespace

}  // namespace microbench
