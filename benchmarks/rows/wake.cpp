// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One task to the pool and back: its workers asleep, and awake.
#include "round_trips.hpp"

#include <errand/task.hpp>

#include <memory>

namespace microbench {

namespace {

repetition cold(settings const& s, unsigned workers) {
  auto pool = std::make_shared<errand::pool>(workers);
  return [=] { return cold_round_trips(s, [&] { errand::async(*pool, empty_task).get(); }); };
}

add const cold_all{"wake-cold", role::ours, "errand", [](settings const& s) { return cold(s, s.workers); },
                   place::own_process};
add const cold_one{"wake-cold", role::ours, "errand, 1 worker", [](settings const& s) { return cold(s, 1); },
                   place::own_process};

add const hot{"wake-hot", role::ours, "errand", [](settings const& s) -> repetition {
                auto pool = std::make_shared<errand::pool>(s.workers);
                return [pool, n = s.times(50'000)] {
                  return hot_round_trips(n, [&] { errand::async(*pool, empty_task).get(); });
                };
              }};

}  // namespace

}  // namespace microbench
