// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/futex.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

TEST(futex, a_wait_for_another_value_returns_at_once) {
  std::atomic<std::uint32_t> word{1};
  EXPECT_TRUE(futex_wait(word, 0));
}

TEST(futex, a_wait_past_its_deadline_returns_false) {
  std::atomic<std::uint32_t> word{0};
  EXPECT_FALSE(futex_wait(word, 0, now() - 1));
  EXPECT_FALSE(futex_wait(word, 0, 0));
  EXPECT_FALSE(futex_wait(word, 0, INT64_MIN));
}

TEST(futex, a_wait_never_ends_before_its_deadline_unless_woken) {
  std::atomic<std::uint32_t> word{0};
  for (int i = 0; i < 20; ++i) {
    auto const deadline = now() + i * 100'000;
    while (futex_wait(word, 0, deadline)) {
    }
    EXPECT_GE(now(), deadline);
  }
}

TEST(futex, who_sleeps_is_woken_by_a_change_of_the_word) {
  for (auto const deadline : {INT64_MAX, now() + 86'400'000'000'000}) {
    std::atomic<std::uint32_t> word{0};
    std::jthread waker([&] {
      word.store(1);
      futex_wake(&word);
    });
    while (word.load() == 0) EXPECT_TRUE(futex_wait(word, 0, deadline));
  }
}

TEST(futex, a_wake_of_all_wakes_all) {
  std::atomic<std::uint32_t> word{0};
  std::vector<std::jthread> sleepers;
  for (int i = 0; i < 8; ++i)
    sleepers.emplace_back([&] {
      while (word.load() == 0) futex_wait(word, 0);
    });
  word.store(1);
  futex_wake(&word, INT32_MAX);
}

TEST(futex, a_wake_where_there_is_no_memory_any_more_does_no_harm) {
  futex_wake(reinterpret_cast<std::atomic<std::uint32_t>*>(64));
}

TEST(futex, errno_is_left_alone) {
  std::atomic<std::uint32_t> word{0};
  errno = 77;
  futex_wait(word, 1);
  futex_wait(word, 0, 0);
  futex_wake(&word);
  EXPECT_EQ(errno, 77);
}

TEST(futex, now_is_the_steady_clock) {
  auto const steady = [] { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds{1}; };
  auto const before = steady();
  auto const ours = now();
  EXPECT_LE(before, ours);
  EXPECT_LE(ours, steady());
}

}  // namespace
}  // namespace errand::detail
