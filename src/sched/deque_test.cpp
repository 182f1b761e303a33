// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/deque.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

struct item : runnable {
  std::atomic<int> taken{0};
};

TEST(deque, owner_pops_the_newest_first) {
  for (bool const alone : {false, true}) {
    deque d;
    if (alone) d.set_alone();
    std::vector<item> items(1000);
    for (auto& i : items) d.push(&i);
    for (auto i = items.rbegin(); i != items.rend(); ++i) ASSERT_EQ(d.pop(), &*i);
    EXPECT_EQ(d.pop(), nullptr);
    EXPECT_EQ(d.pop(), nullptr);
    EXPECT_TRUE(d.seems_empty());
  }
}

TEST(deque, thieves_take_the_oldest_first) {
  deque d;
  std::vector<item> items(1000);
  for (auto& i : items) d.push(&i);
  bool lost = false;
  for (auto& i : items) ASSERT_EQ(d.steal(lost), &i);
  EXPECT_EQ(d.steal(lost), nullptr);
  EXPECT_FALSE(lost);
  EXPECT_EQ(d.pop(), nullptr);
}

TEST(deque, both_ends_meet) {
  deque d;
  item a, b, c;
  bool lost = false;
  d.push(&a);
  d.push(&b);
  d.push(&c);
  EXPECT_EQ(d.steal(lost), &a);
  EXPECT_EQ(d.pop(), &c);
  EXPECT_EQ(d.pop(), &b);
  EXPECT_EQ(d.pop(), nullptr);
  EXPECT_EQ(d.steal(lost), nullptr);
}

TEST(deque, grows_and_keeps_order_also_when_it_has_gone_round) {
  for (bool const alone : {false, true}) {
    deque d;
    if (alone) d.set_alone();
    item warm;
    bool lost = false;
    for (int i = 0; i < 1000; ++i) {  // the ring's beginning is somewhere in the middle
      d.push(&warm);
      ASSERT_EQ(d.steal(lost), &warm);
    }
    std::vector<item> items(5000);
    for (auto& i : items) d.push(&i);
    for (std::size_t i = 0; i < 2000; ++i) ASSERT_EQ(d.steal(lost), &items[i]);
    for (std::size_t i = items.size(); i > 2000; --i) ASSERT_EQ(d.pop(), &items[i - 1]);
    EXPECT_EQ(d.pop(), nullptr);
  }
}

TEST(deque, pop_if_takes_the_newest_only_if_it_is_the_expected_one) {
  for (bool const alone : {false, true}) {
    deque d;
    if (alone) d.set_alone();
    item a, b;
    EXPECT_FALSE(d.pop_if(&a));
    d.push(&a);
    d.push(&b);
    EXPECT_FALSE(d.pop_if(&a));
    EXPECT_TRUE(d.pop_if(&b));
    EXPECT_FALSE(d.pop_if(&b));
    EXPECT_TRUE(d.pop_if(&a));
    EXPECT_TRUE(d.seems_empty());
  }
}

// The owner pushes, pops and pops on condition while thieves steal: each item is taken exactly once.
void exchange(std::size_t count, std::size_t burst, int thieves) {
  deque d;
  std::vector<item> items(count);
  std::atomic<bool> end{false};
  std::atomic<std::size_t> stolen{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < thieves; ++t)
    threads.emplace_back([&] {
      while (!end.load()) {
        bool lost = false;
        if (auto* const r = d.steal(lost)) {
          ++static_cast<item*>(r)->taken;
          ++stolen;
        } else if (!lost) {
          std::this_thread::yield();
        }
      }
    });
  std::size_t popped = 0;
  for (std::size_t next = 0; next < count;) {
    for (std::size_t i = 0; i < burst && next < count; ++i) d.push(&items[next++]);
    if (d.pop_if(&items[next - 1])) {
      ++items[next - 1].taken;
      ++popped;
    }
    for (std::size_t i = 0; i < burst / 2 + 1; ++i)
      if (auto* const r = d.pop()) {
        ++static_cast<item*>(r)->taken;
        ++popped;
      }
  }
  while (auto* const r = d.pop()) {
    ++static_cast<item*>(r)->taken;
    ++popped;
  }
  while (popped + stolen.load() < count) std::this_thread::yield();
  end.store(true);
  threads.clear();
  for (auto const& i : items) ASSERT_EQ(i.taken, 1);
  EXPECT_EQ(popped + stolen, count);
}

TEST(deque, each_item_is_taken_once_by_owner_or_thief) {
  for (int round = 0; round < 20; ++round) exchange(5'000, 1, 1);
  for (int round = 0; round < 20; ++round) exchange(5'000, 3, 2);
}

TEST(deque, each_item_is_taken_once_while_the_ring_grows_under_theft) {
  for (int round = 0; round < 20; ++round) exchange(20'000, 2'000, 3);
}

}  // namespace
}  // namespace errand::detail
