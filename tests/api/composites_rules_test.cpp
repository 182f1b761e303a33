// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules of behaviour 7, 10, 11 and 12 as they concern futures made of others: chains of then, shared futures, when_all,
// when_any.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::counted;
using errand_test::flag;

// Collects what is reported while it lives.
class collected_reports {
 public:
  collected_reports() : before_{errand::set_unobserved_error_handler(&collect)} {}
  ~collected_reports() {
    errand::set_unobserved_error_handler(before_);
    std::lock_guard const held{guard};
    reports.clear();
  }
  collected_reports(collected_reports const&) = delete;
  collected_reports& operator=(collected_reports const&) = delete;
  std::vector<std::string> now() {
    std::lock_guard const held{guard};
    std::sort(reports.begin(), reports.end());
    return reports;
  }

 private:
  static void collect(errand::unobserved_error const& e) {
    std::lock_guard const held{guard};
    try {
      std::rethrow_exception(e.error);
    } catch (std::exception const& what) {
      reports.push_back(std::string{e.task} + ":" + what.what());
    }
  }
  inline static std::mutex guard;
  inline static std::vector<std::string> reports;
  errand::unobserved_error_handler before_;
};

std::string what_of(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    return e.what();
  }
}

// A task that waits until it is stopped, and says so.
auto sleeper(std::atomic<int>& stopped) {
  return errand::async([&stopped] {
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      ++stopped;
      throw;
    }
  });
}

void fail(char const* what) { throw std::runtime_error{what}; }

// ---- rule 7 ----------------------------------------------------------------------------------------------------------

TEST(composites, rule_07_a_stop_of_one_who_waits_for_a_shared_future_ends_his_wait_alone) {
  flag let_go;
  auto shared = errand::async([&] {
                  let_go.wait_yielding();
                  return 7;
                }).share();
  flag waits;
  auto waiting = errand::async([&waits, shared] {
    waits.raise();
    return shared.get();
  });
  waits.wait();
  waiting.request_stop();
  EXPECT_TRUE(waiting.result().stopped());
  EXPECT_FALSE(shared.ready());
  let_go.raise();
  EXPECT_EQ(shared.get(), 7);
}

TEST(composites, rule_07_a_stop_of_a_coroutine_that_awaits_a_shared_future_ends_its_wait_alone) {
  flag let_go;
  auto shared = errand::async([&] {
                  let_go.wait_yielding();
                  return 7;
                }).share();
  flag waits;
  auto waiting = errand::async(
      [](flag& begun, errand::shared_future<int> of) -> errand::task<int> {
        begun.raise();
        co_return co_await of;
      },
      std::ref(waits), shared);
  waits.wait();
  waiting.request_stop();
  EXPECT_TRUE(waiting.result().stopped());
  let_go.raise();
  EXPECT_EQ(shared.get(), 7);
}

TEST(composites, rule_07_a_stop_of_a_link_of_a_shared_future_ends_the_link_alone_and_at_once) {
  flag let_go;
  auto shared = errand::async([&] {
                  let_go.wait_yielding();
                  return 7;
                }).share();
  auto link = shared.then([](int) { return 1; });
  link.request_stop();
  EXPECT_TRUE(link.ready());
  EXPECT_TRUE(link.result().stopped());
  EXPECT_FALSE(shared.ready());
  let_go.raise();
  EXPECT_EQ(shared.get(), 7);
}

TEST(composites, rule_07_a_stop_of_a_link_of_a_shared_future_that_has_begun_is_a_stop_of_a_task) {
  for (bool const ready : {false, true}) {
    auto shared = errand::async([] { return 7; }).share();
    if (ready) shared.wait();
    flag begun;
    auto link = shared.then([&](std::stop_token token, int n) {
      begun.raise();
      while (!token.stop_requested()) std::this_thread::yield();
      return n;
    });
    begun.wait();
    link.request_stop();
    EXPECT_EQ(link.get(), 7);
  }
}

TEST(composites, rule_07_a_stop_of_when_all_reaches_all_its_tasks) {
  std::atomic<int> stopped{0};
  flag begun;
  auto all = errand::when_all(sleeper(stopped), errand::async([&](std::stop_token token) {
                                begun.raise();
                                while (!token.stop_requested()) errand::this_task::yield();
                              }));
  begun.wait();
  all.request_stop();
  EXPECT_TRUE(all.result().stopped());
}

// ---- rule 10 ---------------------------------------------------------------------------------------------------------

TEST(composites, rule_10_dropping_a_chain_stops_all_its_links_before_it_joins_any) {
  std::atomic<int> stopped{0};
  bool ran = false;
  {
    flag begun;
    auto chain = errand::async([&] {
                   begun.raise();
                   try {
                     errand::this_task::sleep_for(24h);
                   } catch (errand::operation_cancelled const&) {
                     ++stopped;  // and ends with a value, which the links must not take up
                   }
                 }).then([&] {
                     ran = true;
                   }).then([&] { ran = true; });
    begun.wait();
  }
  EXPECT_EQ(stopped, 1);
  EXPECT_FALSE(ran);
}

TEST(composites, rule_10_dropping_the_last_copy_of_a_shared_future_stops_and_joins) {
  std::atomic<int> stopped{0};
  flag begun;
  auto one = errand::async([&] {
               begun.raise();
               try {
                 errand::this_task::sleep_for(24h);
               } catch (errand::operation_cancelled const&) {
                 ++stopped;
                 throw;
               }
             }).share();
  begun.wait();
  auto two = one;
  one = {};
  EXPECT_EQ(stopped, 0);
  two = {};
  EXPECT_EQ(stopped, 1);
}

TEST(composites, rule_10_dropping_a_when_all_stops_and_joins_all) {
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  auto const task = [&] {
    ++begun;
    struct at_end {
      std::atomic<int>& count;
      ~at_end() { ++count; }
    } const end{ended};
    errand::this_task::sleep_for(24h);
  };
  { auto all = errand::when_all(errand::async(task), errand::async(task), errand::async(task)); }
  EXPECT_EQ(begun, ended);
}

TEST(composites, rule_10_a_chain_of_a_hundred_thousand_links_needs_no_deep_stack) {
  constexpr int length = 100'000;
  enum class how { value, error, stop, drop };
  for (auto const way : {how::value, how::error, how::stop, how::drop}) {
    flag let_go;
    auto chain = errand::async([&, way] {
      let_go.wait_yielding();
      if (way == how::error) fail("first");
      return 0;
    });
    for (int i = 0; i < length; ++i) chain = chain.then([](int n) { return n + 1; });
    if (way == how::stop) chain.request_stop();
    if (way == how::drop) chain = {};
    let_go.raise();
    if (way == how::value) {
      EXPECT_EQ(chain.get(), length);
    } else if (way == how::error) {
      EXPECT_THROW(chain.get(), std::runtime_error);
    } else if (way == how::stop) {
      EXPECT_TRUE(chain.result().stopped());
    }
  }
}

TEST(composites, rule_10_a_chain_of_shared_links_needs_no_deep_stack) {
  for (bool const fails : {false, true}) {
    flag let_go;
    auto chain = errand::async([&] {
                   let_go.wait_yielding();
                   if (fails) fail("first");
                   return 0;
                 }).share();
    for (int i = 0; i < 50'000; ++i) chain = chain.then([](int n) { return n + 1; }).share();
    let_go.raise();
    if (fails)
      EXPECT_THROW(chain.get(), std::runtime_error);
    else
      EXPECT_EQ(chain.get(), 50'000);
  }
}

TEST(composites, rule_10_a_chain_of_when_alls_needs_no_deep_stack) {
  for (bool const fails : {false, true}) {
    flag let_go;
    auto chain = errand::async([&] {
      let_go.wait_yielding();
      if (fails) fail("first");
    });
    for (int i = 0; i < 50'000; ++i) {
      std::vector<errand::future<void>> two;
      two.push_back(std::move(chain));
      two.push_back(errand::async(errand::inplace, [] {}));
      chain = errand::when_all(std::move(two));
    }
    let_go.raise();
    if (fails)
      EXPECT_THROW(chain.get(), std::runtime_error);
    else
      chain.get();
  }
}

// ---- rule 11 ---------------------------------------------------------------------------------------------------------

TEST(composites, rule_11_the_first_to_succeed_wins_and_the_losers_are_stopped_and_joined) {
  std::atomic<int> stopped{0};
  flag begun;
  auto slow = errand::async([&] {
    begun.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      ++stopped;
      throw;
    }
    return 1;
  });
  begun.wait();
  auto const first = errand::when_any(std::move(slow), errand::async([] { return 2; })).get();
  EXPECT_EQ(first.index, 1U);
  EXPECT_EQ(first.value, 2);
  EXPECT_EQ(stopped, 1);
}

TEST(composites, rule_11_a_failure_does_not_win) {
  auto failed = errand::async([]() -> int { throw std::runtime_error{"no"}; });
  failed.wait();
  auto const first = errand::when_any(std::move(failed), errand::async([] { return 2; })).get();
  EXPECT_EQ(first.index, 1U);
}

TEST(composites, rule_11_if_all_fail_when_any_rethrows_the_first_error_and_reports_no_other) {
  collected_reports seen;
  auto one = errand::async(fail, "one");
  one.wait();
  flag hooked;
  auto any = errand::when_any(errand::async([&] {
                                hooked.wait_yielding();
                                fail("late");
                              }),
                              std::move(one));
  hooked.raise();
  try {
    any.get();
    FAIL();
  } catch (std::runtime_error const& e) {
    EXPECT_STREQ(e.what(), "one");
  }
  EXPECT_TRUE(seen.now().empty());
}

TEST(composites, rule_11_the_errors_of_losers_are_not_reported) {
  collected_reports seen;
  for (int i = 0; i < 20; ++i) {
    auto failed = errand::async([]() -> int { throw std::runtime_error{"lost"}; });
    auto const first = errand::when_any(errand::async([] { return 2; }), std::move(failed), errand::async([]() -> int {
                                          try {
                                            errand::this_task::sleep_for(24h);
                                          } catch (errand::operation_cancelled const&) {
                                            fail("stopped, and failed");
                                          }
                                          return 1;
                                        }))
                           .get();
    EXPECT_EQ(first.value, 2);
  }
  EXPECT_TRUE(seen.now().empty());
}

TEST(composites, rule_11_the_first_failure_of_when_all_stops_the_rest_which_are_joined) {
  std::atomic<int> stopped{0};
  flag begun;
  auto waiting = errand::async([&] {
    begun.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      ++stopped;
      throw;
    }
    return 1;
  });
  begun.wait();
  auto all = errand::when_all(std::move(waiting), errand::async(fail, "first"));
  EXPECT_THROW(static_cast<void>(all.get()), std::runtime_error);
  EXPECT_EQ(stopped, 1);
}

TEST(composites, rule_11_a_failure_stops_those_that_have_not_begun_without_a_worker) {
  errand::pool busy{1};
  flag let_go, blocked;
  auto blocker = errand::async(busy, [&] {
    blocked.raise();
    let_go.wait();
  });
  blocked.wait();
  bool ran = false;
  auto all = errand::when_all(errand::async(busy, [&] { ran = true; }), errand::async(fail, "first"));
  EXPECT_THROW(static_cast<void>(all.get()), std::runtime_error);
  EXPECT_FALSE(ran);
  let_go.raise();
}

// Two that have both begun before either fails, and that fail one after the other.
auto two_failures(flag& second_waits) {
  auto second = errand::async({.name = "second"}, [&second_waits] {
    second_waits.raise();
    try {
      errand::this_task::sleep_for(24h);
    } catch (errand::operation_cancelled const&) {
      fail("second");
    }
  });
  second_waits.wait();
  auto first = errand::async({.name = "first"}, fail, "first");
  return errand::when_all(std::move(second), std::move(first));
}

TEST(composites, rule_11_the_further_errors_of_when_all_can_be_inspected) {
  collected_reports seen;
  {
    flag second_waits;
    auto const o = two_failures(second_waits).result();
    EXPECT_EQ(what_of(o.error()), "first");
    ASSERT_EQ(o.further_errors().size(), 1U);
    EXPECT_EQ(what_of(o.further_errors()[0]), "second");
  }
  EXPECT_TRUE(seen.now().empty());
}

TEST(composites, rule_11_further_errors_that_nobody_asked_for_are_reported_with_the_name_of_their_task) {
  collected_reports seen;
  flag second_waits;
  EXPECT_THROW(two_failures(second_waits).get(), std::runtime_error);
  EXPECT_EQ(seen.now(), std::vector<std::string>{"second:second"});
}

TEST(composites, rule_11_the_further_errors_of_a_loop_are_reported) {
  collected_reports seen;
  std::atomic<int> begun{0};
  errand::pool two{2};
  try {
    errand::for_each_index(two, 2, [&](std::size_t i) {
      ++begun;
      while (begun != 2) std::this_thread::yield();
      fail(i == 0 ? "zero" : "one");
    });
    FAIL();
  } catch (std::runtime_error const& e) {
    std::string const thrown = e.what();
    EXPECT_EQ(seen.now(), std::vector<std::string>{thrown == "zero" ? ":one" : ":zero"});
  }
}

// ---- rule 12 ---------------------------------------------------------------------------------------------------------

TEST(composites, rule_12_then_never_calls_its_function_inside_then) {
  auto ready = errand::async(errand::inplace, [] { return 1; });
  int const here = errand_test::thread_number();
  flag returned;
  auto link = ready.then([&](int) {
    returned.wait_yielding();
    return errand_test::thread_number();
  });
  returned.raise();
  EXPECT_NE(link.get(), here);
}

TEST(composites, rule_12_with_no_place_given_it_runs_where_the_first_one_ran) {
  errand::pool one{1};
  auto const thread = errand::async(one, [] { return errand_test::thread_number(); }).get();
  flag let_go;
  auto while_it_runs =
      errand::async(one, [&] { let_go.wait_yielding(); }).then([] { return errand_test::thread_number(); });
  let_go.raise();
  EXPECT_EQ(while_it_runs.get(), thread);
  auto ended = errand::async(one, [] {});
  ended.wait();
  EXPECT_EQ(ended.then([] { return errand_test::thread_number(); }).get(), thread);
}

TEST(composites, rule_12_with_a_place_given_it_runs_there) {
  errand::pool one{1};
  errand::pool two{1};
  auto const thread = errand::async(two, [] { return errand_test::thread_number(); }).get();
  EXPECT_EQ(errand::async(one, [] {}).then(two, [] { return errand_test::thread_number(); }).get(), thread);
  errand::place const where{two};
  EXPECT_EQ(errand::async(one, [] {}).then(where, [] { return errand_test::thread_number(); }).get(), thread);
  auto first = errand::async(one, [] {});
  EXPECT_THROW(static_cast<void>(first.then(errand::place{errand::inplace}, [] {})), std::invalid_argument);
}

TEST(composites, rule_12_at_blocking_it_runs_on_a_thread_that_no_pool_has) {
  errand::pool one{1};
  auto const pools = errand::async(one, errand_test::thread_number).get();
  auto const blocks = [] { return std::pair{errand_test::thread_number(), errand::this_task::name().empty()}; };
  EXPECT_NE(errand::async(one, [] {}).then(errand::blocking, blocks).get().first, pools);
  EXPECT_NE(errand::async(one, [] {}).then(errand::place{errand::blocking}, blocks).get().first, pools);
  flag let_go;
  auto chain = errand::async(one, [&] { let_go.wait_yielding(); })
                   .then(errand::blocking, [] { return 1; })
                   .then(errand::blocking, [](int n) -> errand::task<int> { co_return n + 1; })
                   .then([](int n) { return n + 1; });
  let_go.raise();
  EXPECT_EQ(chain.get(), 3);
}

TEST(composites, rule_12_a_link_at_blocking_is_passed_by_stopped_and_dropped_like_any_other) {
  auto fails = errand::async([]() -> int { throw std::runtime_error("first"); });
  EXPECT_THROW(fails.then(errand::blocking, [](int n) { return n; }).get(), std::runtime_error);
  auto waits = errand::async([] { errand::this_task::sleep_for(24h); }).then(errand::blocking, [] {});
  waits.request_stop();
  EXPECT_THROW(waits.get(), errand::operation_cancelled);
  { auto dropped = errand::async([] { errand::this_task::sleep_for(24h); }).then(errand::blocking, [] {}); }
  auto ready = errand::async(errand::blocking, [] { return 1; });
  ready.wait();
  EXPECT_EQ(ready.then(errand::blocking, [](int n) { return n + 1; }).get(), 2);
}

TEST(composites, rule_12_where_the_first_one_ran_on_no_pool_or_on_one_that_is_gone_it_runs_on_the_default_pool) {
  auto const default_thread = [] { return errand_test::thread_number(); };
  int const here = errand_test::thread_number();
  EXPECT_NE(errand::async(errand::inplace, [] {}).then(default_thread).get(), here);
  errand::future<int> ended;
  {
    errand::pool gone{1};
    ended = errand::async(gone, [] { return 4; });
  }
  EXPECT_EQ(ended.then([](int n) { return n + 1; }).get(), 5);
}

TEST(composites, rule_12_a_pool_does_not_end_before_the_links_that_were_given_to_it) {
  std::atomic<bool> ran{false};
  flag let_go;
  errand::future<void> link;
  std::jthread opener;
  {
    errand::pool own{1};
    link = errand::async([&] { let_go.wait_yielding(); }).then(own, [&] { ran = true; });
    opener = std::jthread{[&] { let_go.raise(); }};
  }
  EXPECT_TRUE(ran);
  EXPECT_TRUE(link.ready());
}

TEST(composites, rule_12_a_pool_ends_when_its_links_were_passed_by) {
  flag let_go;
  errand::future<void> link;
  std::jthread opener;
  {
    errand::pool own{1};
    link = errand::async([&] {
             let_go.wait_yielding();
             fail("passes by");
           }).then(own, [] {});
    opener = std::jthread{[&] { let_go.raise(); }};
  }
  EXPECT_THROW(link.get(), std::runtime_error);
}

TEST(composites, rule_12_an_error_passes_by_and_needs_no_worker) {
  errand::pool busy{1};
  flag let_go, blocked;
  auto blocker = errand::async(busy, [&] {
    blocked.raise();
    let_go.wait();
  });
  blocked.wait();
  auto link = errand::async(fail, "passes by").then(busy, [] {}).then(busy, [] { return 1; });
  EXPECT_THROW(link.get(), std::runtime_error);
  let_go.raise();
}

TEST(composites, rule_12_a_detached_chain_that_fails_is_reported_once_and_leaves_nothing) {
  collected_reports seen;
  flag let_go;
  errand::async([&] {
    let_go.wait_yielding();
    fail("alone");
  })
      .then([payload = counted{}] {})
      .then([payload = counted{}] {})
      .detach();
  let_go.raise();
  while (seen.now().empty() || counted::alive() != 0) std::this_thread::yield();
  EXPECT_EQ(seen.now(), std::vector<std::string>{":alone"});
}

TEST(composites, rule_12_a_time_limit_of_the_first_one_passes_by_as_timed_out) {
  auto link = errand::async({.timeout = 1ns, .name = "slow"}, [] { errand::this_task::sleep_for(24h); }).then([] {});
  try {
    link.get();
    FAIL();
  } catch (errand::timed_out const& e) {
    EXPECT_NE(std::string{e.what()}.find("slow"), std::string::npos);
  }
}

}  // namespace
