// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What then, share, when_all and when_any give, for values, references, nothing, and what can only be moved.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <array>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using errand_test::counted;
using errand_test::flag;

TEST(then, hands_the_value_on) {
  EXPECT_EQ(errand::async([] { return 6; }).then([](int n) { return n * 7; }).get(), 42);
  EXPECT_EQ(errand::async([] {}).then([] { return 3; }).get(), 3);
  errand::async([] { return 6; }).then([](int) {}).get();
}

TEST(then, moves_what_can_only_be_moved) {
  auto made = errand::async([] { return std::make_unique<int>(5); });
  auto last = made.then([mine = std::make_unique<int>(1)](std::unique_ptr<int> n) mutable {
    *n += *mine;
    return n;
  });
  EXPECT_FALSE(made.valid());
  EXPECT_EQ(*last.get(), 6);
}

TEST(then, hands_on_a_reference_as_such) {
  int here = 1;
  auto last = errand::async([&]() -> int& { return here; }).then([](int& n) -> int& {
    ++n;
    return n;
  });
  EXPECT_EQ(&last.get(), &here);
  EXPECT_EQ(here, 2);
}

TEST(then, gives_a_stop_token_to_what_cannot_be_called_without) {
  EXPECT_TRUE(
      errand::async([] { return 1; }).then([](std::stop_token token, int) { return token.stop_possible(); }).get());
  EXPECT_TRUE(errand::async([] {}).then([](std::stop_token token) { return token.stop_possible(); }).get());
}

errand::task<int> wait_and_add(int const& n, int more) {
  co_await errand::async([] { errand::this_task::yield(); });
  co_return n + more;
}

TEST(then, flattens_what_is_a_coroutine) {
  auto last = errand::async([] {
                return 1;
              }).then([](int const& n) {
                  return wait_and_add(n, 1);
                }).then([kept = std::make_unique<int>(5)](int const& n) -> errand::task<int> {
    co_await errand::async([] { errand::this_task::yield(); });
    co_return n + *kept;
  });
  EXPECT_EQ(last.get(), 7);
}

unsigned reported_line = 0;

TEST(then, takes_the_line_of_its_call) {
  auto* const before =
      errand::set_unobserved_error_handler([](errand::unobserved_error const& e) { reported_line = e.from.line(); });
  errand::async([] {}).then([] { throw 1; }).wait();
  EXPECT_EQ(reported_line, static_cast<unsigned>(__LINE__ - 1));
  errand::set_unobserved_error_handler(before);
}

TEST(then, of_a_future_of_no_task_throws) {
  errand::future<int> none;
  EXPECT_THROW(static_cast<void>(none.then([](int) {})), std::logic_error);
  EXPECT_THROW(static_cast<void>(none.share()), std::logic_error);
  errand::shared_future<int> const nobody;
  EXPECT_THROW(static_cast<void>(nobody.then([](int) {})), std::logic_error);
  EXPECT_THROW(nobody.get(), std::logic_error);
}

TEST(then, keeps_the_task_if_its_function_cannot_be_copied) {
  struct throws {
    throws() = default;
    throws(throws const&) { throw std::runtime_error{"cannot be copied"}; }
    int operator()(int n) const { return n; }
  };
  auto f = errand::async([] { return 1; });
  throws const t;
  EXPECT_THROW(static_cast<void>(f.then(t)), std::runtime_error);
  EXPECT_EQ(f.get(), 1);
}

TEST(then, what_its_function_throws_arrives_at_the_next) {
  auto last =
      errand::async([] { return 1; }).then([](int) -> int { throw std::domain_error{"second"}; }).then([](int n) {
        return n;
      });
  EXPECT_THROW(last.get(), std::domain_error);
}

TEST(then, destroys_the_value_and_the_function_once_they_were_used) {
  auto last =
      errand::async([] { return counted{1}; }).then([payload = counted{}](counted const& c) { return c.value; });
  last.wait();
  EXPECT_EQ(counted::alive(), 0);
  EXPECT_EQ(last.get(), 1);
}

TEST(then, is_stopped_with_the_task_that_called_it) {
  errand::pool own{2};
  std::atomic<bool> stopped{false};
  auto parent = errand::async(own, [&] {
    flag begun;
    auto link = errand::async([] {}).then([&] {
      begun.raise();
      try {
        errand::this_task::sleep_for(std::chrono::hours{24});
      } catch (errand::operation_cancelled const&) {
        stopped = true;
        throw;
      }
    });
    begun.wait_yielding();
    link.get();
  });
  parent.request_stop();
  EXPECT_TRUE(parent.result().stopped());
}

TEST(shared_future, gives_the_same_value_to_all) {
  auto const one = errand::async([] { return std::string{"value"}; }).share();
  auto const two = one;
  std::string const& of_one = one.get();
  EXPECT_EQ(of_one, "value");
  EXPECT_EQ(&of_one, &two.get());
  EXPECT_EQ(&two.result().value(), &of_one);
  EXPECT_TRUE(one.ready());
  EXPECT_EQ(one.wait_for(std::chrono::nanoseconds{0}), errand::future_status::ready);
}

TEST(shared_future, rethrows_to_all_and_reports_to_nobody) {
  auto const one = errand::async([]() -> int { throw std::runtime_error{"for all"}; }).share();
  auto const two = one;
  EXPECT_THROW(one.get(), std::runtime_error);
  EXPECT_THROW(two.get(), std::runtime_error);
  EXPECT_TRUE(two.result().error());
}

TEST(shared_future, of_nothing_and_of_a_reference) {
  errand::async([] {}).share().get();
  int here = 0;
  EXPECT_EQ(&errand::async([&]() -> int& { return here; }).share().get(), &here);
  EXPECT_TRUE(errand::async([] {}).share().result().has_value());
}

TEST(shared_future, many_wait_for_it_in_every_way) {
  flag let_go;
  auto const shared = errand::async([&] {
                        let_go.wait_yielding();
                        return counted{7};
                      }).share();
  std::atomic<int> sum{0};
  std::vector<errand::future<void>> tasks;
  for (int i = 0; i < 10; ++i) {
    tasks.push_back(errand::async([&sum, shared] { sum += shared.get().value; }));
    tasks.push_back(errand::async(
        [](errand::shared_future<counted> of, std::atomic<int>& to) -> errand::task<> { to += (co_await of).value; },
        shared, std::ref(sum)));
    tasks.push_back(shared.then([&sum](counted const& c) { sum += c.value; }));
  }
  std::jthread const thread([&] { sum += shared.get().value; });
  let_go.raise();
  errand::when_all(std::move(tasks)).get();
  while (sum != 31 * 7) std::this_thread::yield();
}

TEST(shared_future, a_stop_by_one_is_a_stop_of_the_task) {
  auto const shared = errand::async([] { errand::this_task::sleep_for(std::chrono::hours{24}); }).share();
  auto const other = shared;
  other.request_stop();
  EXPECT_TRUE(shared.result().stopped());
}

TEST(when_all, gathers_values_of_different_types) {
  auto [n, text, nothing] = errand::when_all(errand::async([] { return 1; }),
                                             errand::async([] { return std::string{"two"}; }), errand::async([] {}))
                                .get();
  EXPECT_EQ(n, 1);
  EXPECT_EQ(text, "two");
  EXPECT_EQ(nothing, std::monostate{});
}

TEST(when_all, gathers_references_and_what_can_only_be_moved) {
  int here = 0;
  auto [ref, owned] = errand::when_all(errand::async([&]() -> int& { return here; }),
                                       errand::async([] { return std::make_unique<int>(2); }))
                          .get();
  EXPECT_EQ(&ref, &here);
  EXPECT_EQ(*owned, 2);
}

TEST(when_all, takes_any_number) {
  auto const one = [] { return 1; };
  EXPECT_EQ(std::tuple_size_v<decltype(errand::when_all().get())>, 0U);
  EXPECT_TRUE(errand::when_all().ready());
  EXPECT_EQ(std::get<0>(errand::when_all(errand::async(one)).get()), 1);
  EXPECT_EQ(std::get<3>(
                errand::when_all(errand::async(one), errand::async(one), errand::async(one), errand::async(one)).get()),
            1);
  EXPECT_EQ(std::get<5>(errand::when_all(errand::async(one), errand::async(one), errand::async(one), errand::async(one),
                                         errand::async(one), errand::async(one))
                            .get()),
            1);
}

TEST(when_all, keeps_the_order_of_a_range) {
  std::vector<errand::future<int>> many;
  for (int i = 0; i < 500; ++i)
    many.push_back(i % 3 == 0 ? errand::async(errand::inplace, [i] { return i; }) : errand::async([i] { return i; }));
  auto const all = errand::when_all(std::move(many)).get();
  ASSERT_EQ(all.size(), 500U);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], i);
}

TEST(when_all, takes_ranges_of_other_kinds_and_of_nothing) {
  std::list<errand::future<bool>> few;
  few.push_back(errand::async([] { return true; }));
  EXPECT_EQ(errand::when_all(std::move(few)).get(), std::vector<bool>{true});
  std::array<errand::future<void>, 2> two{errand::async([] {}), errand::async([] {})};
  errand::when_all(std::move(two)).get();
  EXPECT_TRUE(errand::when_all(std::vector<errand::future<int>>{}).get().empty());
  EXPECT_TRUE(errand::when_all(std::vector<errand::future<void>>{}).ready());
}

TEST(when_all, its_value_stands_if_the_work_was_finished_all_the_same) {
  flag let_go;
  auto all = errand::when_all(errand::async([&] {
    let_go.wait();
    return 5;
  }));
  let_go.raise();
  while (!all.ready()) std::this_thread::yield();
  all.request_stop();
  EXPECT_EQ(std::get<0>(all.get()), 5);
}

TEST(when_all, can_be_detached_awaited_shared_and_gone_on_from) {
  auto const two = [] { return errand::when_all(errand::async([] { return 1; }), errand::async([] { return 2; })); };
  auto const sum = [](std::tuple<int, int> const& t) { return std::get<0>(t) + std::get<1>(t); };
  EXPECT_EQ(two().then(sum).get(), 3);
  EXPECT_EQ(sum(two().share().get()), 3);
  auto const in_coroutine = [&]() -> errand::task<int> {
    auto both = two();
    co_return sum(co_await both);
  };
  EXPECT_EQ(in_coroutine().get(), 3);
  {
    flag ended;
    two().then([&](std::tuple<int, int> const&) { ended.raise(); }).detach();
    ended.wait();
  }
  for (int i = 0; i < 100; ++i)
    errand::when_all(errand::async([] { return counted{}; }), errand::async([] { return counted{}; })).detach();
  while (counted::alive() != 0) std::this_thread::yield();
}

TEST(when_all, of_a_future_of_no_task_throws) {
  EXPECT_THROW(static_cast<void>(errand::when_all(errand::async([] {}), errand::future<int>{})), std::logic_error);
}

TEST(when_all, passes_on_what_the_gathering_of_values_throws) {
  struct throws {
    throws() = default;
    throws(throws&&) noexcept(false) { throw std::runtime_error{"cannot be moved"}; }
  };
  auto all = errand::when_all(errand::async([] { return throws{}; }));
  EXPECT_TRUE(all.result().error());
}

TEST(when_any, tells_which_of_them_and_its_value) {
  std::vector<errand::future<int>> many;
  flag let_go;
  for (int i = 0; i < 5; ++i)
    many.push_back(errand::async([i, &let_go] {
      if (i != 3) let_go.wait_yielding();
      return i;
    }));
  auto const first = errand::when_any(std::move(many)).get();
  EXPECT_EQ(first.index, 3U);
  EXPECT_EQ(first.value, 3);
}

TEST(when_any, of_different_types_gives_a_variant) {
  flag let_go;
  auto const wait = [&] { let_go.wait_yielding(); };
  auto const first = errand::when_any(errand::async([&] {
                                        wait();
                                        return 1;
                                      }),
                                      errand::async([] { return std::string{"two"}; }), errand::async(wait))
                         .get();
  EXPECT_EQ(first.index, 1U);
  EXPECT_EQ(first.value.index(), 1U);
  EXPECT_EQ(std::get<1>(first.value), "two");
}

TEST(when_any, of_nothing_at_all_is_refused_and_of_void_has_an_index_alone) {
  EXPECT_THROW(static_cast<void>(errand::when_any(std::vector<errand::future<int>>{})), std::invalid_argument);
  EXPECT_EQ(errand::when_any(errand::async([] {})).get().index, 0U);
}

TEST(when_any, is_stopped_if_all_are) {
  auto any = errand::when_any(errand::async([] { errand::this_task::sleep_for(std::chrono::hours{24}); }),
                              errand::async([] { errand::this_task::sleep_for(std::chrono::hours{24}); }));
  any.request_stop();
  EXPECT_TRUE(any.result().stopped());
}

}  // namespace
