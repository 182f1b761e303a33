// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rule 23: a cycle of waits ends in deadlock, thrown at the wait that closes it, with every member named; never while
// something else could still wake one of them. (Rule 5, a task that waits for itself, is in waiting_rules_test.cpp.)
#include <errand/errand.hpp>

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

/// Something that one task hands to another, which must not wait for it in errand.
template <class T>
class handed_over {
 public:
  void give(T value) {
    value_ = std::move(value);
    given_.store(true, std::memory_order_release);
  }
  [[nodiscard]] bool is_given() const { return given_.load(std::memory_order_acquire); }
  T& take() {
    while (!is_given()) errand::this_task::yield();
    return value_;
  }

 private:
  T value_{};
  std::atomic<bool> given_{false};
};

using shared = errand::shared_future<int>;

/// How many of `tasks` have met a deadlock of their own (they answer 1), and what it said.
struct verdict {
  int thrown = 0;
  std::string text{};
};

int tell(handed_over<std::string>& message, std::function<void()> const& wait) {
  try {
    wait();
    return 0;
  } catch (errand::deadlock const& e) {
    message.give(e.what());
    return 1;
  }
}

/// `size` tasks in a ring, each of which waits for the next. The sum is how many closed a cycle.
template <class Wait>
verdict ring(std::size_t size, Wait wait, errand::pool& where) {
  std::vector<handed_over<shared>> next(size);
  std::vector<shared> all;
  handed_over<std::string> message;
  for (std::size_t i = 0; i < size; ++i)
    all.push_back(errand::async({.on = where, .name = "member " + std::to_string(i)}, [&, i]() -> int {
                    return tell(message, [&] { wait(next[i].take()); });
                  }).share());
  for (std::size_t i = 0; i < size; ++i) next[i].give(all[(i + 1) % size]);
  verdict v;
  for (auto& one : all) v.thrown += one.get();
  if (v.thrown != 0) v.text = message.take();
  return v;
}

class rule_23 : public testing::TestWithParam<unsigned> {
 protected:
  errand::pool where{GetParam()};
};

void named(verdict const& v, std::size_t size) {
  EXPECT_EQ(v.thrown, 1);
  for (std::size_t i = 0; i < size; ++i)
    EXPECT_NE(v.text.find("\"member " + std::to_string(i) + "\""), std::string::npos) << v.text;
}

TEST_P(rule_23, rule_23_a_cycle_of_waits_ends_in_one_deadlock_with_every_member_named) {
  for (std::size_t const size : {2U, 3U, 17U}) named(ring(size, [](shared& next) { next.wait(); }, where), size);
}

TEST_P(rule_23, rule_23_it_is_found_through_a_link_of_a_chain) {
  named(ring(2, [](shared& next) { next.then([](int) {}).get(); }, where), 2);
}

TEST_P(rule_23, rule_23_it_is_found_through_when_all) {
  auto const wait = [this](shared& next) {
    errand::when_all(next.then([](int x) { return x; }), errand::async(where, [] { return 1; })).get();
  };
  named(ring(3, wait, where), 3);
}

TEST_P(rule_23, rule_23_it_is_found_through_when_any_if_all_of_its_inputs_wait) {
  auto const wait = [](shared& next) {
    errand::when_any(next.then([](int x) { return x; }), next.then([](int x) { return x; })).get();
  };
  named(ring(2, wait, where), 2);
}

TEST_P(rule_23, rule_23_it_is_found_beneath_a_task_that_runs_another_one_in_place) {
  auto const wait = [](shared& next) {
    errand::async(errand::inplace, [&next] { next.wait(); }).get();
  };
  named(ring(3, wait, where), 3);
}

TEST_P(rule_23, rule_23_it_is_found_among_threads_that_block) {
  handed_over<shared> first, second;
  handed_over<std::string> message;
  auto a = errand::async({.on = errand::blocking, .name = "a"}, [&] {
             return tell(message, [&] { second.take().wait(); });
           }).share();
  auto b = errand::async({.on = where, .name = "b"}, [&] {
             return tell(message, [&] { first.take().wait(); });
           }).share();
  first.give(a);
  second.give(b);
  EXPECT_EQ(a.get() + b.get(), 1);
  EXPECT_NE(message.take().find("\"a\""), std::string::npos) << message.take();
}

errand::task<int> awaits_the_next(handed_over<shared>& next, handed_over<std::string>& message) {
  shared const it = next.take();
  try {
    co_await it;
  } catch (errand::deadlock const& e) {
    message.give(e.what());
    co_return 1;
  }
  co_return 0;
}

TEST_P(rule_23, rule_23_it_is_found_among_coroutines) {
  std::array<handed_over<shared>, 3> next;
  handed_over<std::string> message;
  std::vector<shared> all;
  for (std::size_t i = 0; i < next.size(); ++i)
    all.push_back(errand::async({.on = where, .name = "member " + std::to_string(i)}, awaits_the_next, std::ref(next[i]),
                                std::ref(message))
                      .share());
  for (std::size_t i = 0; i < next.size(); ++i) next[i].give(all[(i + 1) % next.size()]);
  verdict v;
  for (auto& one : all) v.thrown += one.get();
  v.text = message.take();
  named(v, next.size());
}

/// What a task started by a group's member is told when it waits for the group.
template <class Start>
void further_down(errand::pool& where, Start start) {
  std::optional<std::invoke_result_t<Start, errand::task_group&>> child;  // outlives the member, whoever of the two is refused
  errand::task_group group{where};
  std::string message;
  group.spawn({.name = "member"}, [&] {
    try {
      child.emplace(start(group));
      child->get();
    } catch (errand::deadlock const& e) {
      message = e.what();
    }
  });
  group.wait();
  child->wait();  // the group outlives whoever waits for it
  EXPECT_NE(message.find("\"member\""), std::string::npos) << message;
  EXPECT_NE(message.find("\"grandchild\""), std::string::npos) << message;
}

TEST_P(rule_23, rule_23_a_task_further_down_that_waits_for_the_group_is_told) {
  further_down(where, [this](errand::task_group& group) {
    return errand::async({.on = where, .name = "grandchild"}, [&] { group.wait(); }).share();
  });
}

TEST_P(rule_23, rule_23_a_task_further_down_in_place_that_waits_for_the_group_is_told) {
  further_down(where, [](errand::task_group& group) {
    return errand::async({.on = errand::inplace, .name = "grandchild"}, [&] { group.wait(); }).share();
  });
}

TEST_P(rule_23, rule_23_a_member_may_drop_a_task_that_waits_for_the_group) {
  errand::task_group group{where};
  std::atomic<bool> begun{false}, stopped{false};
  group.spawn([&] {
    auto const dropped = errand::async(where, [&] {
      begun = true;
      try {
        group.wait();
      } catch (errand::operation_cancelled const&) {
        stopped = true;
        throw;
      }
    });
    while (!begun) errand::this_task::yield();
  });
  group.wait();
  EXPECT_TRUE(stopped);
}

TEST_P(rule_23, rule_23_the_others_go_on_after_one_has_been_refused) {
  handed_over<shared> first, second;
  handed_over<std::string> message;
  auto a = errand::async(where, [&] {
             return tell(message, [&] { second.take().wait(); });
           }).share();
  auto b = errand::async(where, [&] {
             return tell(message, [&] { first.take().wait(); });
           }).share();
  first.give(a);
  second.give(b);
  EXPECT_EQ(a.get() + b.get(), 1);
}

TEST_P(rule_23, rule_23_a_wait_that_ends_with_a_time_limit_is_no_part_of_a_cycle) {
  handed_over<shared> first, second;
  auto a = errand::async(where, [&] {
             return second.take().wait_for(1ms) == std::future_status::timeout ? 1 : 0;
           }).share();
  auto b = errand::async(where, [&] { return first.take().get() + 1; }).share();
  first.give(a);
  second.give(b);
  EXPECT_EQ(a.get(), 1);
  EXPECT_EQ(b.get(), 2);
}

TEST_P(rule_23, rule_23_a_task_with_a_time_limit_ends_by_it) {
  handed_over<shared> first, second;
  auto a = errand::async({.on = where, .timeout = 20ms}, [&] {
             second.take().wait();
             return 0;
           }).share();
  auto b = errand::async(where, [&] {
             try {
               first.take().get();
             } catch (errand::timed_out const&) {
               return 1;
             }
             return 0;
           }).share();
  first.give(a);
  second.give(b);
  EXPECT_EQ(b.get(), 1);
  EXPECT_THROW(a.get(), errand::timed_out);
}

TEST_P(rule_23, rule_23_a_task_beneath_one_with_a_time_limit_ends_by_that) {
  handed_over<shared> first, second;
  auto outer = errand::async({.on = where, .timeout = 20ms}, [&] {
    auto a = errand::async(where, [&] {
               second.take().wait();
               return 0;
             }).share();
    first.give(a);
    a.get();
  });
  auto b = errand::async(where, [&] {
             shared const a = first.take();
             if (!a.valid()) return 1;  // the limit was over before it was there
             try {
               a.get();
             } catch (errand::operation_cancelled const&) {
               return 1;
             }
             return 0;
           }).share();
  second.give(b);
  EXPECT_THROW(outer.get(), errand::timed_out);
  if (!first.is_given()) first.give({});
  EXPECT_EQ(b.get(), 1);
}

TEST_P(rule_23, rule_23_a_stop_token_given_from_outside_may_still_end_it) {
  handed_over<shared> first, second;
  std::stop_source outside;
  auto a = errand::async({.on = where, .stop = outside.get_token()}, [&] {
             second.take().wait();
             return 0;
           }).share();
  auto b = errand::async(where, [&] {
             try {
               first.take().get();
             } catch (errand::operation_cancelled const&) {
               return 1;
             }
             return 0;
           }).share();
  first.give(a);
  second.give(b);
  outside.request_stop();
  EXPECT_EQ(b.get(), 1);
}

TEST_P(rule_23, rule_23_when_any_waits_on_if_one_of_its_inputs_can_still_win) {
  handed_over<shared> first;
  std::atomic<bool> go{false};
  auto winner = errand::async(errand::blocking, [&] {
    go.wait(false);
    return 7;
  });
  auto a = errand::async(where, [&] {
             auto b = errand::async(where, [&] { return first.take().get(); });
             return errand::when_any(std::move(b), std::move(winner)).get().value;
           }).share();
  first.give(a);
  go.store(true);
  go.notify_all();
  EXPECT_EQ(a.get(), 7);
}

// The first has won, and whoever stops the others for it has not come to them all: they still wait.
TEST_P(rule_23, rule_23_when_any_that_is_just_being_decided_is_no_cycle) {
  errand::pool one{1};
  errand::pool other{1};
  handed_over<shared> first;
  std::atomic<int> waiting{0};
  std::atomic<bool> parked{false};
  std::atomic<bool> go{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> go_on{false};
  auto winner = errand::async(errand::blocking, [&] {
    go.wait(false);
    return 7;
  });
  auto a = errand::async(one, [&] {
             auto const lose = [&] {
               std::stop_callback const stays{errand::this_task::stop_token(), [&] {
                                                stopping.store(true);
                                                go_on.wait(false);
                                              }};
               shared const whole = first.take();
               ++waiting;
               return whole.get();
             };
             auto b = errand::async(other, lose);
             auto c = errand::async(other, lose);
             while (waiting != 2) errand::this_task::yield();
             // Begins when the second of them has parked: that pool has one worker.
             errand::async(other, [&] { parked = true; }).detach();
             while (!parked) errand::this_task::yield();
             auto any = errand::when_any(std::move(b), std::move(c), std::move(winner));
             go.store(true);
             go.notify_all();
             while (!stopping) errand::this_task::yield();
             // Begins when this task parks: so has its pool.
             auto afterwards = errand::async(one, [&] {
               go_on.store(true);
               go_on.notify_all();
             });
             int const value = any.get().value;
             afterwards.get();
             return value;
           }).share();
  first.give(a);
  EXPECT_EQ(a.get(), 7);
}

TEST_P(rule_23, rule_23_a_chain_of_waits_whose_last_one_runs_is_no_cycle) {
  std::atomic<bool> go{false};
  shared last = errand::async(errand::blocking, [&] {
                  go.wait(false);
                  return 0;
                }).share();
  for (int i = 0; i < 1000; ++i) last = errand::async(where, [last] { return last.get() + 1; }).share();
  go.store(true);
  go.notify_all();
  EXPECT_EQ(last.get(), 1000);
}

TEST_P(rule_23, rule_23_a_long_cycle_is_found) {
  std::vector<shared> all(1000);
  std::atomic<bool> all_there{false};
  std::atomic<int> refused{0};
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = errand::async(where, [&, i] {
               while (!all_there) errand::this_task::yield();
               try {
                 return all[(i + 1) % all.size()].get() + 1;
               } catch (errand::deadlock const&) {
                 ++refused;
                 return 1;
               }
             }).share();
  all_there = true;
  int most = 0;
  for (auto const& one : all) most = std::max(most, one.get());
  EXPECT_EQ(most, 1000);
  EXPECT_EQ(refused, 1);
}

INSTANTIATE_TEST_SUITE_P(workers, rule_23, testing::Values(1U, 2U, 8U),
                         [](auto const& chosen) { return std::to_string(chosen.param); });

}  // namespace
