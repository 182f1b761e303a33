// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Semaphore and once: exact counts, order, stops, limits of time.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/sync.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

TEST(semaphore, counts_its_permits) {
  errand::semaphore s{2};
  s.acquire();
  EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire_for(1ms));
  s.release(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire_until(std::chrono::steady_clock::now() - 1s));
  EXPECT_THROW(errand::semaphore{-1}, std::invalid_argument);
}

TEST(semaphore, a_task_that_waits_parks_and_its_worker_goes_on) {
  errand::pool one{1};
  errand::semaphore s;
  auto waits = errand::async(one, [&] { s.acquire(); });
  auto releases = errand::async(one, [&] { s.release(); });
  waits.get();
  releases.get();
}

TEST(semaphore, a_thread_is_woken_by_a_task_and_the_other_way_round) {
  errand::semaphore there;
  errand::semaphore back;
  auto t = errand::async([&] {
    for (int i = 0; i < 1000; ++i) {
      there.acquire();
      back.release();
    }
  });
  for (int i = 0; i < 1000; ++i) {
    there.release();
    back.acquire();
  }
  t.get();
}

TEST(semaphore, first_come_first_served) {
  errand::pool one{1};
  errand::semaphore s;
  std::vector<int> order;
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 5; ++i) {
    all.push_back(errand::async(one, [&, i] {
      s.acquire();
      order.push_back(i);
    }));
    errand::async(one, [] {}).get();  // behind it: it has come to wait
  }
  s.release(5);
  for (auto& f : all) f.get();
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
}

TEST(semaphore, exact_counts_under_contention) {
  errand::semaphore s{3};
  std::atomic<int> inside{0};
  std::atomic<bool> too_many{false};
  std::atomic<int> timeouts{0};
  std::atomic<int> got{0};
  errand::task_group tasks;
  for (int t = 0; t < 16; ++t)
    tasks.spawn([&, t] {
      for (int i = 0; i < 500; ++i) {
        if (t % 4 == 0) {
          if (!s.try_acquire_for(std::chrono::microseconds{i % 20})) {
            ++timeouts;
            continue;
          }
        } else {
          s.acquire();
        }
        if (++inside > 3) too_many = true;
        ++got;
        if (i % 16 == 0) errand::this_task::yield();
        --inside;
        s.release();
      }
    });
  tasks.wait();
  EXPECT_FALSE(too_many);
  EXPECT_EQ(got + timeouts, 16 * 500);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire());
}

TEST(semaphore, a_stop_ends_the_wait_and_takes_no_permit) {
  errand::semaphore s;
  for (int i = 0; i < 200; ++i) {
    auto waits = errand::async([&] { s.acquire(); });
    if (i % 2 == 0) errand::this_task::yield();
    waits.request_stop();
    if (i % 3 == 0) s.release();
    bool const had_it = [&] {
      try {
        waits.get();
        return true;
      } catch (errand::operation_cancelled const&) {
        return false;
      }
    }();
    bool const released = i % 3 == 0;
    EXPECT_TRUE(released || !had_it);
    EXPECT_EQ(s.try_acquire(), released && !had_it);
  }
  EXPECT_FALSE(s.try_acquire());
}

TEST(semaphore, may_be_destroyed_by_who_got_the_last_permit) {
  for (int i = 0; i < 2000; ++i) {
    auto s = std::make_unique<errand::semaphore>();
    auto releases = errand::async([&r = *s] { r.release(); });
    s->acquire();
    s.reset();
    releases.get();
  }
}

TEST(once, is_done_once_however_many_come) {
  errand::once o;
  int count = 0;
  EXPECT_FALSE(o.done());
  errand::task_group tasks;
  for (int t = 0; t < 50; ++t)
    tasks.spawn([&] {
      o.call([&] {
        errand::this_task::yield();
        ++count;
      });
      EXPECT_EQ(count, 1);
    });
  tasks.wait();
  EXPECT_TRUE(o.done());
  EXPECT_EQ(count, 1);
}

TEST(once, the_next_one_does_it_after_a_throw) {
  errand::once o;
  std::atomic<int> tries{0};
  std::atomic<int> thrown{0};
  errand::task_group tasks;
  for (int t = 0; t < 20; ++t)
    tasks.spawn([&] {
      try {
        o.call([&] {
          errand::this_task::yield();
          if (++tries <= 3) throw std::runtime_error{"not yet"};
        });
        EXPECT_TRUE(o.done());
      } catch (std::runtime_error const&) {
        ++thrown;
      }
    });
  tasks.wait();
  EXPECT_EQ(tries, 4);
  EXPECT_EQ(thrown, 3);
}

TEST(once, called_by_itself_is_a_deadlock) {
  errand::once o;
  EXPECT_THROW(o.call([&] { o.call([] {}); }), errand::deadlock);
  EXPECT_FALSE(o.done());
  errand::async([&] { EXPECT_THROW(o.call([&] { o.call([] {}); }), errand::deadlock); }).get();
  o.call([](int) {}, 1);
  EXPECT_TRUE(o.done());
}

TEST(once, a_stop_ends_the_wait_for_it) {
  errand::once o;
  flag begun;
  flag let_go;
  auto does = errand::async([&] {
    o.call([&] {
      begun.raise();
      let_go.wait_yielding();
    });
  });
  begun.wait();
  auto waits = errand::async([&] { o.call([] { FAIL(); }); });
  waits.request_stop();
  EXPECT_THROW(waits.get(), errand::operation_cancelled);
  let_go.raise();
  does.get();
  EXPECT_TRUE(o.done());
}

}  // namespace
