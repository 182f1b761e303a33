// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// parallel_invoke, with rules of behaviour 11 and 14: branches of every kind, failures, stops, waits.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <source_location>
#include <span>
#include <stdexcept>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

template <class Use>
void by_every_caller(Use use) {
  for (unsigned const workers : {1U, 2U, 8U}) {
    errand::pool own{workers};
    auto const at_every_place = [&] {
      use(errand::threads);
      use(errand::inplace);
      use(errand::blocking);
      use(own);
      use(errand::place{own});
    };
    at_every_place();
    errand::async(at_every_place).get();
    errand::async(own, at_every_place).get();
  }
}

TEST(parallel_invoke, calls_each_branch_once_however_many_they_are) {
  by_every_caller([](auto&& where) {
    std::atomic<int> sum{0};
    auto const add = [&](int n) { return [&sum, n] { return sum += n; }; };  // what it returns is ignored
    errand::parallel_invoke(where, add(1), add(10));
    EXPECT_EQ(sum, 11);
    errand::parallel_invoke(where, add(1), add(10), add(100));
    EXPECT_EQ(sum, 122);
    errand::parallel_invoke(where, add(1), add(10), add(100), add(1000));
    EXPECT_EQ(sum, 1233);
    errand::parallel_invoke(where, add(1), add(10), add(100), add(1000), add(10'000));
    EXPECT_EQ(sum, 12'344);
  });
}

std::atomic<int> calls_of_function{0};
void function() { ++calls_of_function; }

TEST(parallel_invoke, on_the_default_pool_takes_functions_of_every_kind) {
  calls_of_function = 0;
  std::atomic<int> calls{0};
  auto const shared = [&] { ++calls; };
  auto move_only = [&, held = std::make_unique<int>(1)]() mutable { calls += std::exchange(*held, 100); };
  errand::parallel_invoke(shared, move_only);
  errand::parallel_invoke(shared, shared, std::move(move_only));
  errand::parallel_invoke(function, &function, shared, shared);
  errand::parallel_invoke(shared, shared, shared, shared, function);
  EXPECT_EQ(calls, 1 + 1 + 1 + 1 + 100 + 2 + 4);
  EXPECT_EQ(calls_of_function, 3);
}

TEST(parallel_invoke, inplace_calls_one_after_another_on_this_thread) {
  int const self = errand_test::thread_number();
  std::vector<int> order;
  auto const note = [&](int n) {
    return [&order, n, self] {
      EXPECT_EQ(errand_test::thread_number(), self);
      order.push_back(n);
    };
  };
  errand::parallel_invoke(errand::inplace, note(1), note(2), note(3), note(4), note(5));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST(parallel_invoke, two_who_are_free_run_two_branches_at_the_same_time) {
  errand::pool own{2};
  flag first, second;
  auto const meet = [&] {
    errand::parallel_invoke(
        own,
        [&] {
          first.raise();
          second.wait();
        },
        [&] {
          second.raise();
          first.wait();
        });
  };
  meet();                         // the calling thread and a worker
  errand::async(own, meet).get();  // two workers
}

// ---- rule 14 ---------------------------------------------------------------------------------------------------------

TEST(parallel_invoke, rule_14_all_branches_may_park_at_once_on_one_worker) {
  // Each sleeps until all are inside: one that held others up would hang.
  errand::pool own{1};
  std::atomic<int> inside{0};
  auto const invoke = [&] {
    inside = 0;
    auto const branch = [&] {
      ++inside;
      while (inside < 6) errand::this_task::sleep_for(1ms);
    };
    errand::parallel_invoke(own, branch, branch, branch, branch, branch, branch);
  };
  errand::async(own, invoke).get();
  invoke();  // a foreign thread takes one branch, or all but one
}

TEST(parallel_invoke, rule_14_a_branch_may_wait_for_a_task_that_it_started) {
  by_every_caller([](auto&& where) {
    int left = 0;
    int right = 0;
    errand::parallel_invoke(
        where, [&] { left = errand::async(where, [] { return 1; }).get(); },
        [&] { right = errand::async([&] { return errand::async(where, [] { return 2; }).get(); }).get(); });
    EXPECT_EQ(left + right, 3);
  });
}

void sort_in_halves(std::span<int> all) {
  if (all.size() < 100) return std::sort(all.begin(), all.end());
  auto const half = all.size() / 2;
  errand::parallel_invoke([&] { sort_in_halves(all.first(half)); }, [&] { sort_in_halves(all.subspan(half)); });
  std::inplace_merge(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(half), all.end());
}

TEST(parallel_invoke, rule_14_branches_nest) {
  std::vector<int> numbers(20'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i * 7919 % 20'000);
  sort_in_halves(numbers);
  for (std::size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], static_cast<int>(i));
}

// ---- rule 11 ---------------------------------------------------------------------------------------------------------

TEST(parallel_invoke, rule_11_the_first_failure_stops_the_others_all_are_joined_and_it_is_rethrown) {
  for (unsigned const workers : {1U, 2U, 8U}) {
    errand::pool own{workers};
    auto const invoke = [&] {
      std::atomic<int> inside{0};
      auto const sleeper = [&] {
        struct within {
          std::atomic<int>& count;
          explicit within(std::atomic<int>& c) : count{c} { ++count; }
          ~within() { --count; }
        } const counted{inside};
        errand::this_task::sleep_for(24h);
      };
      auto const fails = [&] {
        while (inside < 2) errand::this_task::yield();
        throw std::out_of_range{"third"};
      };
      EXPECT_THROW(errand::parallel_invoke(own, sleeper, sleeper, fails), std::out_of_range);
      EXPECT_EQ(inside, 0);
    };
    errand::async(own, invoke).get();
  }
}

TEST(parallel_invoke, rule_11_in_place_a_failure_keeps_those_after_it_from_being_called) {
  int calls = 0;
  EXPECT_THROW(errand::parallel_invoke(
                   errand::inplace, [&] { ++calls; }, [] { throw std::out_of_range{"second"}; }, [&] { ++calls; }),
               std::out_of_range);
  EXPECT_EQ(calls, 1);
}

std::atomic<unsigned> line_of_report{0};

TEST(parallel_invoke, rule_11_a_further_failure_is_reported_with_the_line_of_the_call) {
  auto* const before = errand::set_unobserved_error_handler(
      [](errand::unobserved_error const& e) { line_of_report = e.from.line(); });
  errand::pool own{2};
  std::atomic<int> inside{0};
  auto const fails = [&] {
    ++inside;
    while (inside < 2) std::this_thread::yield();
    throw std::runtime_error{"one of two"};
  };
  auto const line = std::source_location::current().line() + 1;
  EXPECT_THROW(errand::parallel_invoke(own, fails, fails), std::runtime_error);
  errand::set_unobserved_error_handler(before);
  EXPECT_EQ(line_of_report, line);
}

TEST(parallel_invoke, a_stop_of_the_task_that_calls_stops_all_branches) {
  for (unsigned const workers : {1U, 2U, 8U}) {
    errand::pool own{workers};
    std::atomic<int> inside{0};
    auto const sleeper = [&] {
      ++inside;
      errand::this_task::sleep_for(24h);
    };
    auto f = errand::async(own, [&] { errand::parallel_invoke(own, sleeper, sleeper); });
    while (inside < 2) std::this_thread::yield();
    f.request_stop();
    EXPECT_TRUE(f.result().stopped());
  }
}

}  // namespace
