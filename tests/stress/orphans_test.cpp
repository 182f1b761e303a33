// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Children that are let go of before they begin, as they begin, and by others than who started them: what becomes of their parent
// does not matter to them, and what it has not let go of goes with it.
#include <errand/queue.hpp>
#include <errand/task.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "stress/by_chance.hpp"

namespace {

using errand_test::counted;
using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;

class orphans : public errand_test::by_chance {};

TEST_F(orphans, a_stop_of_the_parent_reaches_those_that_it_keeps_alone) {
  for (rounds r{300}; r.next();) {
    errand::serial_queue q{"orphans"};
    auto held = q.suspend();
    std::atomic<int> ran{0}, never{0}, perhaps{0};
    std::atomic<bool> ready{false};
    auto parent = errand::async([&, mine = random.split()]() mutable {
      auto const child = [&, c = counted{}] {
        errand::async([] { errand::this_task::check_stop(); }).get();
        errand::this_task::check_stop();
        ++ran;
      };
      for (int i = 0; i < 3; ++i) errand::async(q, child).detach();
      auto kept = errand::async(q, [&, c = counted{}] { ++never; });
      auto in_the_queue = errand::async(q, child);
      auto on_the_pool = errand::async([&, c = counted{}] { ++perhaps; });
      ready = true;
      dither(mine);
      on_the_pool.detach();
      in_the_queue.detach();
      kept.get();
    });
    while (!ready) std::this_thread::yield();
    dither(random);
    parent.request_stop();
    ASSERT_TRUE(parent.result().stopped());
    held.resume();
    errand::async(q, [] {}).get();
    while (counted::alive() != 0) std::this_thread::yield();
    ASSERT_EQ(ran, 4);
    ASSERT_EQ(never, 0);
    ASSERT_LE(perhaps, 1);
  }
}

TEST_F(orphans, chains_are_let_go_of_by_others_while_their_links_begin_and_end) {
  for (rounds r{2000}; r.next();) {
    errand::serial_queue q{"orphans"};
    std::atomic<int> ran{0};
    auto const link = [&, c = counted{}] { ++ran; };
    errand::async([&, mine = random.split()]() mutable {
      auto chain = errand::async(q, link).then(link).then(q, link);
      errand::async([kept = std::move(chain), its = mine.split()]() mutable {
        dither(its);
        kept.detach();
      }).detach();
    }).get();
    while (ran != 3) std::this_thread::yield();
  }
  while (counted::alive() != 0) std::this_thread::yield();
}

TEST_F(orphans, of_orphans_go_on_in_ten_queues_when_all_before_have_ended) {
  errand::serial_queue queues[10];
  constexpr int steps = 200;
  struct token {
    errand::serial_queue* all;
    std::atomic<int>* arrived;
    generator random;
    counted alive;
    void operator()(int left) {
      if (left == 0) {
        ++*arrived;
        return;
      }
      auto next = errand::async(all[random.below(10)], [self = *this, left]() mutable { self(left - 1); });
      if (random.one_in(3)) dither(random);
      if (random.one_in(5))
        errand::async([kept = std::move(next)]() mutable { kept.detach(); }).detach();
      else
        next.detach();
    }
  };
  for (rounds r{20}; r.next();) {
    std::atomic<int> arrived{0};
    for (int i = 0; i < 20; ++i) token{queues, &arrived, random.split(), counted{}}(steps);
    while (arrived != 20 || counted::alive() != 0) std::this_thread::yield();
  }
}

}  // namespace
