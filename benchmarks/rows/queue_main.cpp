// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the main thread to a pool and back to it by main_queue(); four hundred queues that are busy at the same time.
#include "busy_queues.hpp"
#include "round_trips.hpp"

#include <errand/queue.hpp>

#include <vector>

#include <unistd.h>

namespace microbench {

namespace {

bool on_main_thread() { return this_thread_id() == ::getpid(); }

// The task's item on the main queue ends run(); it comes also if the task throws.
struct back_to_main {
  bool& on_main;
  ~back_to_main() {
    errand::async(errand::main_queue(), [&here = on_main] {
      here = on_main_thread();
      errand::main_queue().stop();
    }).detach();
  }
};
struct by_item {
  explicit by_item(unsigned workers) : pool{workers} {}
  template <class F>
  void ask(F f) {
    bool on_main = false;
    auto there = errand::async(pool, [&, f] {
      back_to_main const last{on_main};
      f();
    });
    errand::main_queue().run();
    require(on_main, "an item of the main queue ran on another thread");
    there.get();
  }
  errand::pool pool;
};

// The same as a chain: then() on the main queue.
struct by_then {
  explicit by_then(unsigned workers) : pool{workers} {}
  template <class F>
  void ask(F f) {
    auto back = errand::async(pool, f).then(errand::main_queue(), &on_main_thread);
    require(errand::main_queue().run_until(back), "an item of the main queue ran on another thread");
  }
  errand::pool pool;
};

constexpr auto item = "errand, async(main_queue(), f)";
constexpr auto chain = "errand, then(main_queue(), f)";
add const both_item{"queue-main", role::ours, item, &cold_asker<by_item, true>, place::own_process};
add const both_chain{"queue-main", role::ours, chain, &cold_asker<by_then, true>, place::own_process};
add const cold_item{"queue-main-cold", role::ours, item, &cold_asker<by_item, false>, place::own_process};
add const cold_chain{"queue-main-cold", role::ours, chain, &cold_asker<by_then, false>, place::own_process};

add const busy{"queue-400-busy", role::ours, "errand",
               [](settings const& s) -> repetition {
                 return [s] {
                   errand::pool pool{s.workers};
                   std::vector<errand::serial_queue> all;
                   for (std::size_t i = 0; i < busy_queues; ++i) all.emplace_back("busy", pool);
                   auto result = keep_queues_busy(
                       s, [&](std::size_t q, auto f) { errand::async(all[q], std::move(f)).detach(); });
                   for (auto const& q : all) errand::sync(q, [] {});
                   return result;
                 };
               },
               place::own_process};

}  // namespace

}  // namespace microbench
