// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ends of tasks at the worst moment and by the oddest numbers: one wait that completion, a time limit, the end of a sleep, a
// token, a drop and a neighbour's stop all end at once; time limits of nothing, of less than nothing and of centuries, on
// every clock and in every unit; and callbacks of a stop that start, stop, drop and await tasks themselves.
#include <chrono>
#include <limits>
#include <ratio>
#include <utility>
#include <vector>

#include "stress/hostile.hpp"
#include "support/seed.hpp"

namespace {

using namespace errand_test;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

/// Tasks whose waits end in many ways at the same moment, give or take microseconds.
class hostile_ends : public hostile {
 protected:
  static constexpr int tasks = 60;
  enum class limited_by { nothing, time, token, both };

  nanoseconds span(unsigned longest = 60'000) { return nanoseconds{random.below(longest)}; }

  /// One task; it ends with 5 if nothing else ends it.
  errand::future<int> start(errand::pool& p, errand::shared_future<int> const& shared, unsigned way, limited_by limit) {
    bool const timed = limit == limited_by::time || limit == limited_by::both;
    bool const stoppable = limit == limited_by::token || limit == limited_by::both;
    auto const start = [&](auto body) {
      return errand::async({.on = p,
                            .timeout = timed ? 30us + span() : nanoseconds::max(),
                            .stop = stoppable ? source.get_token() : std::stop_token{}},
                           std::move(body));
    };
    auto const a = span(), b = span();
    switch (way) {
      case 0:
        return start([shared, a] {
          counted const here;
          while (shared.wait_for(a / 16) != errand::future_status::ready)
            this_task::yield();  // a span may be over at once
          return shared.get();
        });
      case 1:
        return start([shared, a]() -> errand::task<int> {
          counted const here;
          co_await errand::sleep_for(a);
          co_return co_await shared;
        });
      case 2:
        return start([shared, a] {
          counted const here;
          this_task::sleep_for(a);
          return shared.get();
        });
      case 3:
        return start([&p, a, b] {
          counted const here;
          auto after = [](nanoseconds t) { return this_task::sleep_for(t), 5; };
          return errand::when_any(errand::async(after, a), errand::async(p, after, b)).get().value;
        });
      default:
        return start([&p, a, b] {
          counted const here;
          errand::task_group g{p};
          for (auto t : {a, b}) g.spawn({.timeout = 40us}, [t] { this_task::sleep_for(t); });
          try {
            g.wait();
          } catch (errand::timed_out const&) {  // a member's, or that of the task itself
            this_task::check_stop();
          }
          return 5;
        });
    }
  }

  static void expect_one_end(errand::outcome<int> o, limited_by limit) {
    EXPECT_EQ((o.has_value() ? 1 : 0) + (o.stopped() ? 1 : 0) + (o.error() != nullptr ? 1 : 0), 1);
    if (o.stopped()) {
      EXPECT_TRUE(limit == limited_by::token || limit == limited_by::both);
    }
    if (o.error() != nullptr) {
      EXPECT_TRUE(limit == limited_by::time || limit == limited_by::both);
      EXPECT_THROW(std::rethrow_exception(o.error()), errand::timed_out);
    }
    if (o) {
      EXPECT_EQ(std::move(o).value(), 5);
    }
  }

  generator random{test_seed()};
  std::stop_source source;
};

TEST_F(hostile_ends, of_one_wait_by_everything_at_once_are_one_end) {
  errand::pool plain{2}, pinned{{.workers = 2, .pinned = true}};
  for (rounds r{scaled(40)}; r.next();)
    for (auto* p : {&plain, &pinned}) {
      source = {};
      auto const shared = errand::async(*p, [] { return this_task::sleep_for(30us), 5; }).share();
      std::vector<std::pair<errand::future<int>, limited_by>> all;
      for (int i = 0; i < tasks; ++i) {
        auto const limit = static_cast<limited_by>(random.below(4));
        all.emplace_back(start(*p, shared, random.below(5), limit), limit);
      }
      std::jthread stopper{[this, spins = random.below(20'000)] {
        for (unsigned i = 0; i < spins; ++i) asm volatile("" ::: "memory");
        source.request_stop();
      }};
      for (auto& [f, limit] : all) switch (random.below(4)) {
          case 0:
            f = {};
            break;
          case 1:
            until([&, t = span() / 8] { return f.wait_for(t) == errand::future_status::ready; });
            [[fallthrough]];
          default:
            expect_one_end(f.result(), limit);
        }
      EXPECT_EQ(shared.get(), 5);
      EXPECT_EQ(counted::alive(), 0);
    }
  reports_allowed = reported;  // a dropped task may have run out of time before
}

class hostile_limits : public hostile {
 protected:
  /// How a task that sleeps for ever ends.
  template <class Body>
  static void expect_timed_out(errand::place where, nanoseconds limit, Body body) {
    EXPECT_THROW(errand::async({.on = where, .timeout = limit}, body).get(), errand::timed_out) << limit.count();
    EXPECT_THROW(errand::async({.on = where, .deadline = steady_clock::time_point{limit}}, body).get(),
                 errand::timed_out);
  }

  errand::pool one_{1};
};

TEST_F(hostile_limits, of_nothing_and_less_end_tasks_that_sleep_yield_and_wait_at_every_place) {
  auto yields = [] {
    while (true) this_task::yield();
  };
  auto waits = [] { return errand::async(sleep_long).get(); };
  auto awaits = []() -> errand::task<> { co_await errand::sleep_for(nanoseconds::max()); };
  for (auto const limit : {0ns, -1ns, nanoseconds::min(), 1ns, 1000ns})
    for (auto where : every_place(one_)) {
      expect_timed_out(where, limit, yields);
      expect_timed_out(where, limit, waits);
      expect_timed_out(where, limit, awaits);
      expect_timed_out(where, limit, [] { this_task::sleep_for(std::chrono::hours::max()); });
    }
}

TEST_F(hostile_limits, beyond_every_clock_are_none) {
  auto task = [] { return errand::async([] { return this_task::yield(), 1; }); };
  auto const expect_ready = [&] {
    using std::chrono::duration;
    constexpr auto ready = errand::future_status::ready;
    for (auto const huge : {nanoseconds::max(), nanoseconds::max() - 1ns, nanoseconds::max() / 2}) {
      EXPECT_EQ(errand::async({.timeout = huge}, [] { return 1; }).get(), 1);
      EXPECT_EQ(errand::async({.deadline = steady_clock::time_point{huge}}, [] { return 1; }).get(), 1);
      EXPECT_EQ(task().wait_for(huge), ready);
      EXPECT_EQ(task().wait_until(steady_clock::time_point{huge}), ready);
      EXPECT_EQ(task().wait_until(system_clock::time_point{huge}), ready);
    }
    EXPECT_EQ(task().wait_for(std::chrono::hours::max()), ready);
    EXPECT_EQ(task().wait_for(duration<double>{std::numeric_limits<double>::infinity()}), ready);
    EXPECT_EQ(task().wait_for(duration<double>{1e300}), ready);
    EXPECT_EQ(task().wait_for(duration<long, std::ratio<31'556'952>>::max()), ready);
  };
  for (int round = 0; round < scaled(20); ++round) {
    expect_ready();
    for (auto where : every_place(one_)) errand::async(where, expect_ready).get();
  }
}

/// Who asks for a stop runs the callbacks. All bodies are at blocking, where they may keep their threads.
class hostile_callbacks : public hostile {
 protected:
  /// A task whose callback is `callback`, stopped by everybody there is; each time the callback is called once.
  template <class Callback>
  void stop_by_everybody(Callback callback) {
    for (int who = 0; who < 6; ++who) {
      std::atomic<int> calls{0};
      flag armed;
      auto body = [&] {
        std::stop_callback const on_stop{this_task::stop_token(), [&] {
                                           callback();
                                           ++calls;
                                         }};
        armed.raise();
        until([&] { return calls > 0; });
      };
      stop_by(who, body, armed);
      EXPECT_EQ(calls, 1);
    }
  }

 private:
  template <class Body>
  static void stop_by(int who, Body& body, flag& armed) {
    std::stop_source source;
    auto start = [&] { return errand::async({.on = errand::blocking, .stop = source.get_token()}, std::ref(body)); };
    switch (who) {
      case 0: {  // whoever holds the future
        auto f = start();
        armed.wait();
        f.request_stop();
        return f.wait();
      }
      case 1: {  // whoever drops it
        auto f = start();
        return armed.wait();
      }
      case 2: {  // a token from outside
        auto f = start();
        armed.wait();
        source.request_stop();
        return f.wait();
      }
      case 3: {  // a group
        errand::task_group g{errand::blocking};
        g.spawn(std::ref(body));
        armed.wait();
        g.request_stop();
        return g.wait();
      }
      case 4: {  // a group's destructor
        errand::task_group g{errand::blocking};
        g.spawn(std::ref(body));
        return armed.wait();
      }
      default: {  // the stop of a parent
        auto parent = errand::async(errand::blocking, [&] { start().wait(); });
        armed.wait();
        parent.request_stop();
        parent.wait();
      }
    }
  }
};

TEST_F(hostile_callbacks, of_a_stop_may_start_link_stop_and_detach_tasks) {
  for (int round = 0; round < scaled(10); ++round) {
    stop_by_everybody([] {});
    stop_by_everybody([] { errand::async([alive = counted{}] { return 1; }).detach(); });
    stop_by_everybody([] {
      auto f = errand::async([alive = counted{}] { return sleep_long(); }).then([](int x) { return x; });
      f.request_stop();
      f.detach();
    });
    stop_by_everybody([] {
      errand::task_group g;
      g.spawn([] {});
      g.request_stop();
      g.spawn([] {});
    });
  }
}

TEST_F(hostile_callbacks, of_a_stop_may_stop_and_drop_other_tasks) {
  for (int round = 0; round < scaled(10); ++round) {
    stop_by_everybody([] {
      auto other = errand::async(sleep_long);
      other.request_stop();
      EXPECT_TRUE(other.result().stopped());
    });
    std::vector<errand::future<int>> others;
    for (int i = 0; i < 6; ++i) others.push_back(errand::async([alive = counted{}] { return sleep_long(); }));
    stop_by_everybody([&] { others.pop_back(); });
    EXPECT_TRUE(others.empty());
    errand::task_group g;
    stop_by_everybody([&] {
      for (int i = 0; i < 5; ++i) g.spawn(sleep_long);
      g.request_stop();
    });
    g.wait();
  }
}

TEST_F(hostile_callbacks, of_a_stop_may_await_tasks_time_limits_loops_and_pools) {
  for (int round = 0; round < scaled(10); ++round) {
    stop_by_everybody([] { EXPECT_EQ(errand::async(errand::blocking, [] { return 1; }).get(), 1); });
    stop_by_everybody([] { EXPECT_EQ(errand::async([] { return this_task::sleep_for(1us), 1; }).get(), 1); });
    stop_by_everybody([] { EXPECT_THROW(errand::async({.timeout = 1us}, sleep_long).get(), errand::timed_out); });
    stop_by_everybody([] {
      auto const v = errand::map(std::vector<int>{1, 2, 3}, [](int x) { return this_task::yield(), x; });
      EXPECT_EQ(v.back(), 3);
    });
    stop_by_everybody([] {
      errand::pool p{1};
      EXPECT_EQ(errand::async(p, [] { return this_task::yield(), 3; }).get(), 3);
    });
  }
}

}  // namespace
