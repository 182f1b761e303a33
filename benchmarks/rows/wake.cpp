// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One task to the pool and back: its workers asleep, and awake.
#include "round_trips.hpp"

#include <errand/task.hpp>

namespace microbench {

namespace {

struct whole_pool {
  explicit whole_pool(unsigned workers) : pool{workers} {}
  template <class F>
  void ask(F f) {
    errand::async(pool, f).get();
  }
  errand::pool pool;
};
struct one_worker : whole_pool {
  explicit one_worker(unsigned) : whole_pool{1} {}
};

constexpr auto cold = "wake-cold";
constexpr auto both_asleep = "wake-both-asleep";

add const cold_all{cold, role::ours, "errand", &cold_asker<whole_pool, false>, place::own_process};
add const cold_one{cold, role::ours, "errand, 1 worker", &cold_asker<one_worker, false>, place::own_process};
add const both_all{both_asleep, role::ours, "errand", &cold_asker<whole_pool, true>, place::own_process};
add const both_one{both_asleep, role::ours, "errand, 1 worker", &cold_asker<one_worker, true>, place::own_process};
add const hot{"wake-hot", role::ours, "errand", &hot_asker<whole_pool, 50'000>};

// What a process costs beside a thread.
constexpr auto a_thread = "errand, a thread";
add const beside_hot{"process-hot", role::ours, a_thread, &hot_asker<whole_pool, 50'000>, place::own_process};
add const beside_idle{"process-idle", role::ours, a_thread, &cold_asker<whole_pool, false>, place::own_process};
add const beside_both{"process-both-asleep", role::ours, a_thread, &cold_asker<whole_pool, true>, place::own_process};

}  // namespace

}  // namespace microbench
