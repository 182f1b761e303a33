// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/lock.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

TEST(lock, sections_exclude_one_another) {
  small_lock guard;
  int plain = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        std::lock_guard const held{guard};
        ++plain;
      }
    });
  threads.clear();
  EXPECT_EQ(plain, 8 * 5000);
}

TEST(lock, those_who_had_to_sleep_are_woken) {
  // Sections longer than anybody spins: each waiter really sleeps.
  small_lock guard;
  int plain = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        std::lock_guard const held{guard};
        ++plain;
        for (int y = 0; y < 10; ++y) std::this_thread::yield();
      }
    });
  threads.clear();
  EXPECT_EQ(plain, 8 * 50);
}

TEST(lock, is_four_bytes) { EXPECT_EQ(sizeof(small_lock), 4U); }

}  // namespace
}  // namespace errand::detail
