// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forks at any moment: the parent's threads and tasks hold whatever locks they hold, and the children, and theirs, go on.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/task.hpp>

#include <unistd.h>
#include <atomic>
#include <thread>
#include <vector>

#include "support/in_child.hpp"
#include "support/seed.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::in_child;
using errand_test::require;
using errand_test::rounds;

// Something of everything that takes a lock of errand's.
void do_something(errand_test::generator& random, errand::pool& own) {
  switch (random.below(6)) {
    case 0:
      errand::async([] { errand::this_task::sleep_for(10us); }).get();
      break;
    case 1:
      errand::async([] {}).detach();
      break;
    case 2: {
      std::vector<errand::future<void>> many;
      for (int i = 0; i < 100; ++i) many.push_back(errand::async([] { errand::this_task::yield(); }));
      break;
    }
    case 3:
      errand::for_each_index(100, [](std::size_t) {});
      break;
    case 4:
      errand::async(own, [] { errand::async([] {}).get(); }).get();
      break;
    case 5: {
      auto late = errand::async({.timeout = 10us}, [] { errand::this_task::sleep_for(24h); });
      static_cast<void>(late.result());
      errand::pool short_lived{1};
      break;
    }
  }
}

TEST(fork_stress, children_work_whatever_the_parents_threads_were_doing) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  errand_test::generator seeds{errand_test::test_seed()};
  errand::pool own{2};
  std::atomic<bool> over{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 2; ++i)
    busy.emplace_back([&over, &own, random = seeds.split()]() mutable {
      while (!over) do_something(random, own);
    });
  for (rounds r{60}; r.next();) {
    auto random = seeds.split();
    ASSERT_EQ(in_child([&] {
                for (int i = 0; i < 5; ++i) do_something(random, own);
                require(in_child([&] { do_something(random, own); }) == 0, "a child of the child");
                require(errand::finish() == 0, "nothing is left");
              }),
              0);
  }
  over = true;
  for (auto& t : busy) t.join();
}

}  // namespace
