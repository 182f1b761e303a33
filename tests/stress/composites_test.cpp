// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Races on purpose about futures made of others: completion against then, when_any, when_all, the get() of shared copies from
// several threads, a stop, a drop of the chain, a detach. Whatever wins, all is joined and nothing is left.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "stress/by_chance.hpp"

namespace {

using errand_test::by_chance;
using errand_test::counted;
using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;
using std::chrono::nanoseconds;

class composite_races : public by_chance {
 protected:
  // A task that waits, fails, or just ends, by chance.
  auto body() {
    return [this, mine = random.split(), payload = counted{}]() mutable {
      ++begun;
      struct at_end {
        std::atomic<int>& count;
        ~at_end() { ++count; }
      } const end{ended};
      switch (mine.below(4)) {
        case 0:
          errand::this_task::sleep_for(nanoseconds{mine.below(20'000)});
          break;
        case 1:
          errand::this_task::yield();
          break;
        case 2:
          dither(mine);
          break;
      }
      if (mine.one_in(8)) throw std::runtime_error{"by chance"};
      return counted{1};
    };
  }
  // The same as a link.
  auto link() {
    return [run = body()](counted before) mutable {
      auto after = run();
      after.value += before.value;
      return after;
    };
  }
  errand::future<counted> input() {
    if (random.one_in(5)) return errand::async(errand::inplace, body());
    if (random.one_in(5)) return errand::async({.timeout = nanoseconds{random.below(50'000)}}, body());
    return errand::async(body());
  }
  errand::future<counted> chain(unsigned length) {
    auto f = input();
    for (; length > 0; --length) {
      dither(random);
      f = f.then(link());
    }
    return f;
  }
  template <class T>
  void end(errand::future<T> f) {
    dither(random);
    switch (random.below(5)) {
      case 0:
        f.request_stop();
        static_cast<void>(f.result());
        break;
      case 1:
        f = {};
        break;
      case 2:
        f.detach();
        break;
      default:
        static_cast<void>(f.result());
    }
  }
  // Of detached ones.
  void settle() {
    while (counted::alive() != 0) std::this_thread::yield();
    while (begun != ended) std::this_thread::yield();
  }
};

TEST_F(composite_races, a_chain_against_completion_stop_drop_and_detach) {
  for (rounds r{1500}; r.next();) end(chain(random.below(5)));
  settle();
}

TEST_F(composite_races, a_chain_grows_while_it_is_stopped_by_the_task_that_holds_it) {
  for (rounds r{400}; r.next();) {
    auto outside = random.split();  // the holder has the other one meanwhile
    auto holder = errand::async([this] {
      auto f = chain(3);
      errand::this_task::check_stop();
      f = f.then(link());
      return f.get();
    });
    dither(outside);
    if (outside.one_in(2)) holder.request_stop();
    static_cast<void>(holder.result());
    ASSERT_EQ(begun, ended);
  }
}

TEST_F(composite_races, when_any_against_completion_stop_drop_and_detach) {
  for (rounds r{800}; r.next();) {
    std::vector<errand::future<counted>> some;
    for (auto n = 1 + random.below(5); n > 0; --n) some.push_back(chain(random.below(2)));
    dither(random);
    end(errand::when_any(std::move(some)));
  }
  settle();
}

TEST_F(composite_races, when_all_against_completion_stop_drop_and_detach) {
  for (rounds r{800}; r.next();) {
    std::vector<errand::future<counted>> some;
    for (auto n = random.below(6); n > 0; --n) some.push_back(chain(random.below(2)));
    dither(random);
    end(errand::when_all(std::move(some)));
  }
  settle();
}

TEST_F(composite_races, when_any_of_when_alls_of_chains) {
  for (rounds r{400}; r.next();) {
    auto pair = [this] { return errand::when_all(chain(1), chain(1)); };
    end(errand::when_any(pair(), pair(), pair()));
  }
  settle();
}

TEST_F(composite_races, shared_copies_got_dropped_and_gone_on_from_by_several_threads) {
  for (rounds r{150}; r.next();) {
    auto shared = chain(random.below(3)).share();
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([mine = random.split(), copy = shared]() mutable {
        for (int i = 0; i < 3; ++i) {
          dither(mine);
          auto another = copy;
          switch (mine.below(5)) {
            case 0:
              static_cast<void>(another.result());
              break;
            case 1: {
              auto next = another.then([payload = counted{}, inside = mine.split()](counted const& c) mutable {
                dither(inside);
                errand::this_task::yield();
                return c.value;
              });
              dither(mine);
              if (mine.one_in(2)) next.request_stop();
              if (mine.one_in(2)) static_cast<void>(next.result());
              break;
            }
            case 2: {
              auto waits = errand::async([another] { return another.get().value; });
              dither(mine);
              waits.request_stop();
              static_cast<void>(waits.result());
              break;
            }
            case 3:
              if (mine.one_in(4)) another.request_stop();
              break;
            case 4:
              another.then([payload = counted{}](counted const& c) { return c.value; }).detach();
              break;
          }
        }
      });
    dither(random);
    shared = {};
  }
  settle();
}

TEST_F(composite_races, links_on_a_pool_that_ends_meanwhile) {
  for (rounds r{150}; r.next();) {
    errand::future<counted> on_it;
    errand::future<counted> after;
    {
      errand::pool own{1 + random.below(2)};
      on_it = input().then(own, link());
      after = errand::async(own, body()).then(link());
      dither(random);
      if (random.one_in(3)) on_it.request_stop();
    }
    EXPECT_TRUE(on_it.ready());
    end(std::move(on_it));
    end(after.then(link()));
  }
  settle();
}

}  // namespace
