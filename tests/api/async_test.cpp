// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// async() in every form: where, what, with which arguments, with which result.
#include <gtest/gtest.h>
#include <errand/errand.hpp>  // all of it: no overload may stand in the way of another

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;
using errand_test::thread_number;

int sum_of(std::vector<int> const& numbers) {
  int sum = 0;
  for (int const n : numbers) sum += n;
  return sum;
}

// Calls `use` with every place there is.
template <class Use>
void at_every_place(Use use) {
  errand::pool own{2};
  use(errand::threads);
  use(errand::inplace);
  use(own);
  use(errand::place{errand::threads});
  use(errand::place{errand::inplace});
  use(errand::place{own});
}

TEST(async_forms, every_place_takes_none_to_six_arguments) {
  at_every_place([](auto&& where) {
    auto const add = [](auto... n) { return (0 + ... + n); };
    EXPECT_EQ(errand::async(where, add).get(), 0);
    EXPECT_EQ(errand::async(where, add, 1).get(), 1);
    EXPECT_EQ(errand::async(where, add, 1, 2).get(), 3);
    EXPECT_EQ(errand::async(where, add, 1, 2, 3).get(), 6);
    EXPECT_EQ(errand::async(where, add, 1, 2, 3, 4).get(), 10);
    EXPECT_EQ(errand::async(where, add, 1, 2, 3, 4, 5).get(), 15);
    EXPECT_EQ(errand::async(where, add, 1, 2, 3, 4, 5, 6).get(), 21);
  });
}

TEST(async_forms, no_place_means_the_default_pool_with_none_to_six_arguments) {
  auto const add = [](auto... n) { return (0 + ... + n); };
  EXPECT_EQ(errand::async(add).get(), 0);
  EXPECT_EQ(errand::async(add, 1).get(), 1);
  EXPECT_EQ(errand::async(add, 1, 2).get(), 3);
  EXPECT_EQ(errand::async(add, 1, 2, 3).get(), 6);
  EXPECT_EQ(errand::async(add, 1, 2, 3, 4).get(), 10);
  EXPECT_EQ(errand::async(add, 1, 2, 3, 4, 5).get(), 15);
  EXPECT_EQ(errand::async(add, 1, 2, 3, 4, 5, 6).get(), 21);
  EXPECT_NE(errand::async(thread_number).get(), thread_number());
}

TEST(async_forms, options_take_none_to_six_arguments) {
  auto const add = [](auto... n) { return (0 + ... + n); };
  EXPECT_EQ(errand::async({}, add).get(), 0);
  EXPECT_EQ(errand::async({.name = "one"}, add, 1).get(), 1);
  EXPECT_EQ(errand::async({.timeout = 1h}, add, 1, 2).get(), 3);
  EXPECT_EQ(errand::async({.on = errand::inplace, .name = "three"}, add, 1, 2, 3).get(), 6);
  EXPECT_EQ(errand::async({}, add, 1, 2, 3, 4).get(), 10);
  EXPECT_EQ(errand::async({}, add, 1, 2, 3, 4, 5).get(), 15);
  EXPECT_EQ(errand::async({}, add, 1, 2, 3, 4, 5, 6).get(), 21);
}

TEST(async_forms, options_may_have_a_name_of_their_own) {
  errand::how const constant{.on = errand::inplace};
  errand::how changeable{.name = "named"};
  EXPECT_EQ(errand::async(constant, [] { return 1; }).get(), 1);
  EXPECT_EQ(errand::async(changeable, [](int x) { return x; }, 2).get(), 2);
  EXPECT_EQ(errand::async(errand::how{.name = "short-lived"}, [] { return std::string{errand::this_task::name()}; }).get(),
            "short-lived");
}

TEST(async_forms, inplace_runs_on_the_calling_thread_before_async_returns) {
  bool ran = false;
  auto f = errand::async(errand::inplace, [&] {
    ran = true;
    return thread_number();
  });
  EXPECT_TRUE(ran);
  EXPECT_TRUE(f.ready());
  EXPECT_EQ(f.get(), thread_number());
}

TEST(async_forms, inplace_keeps_an_exception_for_get) {
  auto f = errand::async(errand::inplace, []() -> int { throw std::runtime_error{"kept"}; });
  EXPECT_THROW(static_cast<void>(f.get()), std::runtime_error);
}

TEST(async_forms, a_pool_of_ones_own_runs_its_tasks_on_its_own_threads_alone) {
  errand::pool own{1};
  int const worker = errand::async(own, thread_number).get();
  EXPECT_NE(worker, thread_number());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(errand::async(own, thread_number).get(), worker);
  for (int i = 0; i < 100; ++i) EXPECT_NE(errand::async(thread_number).get(), worker);
}

TEST(async_forms, a_place_chosen_at_run_time_is_obeyed) {
  errand::pool own{1};
  int const worker = errand::async(own, thread_number).get();
  errand::place where = errand::inplace;
  EXPECT_EQ(errand::async(where, thread_number).get(), thread_number());
  where = own;
  EXPECT_EQ(errand::async(where, thread_number).get(), worker);
  EXPECT_EQ(errand::async({.on = own}, thread_number).get(), worker);
  EXPECT_EQ(errand::async({.on = errand::inplace}, thread_number).get(), thread_number());
  where = errand::threads;
  EXPECT_NE(errand::async(where, thread_number).get(), thread_number());
}

TEST(async_forms, a_pool_says_how_many_threads_it_has) {
  EXPECT_EQ(errand::pool{3}.size(), 3U);
  EXPECT_GE(errand::pool{}.size(), 1U);
}

TEST(async_forms, callables_and_arguments_are_copied_when_they_are_lvalues) {
  std::vector<int> numbers{1, 2, 3};
  auto f = errand::async(sum_of, numbers);
  numbers.clear();
  EXPECT_EQ(f.get(), 6);
  std::string text = "kept";
  auto const say = [text](std::string const& more) { return text + more; };
  EXPECT_EQ(errand::async(say, " and more").get(), "kept and more");
  EXPECT_EQ(errand::async(say, std::string{"!"}).get(), "kept!");
}

TEST(async_forms, move_only_callables_arguments_and_results_pass_through) {
  auto add_to = [base = std::make_unique<int>(40)](std::unique_ptr<int> more) {
    return std::make_unique<int>(*base + *more);
  };
  at_every_place([&](auto&& where) {
    auto again = [base = std::make_unique<int>(40)](std::unique_ptr<int> more) {
      return std::make_unique<int>(*base + *more);
    };
    EXPECT_EQ(*errand::async(where, std::move(again), std::make_unique<int>(2)).get(), 42);
  });
  EXPECT_EQ(*errand::async({.name = "moves"}, std::move(add_to), std::make_unique<int>(2)).get(), 42);
}

TEST(async_forms, a_callable_may_be_called_once_only) {
  struct once {
    int operator()(int n) && { return n; }
  };
  EXPECT_EQ(errand::async(once{}, 7).get(), 7);
}

TEST(async_forms, a_mutable_lambda_changes_its_own_copy) {
  int n = 1;
  auto next = [n]() mutable { return ++n; };
  EXPECT_EQ(errand::async(next).get(), 2);
  EXPECT_EQ(errand::async(next).get(), 2);
}

TEST(async_forms, std_ref_passes_a_reference) {
  int n = 0;
  errand::async([](int& r) { r = 7; }, std::ref(n)).get();
  EXPECT_EQ(n, 7);
  auto callable = [&n] { ++n; };
  errand::async(std::ref(callable)).get();
  EXPECT_EQ(n, 8);
}

TEST(async_forms, a_reference_result_is_that_very_object) {
  int n = 0;
  int& same = errand::async([&]() -> int& { return n; }).get();
  EXPECT_EQ(&same, &n);
  int const& constant = errand::async({}, [&]() -> int const& { return n; }).get();
  EXPECT_EQ(&constant, &n);
  auto outcome = errand::async([&]() -> int& { return n; }).result();
  EXPECT_EQ(&std::move(outcome).value(), &n);
}

struct account {
  int balance = 10;
  int plus(int n) const { return balance + n; }
  void add(int n) { balance += n; }
};

TEST(async_forms, member_function_pointers_take_values_pointers_smart_pointers_and_references) {
  account a;
  EXPECT_EQ(errand::async(&account::plus, a, 1).get(), 11);
  EXPECT_EQ(errand::async(&account::plus, &a, 2).get(), 12);
  EXPECT_EQ(errand::async(&account::plus, std::make_shared<account>(), 3).get(), 13);
  EXPECT_EQ(errand::async(&account::plus, std::make_unique<account>(), 4).get(), 14);
  errand::async(&account::add, std::ref(a), 5).get();
  EXPECT_EQ(a.balance, 15);
  EXPECT_EQ(errand::async({.name = "member"}, &account::plus, &a, 1).get(), 16);
}

TEST(async_forms, a_stop_token_comes_first_and_only_where_the_callable_needs_it) {
  EXPECT_TRUE(errand::async([](std::stop_token t) { return t.stop_possible(); }).get());
  EXPECT_EQ(errand::async([](std::stop_token, int n) { return n; }, 5).get(), 5);
  EXPECT_EQ(errand::async(
                errand::inplace, [](std::stop_token const&, int a, int b) { return a * b; }, 5, 6)
                .get(),
            30);
  // It can be called without one, so it is.
  EXPECT_EQ(errand::async([](auto... all) { return sizeof...(all); }).get(), 0U);
  std::stop_source mine;
  EXPECT_TRUE(errand::async([](std::stop_token t, std::stop_token own) { return t != own; }, mine.get_token()).get());
}

struct without_default {
  explicit without_default(int n) : value{n} {}
  int value;
};

TEST(async_forms, a_result_that_refers_to_the_tasks_own_arguments_is_kept_as_a_value) {
  struct holder {
    std::string text = "too long to be stored within the string itself";
  };
  holder const one;
  auto member = errand::async(&holder::text, one);
  static_assert(std::is_same_v<decltype(member), errand::future<std::string>>);
  EXPECT_EQ(member.get(), one.text);
  auto const same = [](std::string&& x) -> std::string&& { return std::move(x); };
  EXPECT_EQ(errand::async(same, one.text).get(), one.text);
  EXPECT_EQ(errand::async([&] { return one.text; }).then(same).get(), one.text);
}

TEST(async_forms, results_need_no_default_constructor) {
  EXPECT_EQ(errand::async([] { return without_default{3}; }).get().value, 3);
  auto outcome = errand::async([] { return without_default{4}; }).result();
  EXPECT_EQ(std::move(outcome).value().value, 4);
}

TEST(async_forms, a_result_that_cannot_be_moved_can_still_be_waited_for) {
  struct immovable {
    immovable() = default;
    immovable(immovable&&) = delete;
    counted inside{1};
  };
  {
    auto f = errand::async([] { return immovable{}; });
    f.wait();
    EXPECT_TRUE(f.ready());
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(async_forms, void_results_and_void_failures) {
  static_assert(std::is_same_v<decltype(errand::async([] {}).get()), void>);
  EXPECT_NO_THROW(errand::async([] {}).get());
  EXPECT_THROW(errand::async([] { throw 7; }).get(), int);
}

TEST(async_forms, any_type_can_be_thrown_and_is_rethrown_as_itself) {
  struct plain {
    int n;
  };
  try {
    errand::async([] { throw plain{9}; }).get();
    FAIL();
  } catch (plain const& p) {
    EXPECT_EQ(p.n, 9);
  }
}

TEST(async_forms, large_callables_arguments_and_results_survive) {
  struct block {
    std::array<int, 4000> numbers{};
  };
  block in;
  for (std::size_t i = 0; i < in.numbers.size(); ++i) in.numbers[i] = static_cast<int>(i);
  block const out = errand::async(
                        [in](block const& more) {
                          block sum;
                          for (std::size_t i = 0; i < sum.numbers.size(); ++i)
                            sum.numbers[i] = in.numbers[i] + more.numbers[i];
                          return sum;
                        },
                        in)
                        .get();
  for (std::size_t i = 0; i < out.numbers.size(); ++i) ASSERT_EQ(out.numbers[i], 2 * static_cast<int>(i));
}

TEST(async_forms, over_aligned_results_are_aligned) {
  struct alignas(64) line {
    std::uintptr_t at = reinterpret_cast<std::uintptr_t>(this);
  };
  auto f = errand::async([] { return line{}; });
  EXPECT_EQ(f.get().at % 64, 0U);
}

TEST(async_forms, what_copying_throws_comes_out_of_async_and_leaves_nothing_behind) {
  struct refuses {
    refuses() = default;
    refuses(refuses const&) { throw std::length_error{"no copies"}; }
    void operator()() const {}
    counted inside{};
  };
  {
    refuses const r;
    EXPECT_THROW(static_cast<void>(errand::async(r)), std::length_error);
    EXPECT_THROW(static_cast<void>(errand::async(
                     {.name = "r"}, [](refuses const&) {}, r)),
                 std::length_error);
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(async_forms, tasks_start_tasks_and_take_their_results) {
  auto f = errand::async([] {
    auto a = errand::async([] { return 1; });
    auto b = errand::async([] { return 2; });
    return a.get() + b.get();
  });
  EXPECT_EQ(f.get(), 3);
}

TEST(async_forms, a_task_may_hand_its_child_over_to_its_starter) {
  flag go;
  auto outer = errand::async([&] {
    return errand::async([&] {
      go.wait_yielding();
      return 5;
    });
  });
  auto inner = outer.get();  // the parent has ended; the child goes on
  go.raise();
  EXPECT_EQ(inner.get(), 5);
}

TEST(lifetime, what_a_task_captured_is_destroyed_before_its_future_is_ready) {
  at_every_place([](auto&& where) {
    for (int i = 0; i < 100; ++i) {
      auto f = errand::async(
          where, [c = counted{}](counted const& argument) { return c.value + argument.value; }, counted{1});
      f.wait();
      ASSERT_EQ(counted::alive(), 0);
      ASSERT_EQ(f.get(), 1);
    }
  });
}

TEST(lifetime, what_a_failing_task_captured_is_destroyed_before_its_future_is_ready) {
  auto f = errand::async([c = counted{}] { throw std::runtime_error{"failed"}; });
  f.wait();
  EXPECT_EQ(counted::alive(), 0);
  EXPECT_THROW(f.get(), std::runtime_error);
}

TEST(lifetime, a_result_nobody_took_is_destroyed_with_its_future) {
  {
    auto f = errand::async([] { return counted{1}; });
    f.wait();
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(lifetime, get_leaves_nothing_of_the_result_behind) {
  auto f = errand::async([] { return counted{1}; });
  {
    counted const c = f.get();
    EXPECT_EQ(c.value, 1);
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(lifetime, what_a_stopped_task_that_never_began_captured_is_destroyed_with_its_future) {
  errand::pool one{1};
  flag release;
  auto hold = errand::async(one, [&] { release.wait(); });
  auto f = errand::async(
      one, [c = counted{}](counted const&) {}, counted{});
  EXPECT_EQ(counted::alive(), 2);
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  EXPECT_EQ(counted::alive(), 0);  // the worker is still held: nobody else was needed
  release.raise();
}

TEST(lifetime, what_a_task_wrote_is_visible_to_whoever_waited_for_it) {
  for (int i = 0; i < 1000; ++i) {
    int plain = 0;
    errand::async([&] { plain = i; }).wait();
    ASSERT_EQ(plain, i);
  }
}

}  // namespace
