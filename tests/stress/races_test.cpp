// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two things that happen to one task at the same moment, thousands of times: its completion, a stop, a deadline, a drop, a
// detach, a wait. Whatever wins, the task ran once or was stopped unrun, and nothing of it is left.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/seed.hpp"
#include "support/sequencer.hpp"

namespace {

using errand_test::counted;
using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;
using errand_test::test_seed;
using std::chrono::nanoseconds;

// What one task may do between its begin and its end; true if it came to its end unstopped.
bool live(generator& random) {
  switch (random.below(6)) {
    case 0:
      break;
    case 1:
      errand::this_task::check_stop();
      break;
    case 2:
      errand::this_task::yield();
      break;
    case 3:
      errand::this_task::sleep_for(nanoseconds{random.below(20'000)});
      break;
    case 4:
      errand::async([] {}).get();
      break;
    case 5:
      dither(random);
      break;
  }
  return true;
}

enum class fate { value, error, stopped, late };

// Takes what came of a task, and says what.
fate fate_of(errand::future<int> f) {
  auto o = f.result();
  if (o.has_value()) {
    EXPECT_EQ(std::move(o).value(), 1);
    return fate::value;
  }
  if (o.stopped()) return fate::stopped;
  try {
    std::rethrow_exception(o.error());
  } catch (errand::timed_out const&) {
    return fate::late;
  } catch (std::runtime_error const&) {
    return fate::error;
  }
}

class races : public testing::Test {
 protected:
  races() : random{test_seed()} {
    before_ = errand::set_unobserved_error_handler([](errand::unobserved_error const&) {});
  }
  ~races() override {
    errand::set_unobserved_error_handler(before_);
    EXPECT_EQ(counted::alive(), 0);
  }

  // A task with a payload that counts its begins and ends.
  auto body(generator& chance) {
    return [this, mine = chance.split(), payload = counted{}]() mutable {
      ++begun;
      struct at_end {
        std::atomic<int>& count;
        ~at_end() { ++count; }
      } const end{ended};
      live(mine);
      if (mine.one_in(10)) throw std::runtime_error{"by chance"};
      return 1;
    };
  }
  auto body() { return body(random); }

  generator random;
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};

 private:
  errand::unobserved_error_handler before_;
};

TEST_F(races, a_stop_against_begin_and_completion) {
  int fates[4] = {};
  int started = 0;
  for (rounds r{3000}; r.next(); ++started) {
    auto f = errand::async(body());
    dither(random);
    f.request_stop();
    ++fates[static_cast<int>(fate_of(std::move(f)))];
  }
  EXPECT_EQ(fates[3], 0);
  EXPECT_EQ(begun, ended);
  EXPECT_LE(begun, started);
  EXPECT_GE(begun, fates[0] + fates[1]);
}

TEST_F(races, a_stop_from_an_outer_token_on_another_thread) {
  for (rounds r{40}; r.next();) {
    std::stop_source source;
    std::atomic<bool> go{false};
    auto mine = random.split();
    std::jthread stopper([&] {
      while (!go) std::this_thread::yield();
      dither(mine);
      source.request_stop();
    });
    std::vector<errand::future<int>> all;
    for (int i = 0; i < 30; ++i) {
      if (i == 10) go = true;
      dither(random);
      all.push_back(errand::async({.stop = source.get_token()}, body()));
    }
    for (auto& f : all) static_cast<void>(fate_of(std::move(f)));
  }
  EXPECT_EQ(begun, ended);
}

TEST_F(races, a_deadline_against_start_begin_and_completion) {
  int fates[4] = {};
  int started = 0;
  for (rounds r{3000}; r.next(); ++started) {
    nanoseconds const timeout{random.one_in(3) ? random.below(1'000) : random.below(100'000)};
    bool const in_place = random.one_in(5);
    auto f = in_place ? errand::async({.on = errand::inplace, .timeout = timeout}, body())
                      : errand::async({.timeout = timeout}, body());
    dither(random);
    ++fates[static_cast<int>(fate_of(std::move(f)))];
  }
  EXPECT_EQ(fates[static_cast<int>(fate::stopped)], 0);
  EXPECT_EQ(begun, ended);
  EXPECT_LE(begun, started);
}

TEST_F(races, a_drop_against_begin_and_completion) {
  for (rounds r{3000}; r.next();) {
    auto f = errand::async(body());
    dither(random);
    f = {};
    ASSERT_EQ(begun, ended);
    ASSERT_EQ(counted::alive(), 0);
  }
}

TEST_F(races, a_detach_against_begin_and_completion) {
  int detached = 0;
  for (rounds r{3000}; r.next(); ++detached) {
    auto f = errand::async(body());
    dither(random);
    f.detach();
    if (detached % 64 == 0)
      while (ended != detached + 1) std::this_thread::yield();
  }
  while (ended != detached || counted::alive() != 0) std::this_thread::yield();
  EXPECT_EQ(begun, detached);  // detached tasks are never stopped
}

TEST_F(races, timed_waits_against_completion) {
  int got = 0;
  int started = 0;
  for (rounds r{1500}; r.next(); ++started) {
    auto f = errand::async(body());
    while (f.wait_for(nanoseconds{random.below(5'000)}) == errand::future_status::timeout) {
      EXPECT_TRUE(f.valid());
      if (random.one_in(4)) f.request_stop();
    }
    EXPECT_TRUE(f.ready());
    ++got;
    static_cast<void>(fate_of(std::move(f)));
  }
  EXPECT_EQ(got, started);
}

TEST_F(races, timed_waits_of_tasks_against_completion_and_a_stop_of_the_one_who_waits) {
  for (rounds r{800}; r.next();) {
    auto awaited = errand::async(body());
    auto waits = errand::async([&, mine = random.split()]() mutable {
      while (awaited.wait_for(nanoseconds{mine.below(5'000)}) == errand::future_status::timeout) {
      }
      return 1;
    });
    dither(random);
    if (random.one_in(2)) waits.request_stop();
    static_cast<void>(fate_of(std::move(waits)));
    static_cast<void>(fate_of(std::move(awaited)));
  }
  EXPECT_EQ(begun, ended);
}

TEST_F(races, a_stop_of_the_one_who_waits_against_the_end_of_whom_it_waits_for) {
  for (rounds r{2000}; r.next();) {
    auto awaited = errand::async(body());
    auto waits = errand::async([&] {
      awaited.wait();
      return 1;
    });
    dither(random);
    waits.request_stop();
    static_cast<void>(fate_of(std::move(waits)));
    ASSERT_TRUE(awaited.valid());
    static_cast<void>(fate_of(std::move(awaited)));
  }
  EXPECT_EQ(begun, ended);
}

TEST_F(races, a_stop_of_a_coroutine_against_the_end_of_whom_it_awaits) {
  for (rounds r{2000}; r.next();) {
    auto awaited = errand::async(body());
    auto waits = errand::async(
        [](errand::future<int>& f, counted) -> errand::task<int> {
          try {
            co_return co_await f;
          } catch (std::runtime_error const&) {
            co_return 1;
          }
        },
        std::ref(awaited), counted{});
    dither(random);
    if (random.one_in(2)) waits.request_stop();
    static_cast<void>(fate_of(std::move(waits)));
    if (awaited.valid()) static_cast<void>(fate_of(std::move(awaited)));
  }
  EXPECT_EQ(begun, ended);
}

TEST_F(races, a_stop_of_a_parent_against_children_that_begin_end_link_and_are_dropped) {
  for (rounds r{600}; r.next();) {
    auto parent = errand::async([this, mine = random.split()]() mutable {
      std::vector<errand::future<int>> children;
      for (int i = 0; i < 8; ++i) {
        children.push_back(errand::async(body(mine)));
        if (mine.one_in(3)) children.erase(children.begin());
        if (mine.one_in(4)) errand::this_task::check_stop();
      }
      for (auto& c : children) try {
          c.get();
        } catch (std::runtime_error const&) {
        }
      return 1;
    });
    dither(random);
    if (random.one_in(2)) dither(random);
    parent.request_stop();
    static_cast<void>(fate_of(std::move(parent)));
    ASSERT_EQ(begun, ended);  // all joined
  }
}

TEST_F(races, tokens_and_callbacks_against_a_stop) {
  for (rounds r{1000}; r.next();) {
    std::atomic<int> called{0};
    auto f = errand::async([&, mine = random.split()](std::stop_token token) mutable {
      {
        std::stop_callback const callback{token, [&] { ++called; }};
        dither(mine);
      }
      auto child = errand::async([&](std::stop_token of_child) { return of_child.stop_requested(); });
      child.wait();
      return 1;
    });
    dither(random);
    f.request_stop();
    static_cast<void>(fate_of(std::move(f)));
    EXPECT_LE(called, 1);
  }
}

}  // namespace
