// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/recycler.hpp"

#include "base/sanitizers.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <semaphore>
#include <set>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace errand::detail {
namespace {

std::uint64_t system_allocations() { return recycler_statistics().system_allocations; }

TEST(recycler, blocks_are_aligned_disjoint_and_writable_in_every_size) {
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (std::size_t size = 1; size <= 1500; size += 7) {
    auto* const block = static_cast<unsigned char*>(recycled_allocate(size));
    std::size_t const rounded = (size + 15) / 16 * 16;
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % (rounded % 64 == 0 ? 64 : rounded % 32 == 0 ? 32 : 16), 0U);
    std::memset(block, static_cast<int>(size % 251), size);
    blocks.emplace_back(block, size);
  }
  for (auto const& [block, size] : blocks) {
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(block[i], size % 251);
    recycled_free(block, size);
  }
}

TEST(recycler, the_steady_state_of_one_thread_asks_the_system_for_nothing) {
  if (sanitized_memory) GTEST_SKIP() << "every block comes from the system, so that the sanitizer sees it";
  auto const round = [] {
    std::vector<void*> blocks;
    for (int i = 0; i < 1000; ++i) blocks.push_back(recycled_allocate(200));
    for (void* const b : blocks) recycled_free(b, 200);
  };
  for (int i = 0; i < 3; ++i) round();
  auto const before = system_allocations();
  for (int i = 0; i < 100; ++i) round();
  EXPECT_EQ(system_allocations(), before);
}

TEST(recycler, blocks_freed_by_another_thread_come_back_through_the_depot) {
  if (sanitized_memory) GTEST_SKIP() << "every block comes from the system, so that the sanitizer sees it";
  // One thread allocates, another frees, for ever: neither may hoard.
  auto const round = [] {
    std::vector<void*> blocks;
    for (int i = 0; i < 5000; ++i) blocks.push_back(recycled_allocate(100));
    std::thread([&] {
      for (void* const b : blocks) recycled_free(b, 100);
    }).join();
  };
  for (int i = 0; i < 5; ++i) round();
  auto const before = system_allocations();
  for (int i = 0; i < 50; ++i) round();
  EXPECT_EQ(system_allocations(), before);
}

// As a worker does that runs what another thread starts, for ever.
TEST(recycler, a_thread_that_only_frees_does_not_hoard) {
  if (sanitized_memory) GTEST_SKIP() << "every block comes from the system, so that the sanitizer sees it";
  std::vector<void*> blocks;
  std::binary_semaphore allocated{0}, freed{0};
  std::jthread other{[&](std::stop_token over) {
    for (allocated.acquire(); !over.stop_requested(); allocated.acquire()) {
      for (void* const b : blocks) recycled_free(b, 150);
      freed.release();
    }
  }};
  auto const round = [&] {
    blocks.clear();
    for (int i = 0; i < 5000; ++i) blocks.push_back(recycled_allocate(150));
    allocated.release();
    freed.acquire();
  };
  for (int i = 0; i < 5; ++i) round();
  auto const before = system_allocations();
  for (int i = 0; i < 2000; ++i) round();
  EXPECT_EQ(system_allocations(), before);
  other.request_stop();
  allocated.release();
}

TEST(recycler, what_a_thread_kept_is_not_lost_when_it_ends) {
  if (sanitized_memory) GTEST_SKIP() << "every block comes from the system, so that the sanitizer sees it";
  auto const live_and_die = [] {
    std::thread([] {
      std::vector<void*> blocks;
      for (int i = 0; i < 100; ++i) blocks.push_back(recycled_allocate(300));
      for (void* const b : blocks) recycled_free(b, 300);
    }).join();
  };
  for (int i = 0; i < 5; ++i) live_and_die();
  auto const before = system_allocations();
  for (int i = 0; i < 200; ++i) live_and_die();
  EXPECT_EQ(system_allocations(), before);
}

TEST(recycler, no_block_is_handed_out_twice_while_threads_exchange_them) {
  constexpr int threads = 4;
  constexpr int kept = 300;
  std::vector<std::vector<std::uint64_t*>> owned(threads);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      auto& mine = owned[static_cast<std::size_t>(t)];
      for (int round = 0; round < 200; ++round) {
        while (mine.size() < kept) {
          auto* const b = static_cast<std::uint64_t*>(recycled_allocate(sizeof(std::uint64_t)));
          *b = static_cast<std::uint64_t>(t);
          mine.push_back(b);
        }
        while (mine.size() > kept / 3) {
          ASSERT_EQ(*mine.back(), static_cast<std::uint64_t>(t));
          recycled_free(mine.back(), sizeof(std::uint64_t));
          mine.pop_back();
        }
      }
    });
  for (auto& t : all) t.join();
  std::set<std::uint64_t*> distinct;
  for (auto const& mine : owned)
    for (auto* const b : mine) {
      EXPECT_TRUE(distinct.insert(b).second);
      recycled_free(b, sizeof(std::uint64_t));
    }
}

}  // namespace
}  // namespace errand::detail
