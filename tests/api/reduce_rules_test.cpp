// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// reduce, with rules of behaviour 11, 14 and 21: order, ranges and types of every kind, failures, stops, waits. Joining
// texts is associative and not commutative, and a text shows what was joined with what.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;

std::vector<std::string> texts(int count) {
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) all.push_back(std::to_string(i) + ";");
  return all;
}
std::string joined(std::string init, std::vector<std::string> const& all) {
  for (auto const& text : all) init += text;
  return init;
}

// As a caller outside any task, as a task of the default pool, and as a task of the pool that reduces.
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

// ---- rule 21 ---------------------------------------------------------------------------------------------------------

TEST(reduce, rule_21_keeps_the_order_of_its_operands) {
  by_every_caller([](auto&& where) {
    for (int const count : {0, 1, 2, 3, 17, 500}) {
      auto const in = texts(count);
      ASSERT_EQ(errand::reduce(where, in, std::string{">"}, std::plus<>{}), joined(">", in));
    }
  });
  auto const in = texts(10'000);
  EXPECT_EQ(errand::reduce(in, std::string{}, std::plus<>{}), joined("", in));
}

TEST(reduce, rule_21_keeps_it_however_the_shares_are_torn_apart) {
  // Whoever waits has the rest of his share taken over by others.
  auto const in = texts(300);
  by_every_caller([&](auto&& where) {
    auto const out = errand::reduce(
        where, in, std::string{">"},
        [](std::string left, std::string const& right) {
          if (right.size() % 3 == 0) errand::this_task::yield();
          return left + right;
        },
        [](std::string const& text) {
          if (text.size() % 2 == 0) errand::this_task::yield();
          return text;
        });
    ASSERT_EQ(out, joined(">", in));
  });
}

TEST(reduce, rule_21_an_empty_range_gives_init_and_calls_nobody) {
  auto const never = [](int, int) -> int { throw std::logic_error{"called"}; };
  by_every_caller([&](auto&& where) { EXPECT_EQ(errand::reduce(where, std::vector<int>{}, 7, never), 7); });
}

TEST(reduce, rule_21_takes_every_element_exactly_once) {
  by_every_caller([](auto&& where) {
    for (int const count : {1, 2, 100}) {
      std::atomic<int> combined{0};
      std::atomic<int> transformed{0};
      auto const sum = errand::reduce(
          where, std::views::iota(0, count), 1000L,
          [&](long a, long b) {
            ++combined;
            return a + b;
          },
          [&](int n) {
            ++transformed;
            return n;
          });
      EXPECT_EQ(sum, 1000L + count * (count - 1L) / 2);
      EXPECT_EQ(combined, count);
      EXPECT_EQ(transformed, count);
    }
  });
}

TEST(reduce, rule_21_values_need_no_default_constructor_and_no_copy) {
  struct special {
    explicit special(int n) : value{std::make_unique<int>(n)} {}
    std::unique_ptr<int> value;
  };
  auto const sum = errand::reduce(
      std::views::iota(0, 1000), special{5},
      [](special a, special b) {
        *a.value += *b.value;
        return a;
      },
      [](int n) { return special{n}; });
  EXPECT_EQ(*sum.value, 5 + 999 * 1000 / 2);
}

TEST(reduce, inplace_folds_from_the_left_on_this_thread) {
  int const self = errand_test::thread_number();
  auto const minus = [&](int a, int b) {
    EXPECT_EQ(errand_test::thread_number(), self);
    return a - b;
  };
  EXPECT_EQ(errand::reduce(errand::inplace, std::vector<int>{1, 2, 3}, 10, minus), ((10 - 1) - 2) - 3);
}

TEST(reduce, takes_ranges_and_functions_of_every_kind) {
  std::vector<std::string> const in{"a", "bc", "def"};
  EXPECT_EQ(errand::reduce(in, 0, std::plus<>{}, &std::string::size), 6);
  EXPECT_EQ(errand::reduce(std::list<int>{1, 2, 3}, 0L, std::plus<long>{}), 6);
  std::istringstream text{"1 2 3"};
  EXPECT_EQ(errand::reduce(std::views::istream<int>(text), 0, std::plus<>{}), 6);
  int (*const larger)(int, int) = [](int a, int b) { return a < b ? b : a; };
  int const array[] = {3, 9, 2};
  EXPECT_EQ(errand::reduce(array, 0, larger), 9);
  std::vector<bool> const bits{true, true, false};
  EXPECT_FALSE(errand::reduce(bits, true, std::logical_and<>{}));
  // Elements that exist only for the call, and a transform that hands them on.
  EXPECT_EQ(errand::reduce(std::views::iota(0, 100), 0, std::plus<>{}, std::identity{}), 4950);
  auto const made = std::views::iota(0, 100) | std::views::transform([](int n) { return std::to_string(n); });
  EXPECT_EQ(errand::reduce(made, std::string{}, std::plus<>{}).size(), 190);
  // What is no std::string is made one.
  EXPECT_EQ(errand::reduce(std::vector<char const*>{"x", "y"}, std::string{"w"}, std::plus<>{}), "wxy");
  auto const both_moved = [](std::string&& a, std::string&& b) { return std::move(a) + std::move(b); };
  EXPECT_EQ(errand::reduce(in, std::string{}, both_moved), "abcdef");
  EXPECT_EQ(in[2], "def");
}

TEST(reduce, short_integers_are_combined_without_a_warning) {
  std::vector<short> const in{1, 2, 3};
  static_assert(std::is_same_v<decltype(errand::reduce(in, short{4}, std::plus<>{})), short>);
  EXPECT_EQ(errand::reduce(in, short{4}, std::plus<>{}), 10);
}

// ---- rule 11 ---------------------------------------------------------------------------------------------------------

TEST(reduce, rule_11_what_op_or_transform_throws_is_rethrown_and_nothing_is_left) {
  auto const make = [](int n) { return counted{n}; };
  auto const add = [](counted a, counted const& b) {
    a.value += b.value;
    return a;
  };
  auto const fails = [](auto&&...) -> counted { throw std::out_of_range{"fails"}; };
  by_every_caller([&](auto&& where) {
    EXPECT_EQ(errand::reduce(where, std::views::iota(0, 300), counted{1}, add, make).value, 1 + 299 * 300 / 2);
    EXPECT_THROW(errand::reduce(where, std::views::iota(0, 300), counted{}, fails, make), std::out_of_range);
    EXPECT_THROW(errand::reduce(where, std::views::iota(0, 300), counted{}, add,
                                [&](int n) { return n == 150 ? throw std::out_of_range{"half"} : counted{n}; }),
                 std::out_of_range);
  });
  EXPECT_EQ(counted::alive(), 0);
}

TEST(reduce, rule_11_so_is_what_op_throws_when_the_caller_combines) {
  // One who takes part is held at the first element, so all that come after its share are somebody else's.
  errand::pool own{2};
  std::atomic<int> left{1000};
  auto const held = [&](int n) {
    if (n == 0)
      while (left > 100) std::this_thread::yield();
    --left;
    return std::to_string(n) + ";";
  };
  auto const takes_no_more_than_one = [](std::string const& a, std::string const& b) {
    if (b.find(';') != b.size() - 1) throw std::length_error{"two at once"};
    return a + b;
  };
  EXPECT_THROW(errand::reduce(own, std::views::iota(0, 1000), std::string{}, takes_no_more_than_one, held),
               std::length_error);
}

TEST(reduce, a_stop_of_the_task_that_reduces_ends_it) {
  for (unsigned const workers : {1U, 2U, 8U}) {
    errand::pool own{workers};
    flag begun;
    auto f = errand::async(own, [&] {
      return errand::reduce(own, std::views::iota(0, 100), counted{},
                            [](counted a, counted const&) { return a; },
                            [&](int n) {
                              begun.raise();
                              errand::this_task::sleep_for(24h);
                              return counted{n};
                            });
    });
    begun.wait();
    f.request_stop();
    EXPECT_TRUE(f.result().stopped());
    EXPECT_EQ(counted::alive(), 0);
  }
}

// ---- rule 14 ---------------------------------------------------------------------------------------------------------

TEST(reduce, rule_14_all_may_park_at_once_on_one_worker) {
  // Each sleeps until all are inside: one that held others up would hang.
  errand::pool own{1};
  auto const in = texts(100);
  std::atomic<int> inside{0};
  auto const reduces = [&] {
    return errand::reduce(own, in, std::string{}, std::plus<>{}, [&](std::string const& text) {
      ++inside;
      while (inside < 100) errand::this_task::sleep_for(1ms);
      return text;
    });
  };
  EXPECT_EQ(errand::async(own, reduces).get(), joined("", in));
}

TEST(reduce, rule_14_op_and_transform_may_start_tasks_and_wait_for_them) {
  by_every_caller([](auto&& where) {
    auto const sum = errand::reduce(
        where, std::views::iota(0, 50), 0, [&](int a, int b) { return errand::async(where, std::plus<>{}, a, b).get(); },
        [&](int n) {
          return errand::reduce(where, std::views::iota(0, n), 0, std::plus<>{});  // nested
        });
    EXPECT_EQ(sum, 50 * 49 * 48 / 6);
  });
}

}  // namespace
