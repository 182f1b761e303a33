// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// map, for_each and for_each_index, with rules of behaviour 11 and 21: order, ranges of every kind, failures, stops, waits.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <atomic>
#include <forward_list>
#include <iterator>
#include <list>
#include <memory>
#include <numeric>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;
using errand_test::thread_number;

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}
int doubled(int n) { return 2 * n; }

// As a caller outside any task, as a task of the default pool, and as a task of the pool that runs the loop.
template <class Use>
void by_every_caller(Use use) {
  errand::pool own{2};
  auto const at_every_place = [&] {
    use(errand::threads);
    use(errand::inplace);
    use(own);
    use(errand::place{own});
  };
  at_every_place();
  errand::async(at_every_place).get();
  errand::async(own, at_every_place).get();
}

// ---- rule 21 ---------------------------------------------------------------------------------------------------------

TEST(map, rule_21_gathers_results_in_input_order) {
  by_every_caller([](auto&& where) {
    for (int const count : {0, 1, 2, 3, 17, 1000}) {
      auto const in = numbers(count);
      auto const out = errand::map(where, in, doubled);
      ASSERT_EQ(out.size(), in.size());
      for (std::size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], 2 * in[i]);
    }
  });
}

TEST(map, rule_21_results_need_no_default_constructor_and_no_copy) {
  struct special {
    explicit special(int n) : value{std::make_unique<int>(n)} {}
    std::unique_ptr<int> value;
  };
  auto const out = errand::map(numbers(100), [](int n) { return special{n}; });
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(*out[i].value, static_cast<int>(i));
}

TEST(map, rule_21_bool_results_do_not_race) {
  auto const out = errand::map(numbers(10'000), [](int n) { return n % 3 == 0; });
  static_assert(std::is_same_v<decltype(out), std::vector<bool> const>);
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], i % 3 == 0);
}

TEST(map, takes_ranges_of_every_kind) {
  std::vector<int> const expected{2, 4, 6};
  int array[] = {1, 2, 3};
  std::vector<int> vector{1, 2, 3};
  EXPECT_EQ(errand::map(array, doubled), expected);
  EXPECT_EQ(errand::map(vector, doubled), expected);
  EXPECT_EQ(errand::map(std::as_const(vector), doubled), expected);
  EXPECT_EQ(errand::map(std::vector<int>{1, 2, 3}, doubled), expected);
  EXPECT_EQ(errand::map(std::list<int>{1, 2, 3}, doubled), expected);
  EXPECT_EQ(errand::map(std::forward_list<int>{1, 2, 3}, doubled), expected);
  EXPECT_EQ(errand::map(std::set<int>{3, 2, 1}, doubled), expected);
  EXPECT_EQ(errand::map(std::span{array}, doubled), expected);
  EXPECT_EQ(errand::map(std::initializer_list<int>{1, 2, 3}, doubled), expected);
  EXPECT_EQ(errand::map(std::views::iota(1, 4), doubled), expected);
  EXPECT_EQ(errand::map(vector | std::views::filter([](int n) { return n > 0; }), doubled), expected);
  std::istringstream text{"1 2 3"};
  EXPECT_EQ(errand::map(std::views::istream<int>(text), doubled), expected);
  std::vector<bool> const bits{true, false, true};
  EXPECT_EQ(errand::map(bits, [](bool b) { return b ? 1 : 0; }), (std::vector<int>{1, 0, 1}));
}

TEST(map, takes_member_pointers) {
  std::vector<std::string> const texts{"a", "bc", "def"};
  EXPECT_EQ(errand::map(texts, &std::string::size), (std::vector<std::size_t>{1, 2, 3}));
}

TEST(map, results_that_are_references_are_copied) {
  std::vector<int> in{1, 2, 3};
  auto out = errand::map(in, [](int& n) -> int& { return n; });
  static_assert(std::is_same_v<decltype(out), std::vector<int>>);
  out[0] = 7;
  EXPECT_EQ(in[0], 1);
}

TEST(map, destroys_every_result_once_whether_it_ends_well_or_not) {
  {
    auto const out = errand::map(numbers(500), [](int n) { return counted{n}; });
    EXPECT_EQ(counted::alive(), 500);
  }
  EXPECT_EQ(counted::alive(), 0);
  EXPECT_THROW(
      errand::map(numbers(500), [](int n) { return n == 250 ? throw std::runtime_error{"failed"} : counted{n}; }),
      std::runtime_error);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(for_each, changes_the_elements_in_place) {
  std::vector<int> all = numbers(1000);
  errand::for_each(all, [](int& n) { n *= 2; });
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], 2 * static_cast<int>(i));
  std::list<int> list{1, 2, 3};
  errand::for_each(list, [](int& n) { n *= 2; });
  EXPECT_EQ(list, (std::list<int>{2, 4, 6}));
}

TEST(for_each, calls_the_very_callable_it_was_given) {
  struct counts {
    std::atomic<int> calls{0};
    void operator()(int) { ++calls; }
  } body;
  errand::for_each(numbers(100), body);
  EXPECT_EQ(body.calls, 100);
}

TEST(for_each_index, calls_every_index_exactly_once) {
  by_every_caller([](auto&& where) {
    for (std::size_t const count : {0U, 1U, 2U, 7U, 64U, 10'000U}) {
      std::vector<std::atomic<int>> calls(count);
      errand::for_each_index(where, count, [&](std::size_t i) { ++calls[i]; });
      for (auto const& n : calls) ASSERT_EQ(n, 1);
    }
  });
}

std::atomic<std::size_t> sum_of_indices{0};
void add_index(std::size_t i) { sum_of_indices += i; }

TEST(for_each_index, takes_constant_callables_and_functions) {
  sum_of_indices = 0;
  auto const constant = [](std::size_t i) { add_index(i); };
  errand::for_each_index(10, constant);
  errand::for_each_index(10, add_index);
  EXPECT_EQ(sum_of_indices, 90U);
}

TEST(for_each_index, inplace_is_serial_in_order_on_this_thread) {
  std::vector<std::size_t> order;
  int const self = thread_number();
  errand::for_each_index(errand::inplace, 100, [&](std::size_t i) {
    order.push_back(i);
    EXPECT_EQ(thread_number(), self);
  });
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(for_each_index, a_foreign_thread_takes_part) {
  // The only worker is held: the caller does it all.
  errand::pool one{1};
  flag holding, release;
  auto hold = errand::async(one, [&] {
    holding.raise();
    release.wait();
  });
  holding.wait();
  std::atomic<int> calls{0};
  errand::for_each_index(one, 1000, [&](std::size_t) { ++calls; });
  EXPECT_EQ(calls, 1000);
  release.raise();
}

// ---- rule 11 ---------------------------------------------------------------------------------------------------------

TEST(loops, rule_11_the_first_failure_stops_the_rest_and_is_rethrown_when_all_have_ended) {
  by_every_caller([](auto&& where) {
    std::atomic<int> inside{0};
    std::atomic<int> begun{0};
    struct within {
      std::atomic<int>& count;
      explicit within(std::atomic<int>& c) : count{c} { ++count; }
      ~within() { --count; }
    };
    EXPECT_THROW(errand::for_each_index(where, 100'000,
                                        [&](std::size_t i) {
                                          within const w{inside};
                                          ++begun;
                                          if (i == 10) throw std::out_of_range{"ten"};
                                          if (i % 7 == 0) std::this_thread::yield();
                                        }),
                 std::out_of_range);
    EXPECT_EQ(inside, 0);
    EXPECT_GE(begun, 1);
    EXPECT_LT(begun, 100'000);
  });
}

TEST(loops, rule_11_a_failure_stops_iterations_that_wait) {
  std::atomic<int> stopped{0};
  flag one_sleeps;
  EXPECT_THROW(errand::for_each_index(100,
                                      [&](std::size_t i) {
                                        if (i == 99) {
                                          one_sleeps.wait_yielding();
                                          throw std::out_of_range{"last"};
                                        }
                                        one_sleeps.raise();
                                        try {
                                          errand::this_task::sleep_for(24h);
                                        } catch (errand::operation_cancelled const&) {
                                          ++stopped;
                                          throw;
                                        }
                                      }),
               std::out_of_range);
  EXPECT_GE(stopped, 1);
}

TEST(loops, rule_11_if_every_iteration_fails_one_error_is_thrown) {
  by_every_caller([](auto&& where) {
    EXPECT_THROW(errand::for_each_index(where, 1000, [](std::size_t) { throw std::runtime_error{"each"}; }),
                 std::runtime_error);
    EXPECT_THROW(errand::for_each_index(where, 1, [](std::size_t) { throw std::runtime_error{"only"}; }),
                 std::runtime_error);
  });
}

TEST(loops, a_stop_of_the_task_that_runs_a_loop_stops_the_loop) {
  for (unsigned const workers : {1U, 2U, 8U}) {
    errand::pool own{workers};
    flag begun;
    std::atomic<int> inside{0};
    auto f = errand::async(own, [&] {
      errand::for_each_index(own, 100, [&](std::size_t) {
        ++inside;
        begun.raise();
        try {
          errand::this_task::sleep_for(24h);
        } catch (...) {
          --inside;
          throw;
        }
      });
    });
    begun.wait();
    f.request_stop();
    EXPECT_TRUE(f.result().stopped());
    EXPECT_EQ(inside, 0);
  }
}

TEST(loops, a_stop_ends_a_loop_that_only_computes) {
  errand::pool own{2};
  flag begun, asked;
  std::atomic<int> calls{0};
  auto f = errand::async(own, [&] {
    errand::for_each_index(own, 1'000'000, [&](std::size_t) {
      ++calls;
      begun.raise();
      asked.wait();
    });
  });
  begun.wait();
  f.request_stop();
  asked.raise();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_LT(calls, 1'000'000);
}

// ---- waiting inside --------------------------------------------------------------------------------------------------

TEST(loops, rule_14_iterations_that_sleep_sleep_together_even_on_one_worker) {
  // Each sleeps until all are inside: no time is measured, a loop that held them up would hang.
  for (unsigned const workers : {1U, 2U}) {
    errand::pool own{workers};
    auto const loop = [&] {
      std::atomic<int> inside{0};
      errand::for_each_index(own, 100, [&](std::size_t) {
        ++inside;
        while (inside != 100) errand::this_task::sleep_for(1ms);
      });
    };
    errand::async(own, loop).get();  // as a task: all iterations can park
  }
}

TEST(loops, rule_14_iterations_that_sleep_in_a_loop_of_a_foreign_thread_sleep_together) {
  errand::pool own{1};
  std::atomic<int> inside{0};
  errand::for_each_index(own, 100, [&](std::size_t) {
    ++inside;
    while (inside != 100) errand::this_task::sleep_for(1ms);
  });
}

TEST(loops, rule_14_iterations_may_start_tasks_and_wait_for_them) {
  by_every_caller([](auto&& where) {
    std::atomic<int> sum{0};
    errand::for_each_index(where, 200, [&](std::size_t i) {
      sum += errand::async([i] { return static_cast<int>(i); }).get();
      sum += errand::async(where, [i] { return static_cast<int>(i); }).get();
    });
    EXPECT_EQ(sum, 200 * 199);
  });
}

TEST(loops, rule_14_loops_nest_three_deep) {
  by_every_caller([](auto&& where) {
    std::atomic<int> calls{0};
    errand::for_each_index(where, 10, [&](std::size_t) {
      errand::for_each_index(where, 10, [&](std::size_t) {
        errand::for_each_index(where, 10, [&](std::size_t) {
          ++calls;
          errand::this_task::yield();
        });
      });
    });
    EXPECT_EQ(calls, 1000);
  });
}

TEST(loops, an_inner_failure_leaves_through_the_outer_loop) {
  EXPECT_THROW(errand::for_each_index(20,
                                      [&](std::size_t i) {
                                        errand::for_each_index(20, [&](std::size_t j) {
                                          if (i == 7 && j == 13) throw std::domain_error{"inner"};
                                        });
                                      }),
               std::domain_error);
}

TEST(loops, several_foreign_threads_may_run_loops_at_once) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 50; ++i) {
        std::atomic<int> calls{0};
        errand::for_each_index(100, [&](std::size_t) { ++calls; });
        EXPECT_EQ(calls, 100);
      }
    });
}

}  // namespace
