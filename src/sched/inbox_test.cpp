// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/inbox.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

struct item : runnable {
  std::size_t producer = 0;
  std::size_t number = 0;
  std::atomic<int> taken{0};
};

void put(inbox& to, runnable& r) {
  to.push(&r, 1, [] { return 0; });
}

TEST(inbox, gives_back_in_order_at_most_a_batch_at_a_time) {
  inbox in;
  std::vector<item> items(1000);
  for (auto& i : items) put(in, i);
  runnable* taken[inbox::most_taken];
  std::size_t next = 0;
  while (auto const n = in.take(1, taken)) {
    ASSERT_LE(n, inbox::most_taken);
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(taken[i], &items[next++]);
  }
  EXPECT_EQ(next, items.size());
  EXPECT_TRUE(in.seems_empty());
  EXPECT_EQ(in.started(), items.size());
}

TEST(inbox, leaves_a_fair_share_to_the_other_workers) {
  inbox in;
  std::vector<item> items(8);
  for (auto& i : items) put(in, i);
  runnable* taken[inbox::most_taken];
  EXPECT_EQ(in.take(4, taken), 3U);
  EXPECT_EQ(in.take(100, taken), 1U);
}

TEST(inbox, grows_and_keeps_order_also_when_it_has_gone_round) {
  inbox in;
  item warm;
  runnable* taken[inbox::most_taken];
  for (int i = 0; i < 300; ++i) {
    put(in, warm);
    ASSERT_EQ(in.take(1, taken), 1U);
  }
  std::vector<item> items(5000);
  for (auto& i : items) put(in, i);
  std::size_t next = 0;
  while (auto const n = in.take(1, taken))
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(taken[i], &items[next++]);
  EXPECT_EQ(next, items.size());
}

TEST(inbox, counts_only_what_is_new_to_the_pool) {
  inbox in;
  item a;
  EXPECT_EQ(in.push(&a, 0, [] { return 7; }), 7);
  EXPECT_EQ(in.started(), 0U);
  EXPECT_FALSE(in.seems_empty());
}

TEST(inbox, many_who_put_and_many_who_take_lose_nothing_and_keep_each_ones_order) {
  constexpr std::size_t producers = 4;
  constexpr std::size_t each = 5000;
  inbox in;
  std::vector<std::vector<item>> items;
  for (std::size_t p = 0; p < producers; ++p) items.emplace_back(each);
  std::atomic<std::size_t> total{0};
  std::vector<std::jthread> threads;
  for (std::size_t p = 0; p < producers; ++p)
    threads.emplace_back([&, p] {
      for (std::size_t n = 0; n < each; ++n) {
        items[p][n].producer = p;
        items[p][n].number = n;
        put(in, items[p][n]);
      }
    });
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      std::size_t last[producers] = {};
      runnable* taken[inbox::most_taken];
      while (total.load() < producers * each) {
        auto const n = in.take(3, taken);
        for (std::size_t i = 0; i < n; ++i) {
          auto& x = static_cast<item&>(*taken[i]);
          ++x.taken;
          EXPECT_GE(x.number + 1, last[x.producer]);
          last[x.producer] = x.number + 1;
        }
        total += n;
        if (n == 0) std::this_thread::yield();
      }
    });
  threads.clear();
  for (auto const& of_one : items)
    for (auto const& i : of_one) ASSERT_EQ(i.taken, 1);
}

}  // namespace
}  // namespace errand::detail
