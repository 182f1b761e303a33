// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The rules of behaviour where they speak of queues: 3 (in place), 12 and 13 (where things run, who holds a queue), 18
// (messages), 22 (stopped items), 23 (cycles).
#include <errand/errand.hpp>

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

template <class Exception, class Call>
std::string said(Call call) {
  try {
    static_cast<void>(call());
  } catch (Exception const& e) {
    return e.what();
  }
  return "nothing";
}

void expect_words(std::string const& text, std::vector<std::string> const& words) {
  for (auto const& word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
}

TEST(rule_3, an_item_is_never_run_in_place_by_who_waits_for_it) {
  errand::serial_queue q;
  auto outer = errand::async([&] {
    auto item = errand::async(q, [&] { return q.is_current(); });
    return item.get();
  });
  EXPECT_TRUE(outer.get());
}

TEST(rule_12, then_with_no_place_is_a_new_item_of_the_queue_in_which_the_first_one_ran) {
  errand::serial_queue q;
  auto late = errand::async(q, [] { return 1; });
  late.wait();
  EXPECT_TRUE(late.then([&](int) { return q.is_current(); }).get());
  auto held = std::make_optional(q.suspend());
  auto early = errand::async(q, [] { return 1; })
                   .then([&](int x) {
                     EXPECT_TRUE(q.is_current());
                     return x + 1;
                   })
                   .then([&](int x) { return q.is_current() ? x + 1 : 0; });
  held.reset();
  EXPECT_EQ(early.get(), 3);
}

TEST(rule_12, the_queue_is_there_for_then_although_its_handle_and_its_items_have_gone) {
  for (int round = 0; round < 100; ++round) {
    errand::future<int> first;
    {
      errand::serial_queue q{"short"};
      first = errand::async(q, [] { return 1; });
      first.wait();
    }
    errand::serial_queue another;  // perhaps at the same address
    auto second = first.then([&](int x) {
      EXPECT_FALSE(another.is_current());
      return x + 1;
    });
    EXPECT_EQ(second.get(), 2);
  }
}

TEST(rule_12, then_never_runs_inside_then_on_a_queue) {
  errand::serial_queue q;
  auto first = errand::async(q, [] { return 1; });
  first.wait();
  auto const held = q.suspend();
  bool ran = false;
  auto second = first.then(q, [&](int) { ran = true; });
  EXPECT_FALSE(ran);
  second.request_stop();
  second.wait();
}

TEST(rule_13, a_plain_item_holds_its_queue_while_it_is_parked) {
  errand::serial_queue q;
  flag begun, go_on;
  std::atomic<bool> ended{false};
  auto first = errand::async(q, [&] {
    begun.raise();
    errand::async([&] { go_on.wait_yielding(); }).get();
    ended = true;
  });
  auto second = errand::async(q, [&] { return ended.load(); });
  begun.wait();
  EXPECT_EQ(second.wait_for(1ms), errand::future_status::timeout);
  go_on.raise();
  EXPECT_TRUE(second.get());
  first.get();
}

TEST(rule_13, a_coroutine_holds_its_queue_only_between_suspensions) {
  errand::serial_queue q;
  flag go_on, begun;
  std::atomic<int> inside{0}, most{0};
  auto const visit = [&] {
    most = std::max(most.load(), ++inside);
    EXPECT_TRUE(q.is_current());
    --inside;
  };
  auto first = errand::async(q, [&]() -> errand::task<int> {
    visit();
    begun.raise();
    auto other = errand::async([&] { go_on.wait_yielding(); });
    co_await other;
    visit();
    co_await errand::sleep_for(1us);
    visit();
    co_return 4;
  });
  begun.wait();
  for (int i = 0; i < 10; ++i) errand::async(q, visit).get();
  errand::sync(q, visit);
  go_on.raise();
  EXPECT_EQ(first.get(), 4);
  EXPECT_EQ(most, 1);
}

TEST(rule_13, a_coroutine_may_await_an_item_of_its_own_queue) {
  errand::serial_queue q;
  auto first = errand::async(q, [&]() -> errand::task<int> {
    auto later = errand::async(q, [] { return 2; });
    int const x = co_await later;
    EXPECT_TRUE(q.is_current());
    co_return x + 1;
  });
  EXPECT_EQ(errand::sync(q, [] { return 0; }), 0);
  EXPECT_EQ(first.get(), 3);
}

TEST(rule_13, many_coroutines_of_one_queue_are_never_two_at_a_time) {
  errand::serial_queue q;
  int inside = 0, most = 0, sum = 0;
  auto const each = [&]() -> errand::task<void> {
    for (int i = 0; i < 20; ++i) {
      most = std::max(most, ++inside);
      ++sum;
      --inside;
      auto elsewhere = errand::async([] {});
      co_await elsewhere;
    }
  };
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 50; ++i) all.push_back(errand::async(q, each));
  for (auto& f : all) f.get();
  EXPECT_EQ(sum, 1000);
  EXPECT_EQ(most, 1);
}

TEST(rule_13, resume_on_moves_a_coroutine_into_a_queue_and_out_of_it) {
  errand::serial_queue q, other;
  errand::pool p{1};
  auto moves = errand::async([&]() -> errand::task<int> {
    int right = 0;
    for (int i = 0; i < 5; ++i) {
      co_await errand::resume_on(q);
      right += q.is_current() ? 1 : 0;
      co_await errand::sleep_for(1us);
      right += q.is_current() ? 1 : 0;
      co_await errand::resume_on(other.at(errand::priority::high));
      right += other.is_current() && !q.is_current() ? 1 : 0;
      co_await errand::resume_on(errand::threads);
      right += q.is_current() || other.is_current() ? 0 : 1;
      co_await errand::resume_on(p);
      co_await errand::sleep_for(1us);
      right += q.is_current() || other.is_current() ? 0 : 1;
    }
    co_return right;
  });
  EXPECT_EQ(moves.get(), 25);
}

TEST(rule_13, waiting_in_an_item_for_a_later_item_of_the_same_queue_throws_deadlock) {
  errand::serial_queue q{"own"};
  auto outer = errand::async({.on = q, .name = "waits"}, [&] {
    auto inner = errand::async({.on = q, .name = "later"}, [] { return 1; });
    auto const text = said<errand::deadlock>([&] { return inner.get(); });
    inner.request_stop();
    return text;
  });
  expect_words(outer.get(), {"task \"later\"", "serial queue \"own\"", "task \"waits\""});
  EXPECT_EQ(errand::async(q, [] { return 1; }).get(), 1);
}

TEST(rule_13, so_does_waiting_for_it_through_a_chain_a_child_queue_or_when_all) {
  errand::serial_queue q{"own"};
  errand::serial_queue child{"child", q};
  auto outer = errand::async(q, [&] {
    int thrown = 0;
    auto chained = errand::async([] { return 1; }).then(q, [](int x) { return x; });
    thrown += said<errand::deadlock>([&] { return chained.get(); }) != "nothing" ? 1 : 0;
    chained.detach();
    auto below = errand::async(child, [] { return 1; });
    thrown += said<errand::deadlock>([&] { return below.get(); }) != "nothing" ? 1 : 0;
    below.request_stop();
    auto both = errand::when_all(errand::async(q, [] { return 1; }), errand::async([] { return 2; }));
    thrown += said<errand::deadlock>([&] { return both.get(); }) != "nothing" ? 1 : 0;
    both.request_stop();
    return thrown;
  });
  EXPECT_EQ(outer.get(), 3);
}

TEST(rule_13, so_does_waiting_in_sync_on_a_thread_that_is_in_no_task) {
  errand::serial_queue q{"own"};
  std::optional<errand::future<int>> item;
  auto const text = said<errand::deadlock>([&] {
    return errand::sync(q, [&] {
      item = errand::async({.on = q, .name = "later"}, [] { return 1; });
      return item->get();
    });
  });
  expect_words(text, {"task \"later\"", "serial queue \"own\""});
  EXPECT_EQ(item->get(), 1);
}

TEST(rule_13, waiting_with_a_time_limit_does_not_throw) {
  errand::serial_queue q;
  auto outer = errand::async(q, [&] {
    auto inner = errand::async(q, [] {});
    auto const status = inner.wait_for(1ms);
    inner.detach();
    return status == errand::future_status::timeout;
  });
  EXPECT_TRUE(outer.get());
}

TEST(rule_13, sync_onto_the_queue_one_is_on_or_onto_its_target_throws_deadlock) {
  errand::serial_queue base{"base"};
  errand::serial_queue child{"child", base};
  errand::concurrent_queue readers{"readers"};
  auto const onto = [](errand::queue const& q) {
    return said<errand::deadlock>([&] { return errand::sync(q, [] { return 0; }); });
  };
  expect_words(errand::async(base, [&] { return onto(base); }).get(), {"errand::sync()", "serial queue \"base\""});
  expect_words(errand::sync(base, [&] { return onto(base); }), {"serial queue \"base\""});
  expect_words(errand::async(child, [&] { return onto(base); }).get(), {"serial queue \"base\""});
  expect_words(errand::async(base, [&] { return onto(child); }).get(),
               {"serial queue \"child\"", "serial queue \"base\"", "target"});
  expect_words(errand::async(readers, [&] { return onto(readers); }).get(), {"concurrent queue \"readers\""});
  EXPECT_EQ(errand::sync(child, [&] { return errand::sync(readers, [] { return 7; }); }), 7);
}

TEST(rule_20, in_the_child_of_a_fork_queues_are_made_anew_and_those_of_the_parent_are_refused) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  using errand_test::require;
  errand::serial_queue inherited{"inherited"};
  auto const held = inherited.suspend();
  auto item = errand::async(inherited, [] { return 1; });
  auto const in_child = errand_test::in_child([&] {
    auto const refused = [&](auto call) { return said<std::logic_error>(call).find("serial queue \"inherited\"") != std::string::npos; };
    require(refused([&] { return errand::async(inherited, [] { return 0; }).get(); }), "async() onto a queue of the parent's is refused");
    require(refused([&] { return errand::sync(inherited, [] { return 0; }); }), "sync() onto it is refused");
    require(refused([&] { return errand::serial_queue{"child", inherited}.is_current(); }), "it is no target");
    { auto dropped = std::move(item); }
    errand::serial_queue own{"own"};
    int count = 0;
    auto first = errand::async(own, [&] { return ++count; });
    require(errand::sync(own, [&] { return ++count; }) == 2 && first.get() == 1, "a queue of its own");
  });
  EXPECT_EQ(in_child, 0);
  item.request_stop();
}

TEST(rule_22, a_stopped_item_that_has_not_begun_is_skipped_and_those_behind_it_run_in_order) {
  errand::serial_queue q;
  std::string order;
  std::vector<errand::future<void>> all;
  auto held = q.suspend();
  for (char c = 'a'; c < 'k'; ++c) all.push_back(errand::async(q, [&, c] { order += c; }));
  for (std::size_t i = 0; i < all.size(); i += 2) {
    all[i].request_stop();
    EXPECT_TRUE(all[i].ready());
  }
  std::thread waits{[&] { all[1].wait(); }};
  held.resume();
  for (auto& f : all) f.wait();
  waits.join();
  EXPECT_EQ(order, "bdfhj");
  EXPECT_TRUE(all[0].result().stopped());
}

TEST(rule_22, what_a_stopped_item_was_waited_for_by_others_breaks_no_list) {
  errand::serial_queue q;
  auto held = q.suspend();
  std::vector<errand::shared_future<void>> all;
  int ran = 0;
  for (int i = 0; i < 30; ++i) all.push_back(errand::async(q, [&] { ++ran; }).share());
  flag begun;
  auto waiter = errand::async([&] {
    begun.raise();
    for (std::size_t i = 0; i < all.size(); i += 3) all[i].wait();
  });
  begun.wait();
  for (std::size_t i = 0; i < all.size(); i += 3) all[i].request_stop();
  waiter.get();
  held.resume();
  for (auto& f : all) f.wait();
  EXPECT_EQ(ran, 20);
}

TEST(rule_22, a_running_item_is_asked_to_stop_and_the_next_one_runs) {
  errand::serial_queue q;
  flag begun;
  auto first = errand::async(q, [&](std::stop_token) {
    begun.raise();
    errand::this_task::sleep_for(1h);
  });
  auto second = errand::async(q, [] { return 2; });
  begun.wait();
  first.request_stop();
  EXPECT_EQ(second.get(), 2);
  EXPECT_TRUE(first.result().stopped());
}

TEST(rule_22, an_item_whose_time_is_over_before_it_begins_is_skipped_also_if_it_is_detached) {
  errand::serial_queue q;
  auto held = q.suspend();
  bool ran = false;
  errand::async({.on = q, .timeout = 1ms}, [&] { ran = true; }).detach();
  auto kept = errand::async({.on = q, .timeout = 1ms}, [&] { ran = true; });  // its time is over later
  EXPECT_THROW(kept.get(), errand::timed_out);
  auto behind = errand::async({.on = q, .timeout = 1h}, [] { return 1; });
  held.resume();
  EXPECT_EQ(behind.get(), 1);
  EXPECT_FALSE(ran);
}

/// Two items, each on its own queue, each of which waits in its way for what comes later in the other's.
template <class Wait>
std::vector<std::string> meet(errand::serial_queue const& left, errand::serial_queue const& right, Wait wait) {
  flag in_left, in_right;
  auto const item = [&](flag& mine, flag& others, errand::serial_queue const& other, int which) {
    mine.raise();
    others.wait_yielding();
    return said<errand::deadlock>([&] {
      wait(other, which);
      return 0;
    });
  };
  auto a = errand::async({.on = left, .name = "a"}, [&] { return item(in_left, in_right, right, 0); });
  auto b = errand::async({.on = right, .name = "b"}, [&] { return item(in_right, in_left, left, 1); });
  return {a.get(), b.get()};
}

TEST(rule_23, two_items_that_sync_onto_each_others_queue_end_in_one_deadlock_with_the_chain_named) {
  errand::serial_queue left{"left"}, right{"right"};
  auto const texts = meet(left, right, [](errand::serial_queue const& q, int) { errand::sync(q, [] {}); });
  EXPECT_NE(texts[0] == "nothing", texts[1] == "nothing") << texts[0] << "; " << texts[1];
  expect_words(texts[0] + texts[1],
               {"a cycle of waits", "task \"a\"", "task \"b\"", "serial queue \"left\"", "serial queue \"right\""});
  errand::sync(left, [] {});
  errand::sync(right, [] {});
}

TEST(rule_23, two_items_that_wait_for_items_of_each_others_queue_end_in_one_deadlock) {
  errand::serial_queue left{"left"}, right{"right"};
  std::array<errand::future<void>, 2> items;
  auto const texts = meet(left, right, [&](errand::serial_queue const& q, int which) {
    auto& mine = items[static_cast<std::size_t>(which)];
    mine = errand::async({.on = q, .name = "needed"}, [] {});
    mine.wait();
  });
  EXPECT_NE(texts[0] == "nothing", texts[1] == "nothing") << texts[0] << "; " << texts[1];
  expect_words(texts[0] + texts[1], {"task \"a\"", "task \"b\"", "task \"needed\""});
  for (auto& f : items) f.get();
}

TEST(rule_23, an_item_that_waits_for_a_task_that_syncs_onto_its_queue_ends_in_deadlock) {
  errand::serial_queue q{"q"};
  std::atomic<bool> thrown{false};
  auto item = errand::async({.on = q, .name = "item"}, [&] {
    auto task = errand::async({.name = "task"}, [&] {
      try {
        errand::sync(q, [] {});
      } catch (errand::deadlock const&) {
        thrown = true;
      }
    });
    try {
      task.get();
    } catch (errand::deadlock const&) {
      thrown = true;
      task.detach();
    }
  });
  item.get();
  EXPECT_TRUE(thrown);
}

TEST(rule_18, messages_of_queues_name_the_queue_and_what_was_done) {
  errand::serial_queue q{"cart"};
  auto const text = said<std::logic_error>([&] {
    q.assert_current();
    return 0;
  });
  expect_words(text, {"assert_current()", "queue_rules_test.cpp:", "serial queue \"cart\"", "in no queue"});
  expect_words(errand::async({.on = errand::serial_queue{"other"}, .name = "elsewhere"},
                             [&] {
                               return said<std::logic_error>([&] {
                                 q.assert_current();
                                 return 0;
                               });
                             })
                   .get(),
               {"serial queue \"other\""});
  EXPECT_EQ(errand::sync(q,
                         [&] {
                           q.assert_current();
                           return 1;
                         }),
            1);
  expect_words(said<std::invalid_argument>([&] {
                 errand::for_each_index(q, 3, [](std::size_t) {});
                 return 0;
               }),
               {"loop", "serial queue \"cart\""});
}

}  // namespace
