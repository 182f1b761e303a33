// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pools in need: of one worker and of sixty-four, with thousands of tasks that wait for one another across blocking
// threads and back; and pools that end while coroutines come and go, with the result of their own last task, and in a ring
// where each is needed by the next.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "stress/hostile.hpp"

namespace {

using namespace errand_test;

/// n levels, each of which waits for the one below in the same way.
int wait_down(errand::pool& p, int n, int way) {
  if (n == 0) return 0;
  auto below = [&p, n, way] { return wait_down(p, n - 1, way); };
  switch (way) {
    case 0:
      return 1 + errand::async(p, below).get();
    case 1: {
      auto f = errand::async(p, [below] {
        this_task::yield();
        return below();
      });
      this_task::yield();
      return 1 + f.get();
    }
    case 2:
      return 1 + errand::async(p, below).share().get();
    default: {
      auto f = errand::async(p, below).then([](int x) { return x + 1; });
      until([&] { return f.wait_for(1h) == errand::future_status::ready; });
      return f.get();
    }
  }
}

/// By turns in the pool and on a blocking thread.
int wait_across(errand::pool& p, int n) {
  if (n == 0) return 0;
  errand::place const where = n % 2 == 0 ? errand::place{p} : errand::place{errand::blocking};
  return 1 + errand::async(where, wait_across, std::ref(p), n - 1).get();
}

errand::task<int> await_across(errand::pool& p, int n) {
  if (n == 0) co_return 0;
  auto f = n % 3 == 0 ? errand::async(errand::blocking, [&p, n] { return await_across(p, n - 1).get(); })
                      : errand::async(p, await_across, std::ref(p), n - 1);
  co_return 1 + co_await f;
}

struct size_and_kind {
  unsigned workers;
  bool pinned;
};

class hostile_pools : public hostile, public testing::WithParamInterface<size_and_kind> {
 protected:
  errand::pool pool_{{.workers = GetParam().workers, .pinned = GetParam().pinned}};
};

INSTANTIATE_TEST_SUITE_P(hostile, hostile_pools,
                         testing::Values(size_and_kind{1, false}, size_and_kind{1, true}, size_and_kind{64, false}),
                         [](auto const& tested) {
                           return (tested.param.pinned ? "pinned_" : "free_") + std::to_string(tested.param.workers);
                         });

TEST_P(hostile_pools, carry_a_thousand_waits_on_top_of_one_another_in_every_way_of_waiting) {
  constexpr int n = scaled(1000);
  for (int way = 0; way < 4; ++way) {
    EXPECT_EQ(errand::async(pool_, wait_down, std::ref(pool_), n, way).get(), n);
    EXPECT_EQ(wait_down(pool_, 50, way), 50);
  }
}

TEST_P(hostile_pools, carry_waits_that_cross_to_blocking_threads_and_back) {
  constexpr int n = scaled(100);
  EXPECT_EQ(wait_across(pool_, n), n);
  EXPECT_EQ(errand::async(pool_, wait_across, std::ref(pool_), n + 1).get(), n + 1);
  EXPECT_EQ(errand::async(pool_, await_across, std::ref(pool_), n).get(), n);
  EXPECT_EQ(await_across(pool_, n + 1).get(), n + 1);
}

TEST_P(hostile_pools, are_dropped_out_of_in_the_midst_of_deep_waits) {
  for (int i = 0; i < scaled(40); ++i) {
    auto f = errand::async(pool_, [&, i, alive = counted{}] { return wait_down(pool_, scaled(100), i % 4); });
    auto g = errand::async(errand::blocking, [&, alive = counted{}] { return wait_across(pool_, scaled(20)); });
    if (i % 2 == 0) std::this_thread::yield();
    if (i % 3 == 0) f.request_stop();
  }
  EXPECT_EQ(counted::alive(), 0);
}

using hostile_pool_ends = hostile;

thread_local int pool_here = 0;

/// Read where the compiler cannot know that a coroutine goes on on the thread where it read before.
[[gnu::noinline]] int here() { return pool_here; }

errand::task<int> hop(errand::pool& first, errand::pool& second, int hops) {
  for (int i = 0; i < hops; ++i) {
    co_await errand::resume_on(first);
    EXPECT_EQ(here(), 1);
    co_await errand::sleep_for(1us);
    EXPECT_EQ(here(), 1);
    co_await errand::resume_on(second);
    EXPECT_EQ(here(), 2);
    EXPECT_EQ(co_await errand::async(first, here), 1);
    EXPECT_EQ(here(), 2);
  }
  co_await errand::resume_on(errand::threads);
  EXPECT_EQ(here(), 0);
  co_await errand::sleep_for(1us);
  co_return hops;
}

TEST_F(hostile_pool_ends, come_the_moment_the_last_coroutine_has_hopped_away) {
  for (int round = 0; round < scaled(60); ++round) {
    std::vector<errand::future<int>> all;
    {
      errand::pool first{{.workers = 2}, [] { pool_here = 1; }};
      errand::pool second{{.workers = 1, .pinned = true}, [] { pool_here = 2; }};
      for (int i = 0; i < 4; ++i) all.push_back(errand::async(first, hop, std::ref(first), std::ref(second), 5));
      for (auto& f : all) f.wait();
    }
    for (auto& f : all) EXPECT_EQ(f.get(), 5);
  }
}

/// The result of a pool's last task holds the pool.
auto pool_by_its_own_task() {
  auto owner = std::make_shared<errand::pool>(2U);
  auto& p = *owner;
  return errand::async(p, [owner = std::move(owner)]() mutable {
    this_task::yield();
    return std::move(owner);
  });
}

TEST_F(hostile_pool_ends, come_with_the_result_of_the_last_task_wherever_that_goes) {
  for (int round = 0; round < scaled(40); ++round) {
    pool_by_its_own_task().get();
    pool_by_its_own_task().wait();
    errand::async([] { pool_by_its_own_task().get(); }).get();
    errand::async(errand::blocking, [] { pool_by_its_own_task().get(); }).get();
    pool_by_its_own_task().then(errand::threads, [](std::shared_ptr<errand::pool> p) { p.reset(); }).get();
    pool_by_its_own_task().then(errand::blocking, [](std::shared_ptr<errand::pool> const&) {}).get();
    auto s = pool_by_its_own_task().share();
    EXPECT_EQ(s.get().use_count(), 1);
    errand::async([]() -> errand::task<> {
      auto p = co_await pool_by_its_own_task();
      EXPECT_EQ(p.use_count(), 1);
    }).get();
  }
}

TEST_F(hostile_pool_ends, come_inside_a_task_of_another_pool_that_waited_for_its_own) {
  for (int round = 0; round < scaled(60); ++round) {
    auto first = std::make_unique<errand::pool>(1U);
    errand::pool second{1};
    auto f = errand::async(*first, [&second] { return errand::async(second, [] { return 1; }).get(); });
    auto g = errand::async(second, [first = std::move(first), f = std::move(f)]() mutable {
      int const one = f.get();
      first.reset();
      return one;
    });
    EXPECT_EQ(g.get(), 1);
  }
}

TEST_F(hostile_pool_ends, come_one_after_the_other_in_a_ring_where_each_has_a_link_for_the_next) {
  for (int round = 0; round < scaled(60); ++round) {
    std::atomic<int> ran{0};
    auto run = [&] { ++ran; };
    std::vector<std::unique_ptr<errand::pool>> ring;
    for (int i = 0; i < 6; ++i) ring.push_back(std::make_unique<errand::pool>(1U));
    auto f = errand::async(*ring[0], run);
    for (std::size_t i = 1; i < 6; ++i) f = f.then(*ring[i], run);
    f = f.then(*ring[0], run);
    while (!ring.empty()) ring.erase(ring.begin());
    EXPECT_EQ(ran, 7);
    EXPECT_TRUE(f.ready());
  }
}

}  // namespace
