// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The file threads by themselves, with limits and idle times of the tests' own: how many there are, in what order they take
// operations, what a cancelled one sees, and what happens where no thread can be started.
#include "io/file_threads.hpp"

#include "base/futex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <system_error>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

constexpr std::int64_t for_ever = 3'600'000'000'000;

struct flag {
  std::atomic<bool> raised{false};
  void raise() {
    raised = true;
    raised.notify_all();
  }
  void wait() { raised.wait(false); }
};

void until(auto condition) {
  while (!condition()) std::this_thread::yield();
}

// Some time, chosen by chance.
void dither(std::minstd_rand& random) {
  for (auto n = random() % 4 == 0 ? random() % 2000 : random() % 50; n > 0; --n) cpu_relax();
}

// Runs a function, then says so: its last touch.
template <class F>
struct operation : file_operation {
  explicit operation(F f) : function{std::move(f)} {
    run = [](file_operation* op) noexcept {
      auto& self = static_cast<operation&>(*op);
      self.function();
      ++self.runs;
    };
  }
  F function;
  std::atomic<int> runs{0};
  void wait() {
    until([&] { return runs != 0; });
  }
};

TEST(file_threads, start_none_before_the_first_operation_and_keep_one_that_is_idle) {
  file_threads threads{{.most = 4, .idle_limit = for_ever}};
  EXPECT_EQ(threads.now().threads, 0U);
  std::thread::id who[2];
  operation first{[&] { who[0] = std::this_thread::get_id(); }};
  operation second{[&] { who[1] = std::this_thread::get_id(); }};
  threads.submit(first);
  first.wait();
  until([&] { return threads.now().idle == 1; });
  threads.submit(second);
  second.wait();
  EXPECT_EQ(who[0], who[1]);
  EXPECT_NE(who[0], std::this_thread::get_id());
  EXPECT_EQ(threads.now().threads, 1U);
}

TEST(file_threads, as_many_operations_are_under_way_at_once_as_there_may_be_threads) {
  constexpr unsigned most = 4;
  file_threads threads{{.most = most, .idle_limit = for_ever}};
  for (int round = 0; round < 50; ++round) {  // from the second on with idle threads that have to be woken
    flag let_go;
    std::atomic<unsigned> running{0};
    std::atomic<unsigned> highest{0};
    auto const body = [&] {
      auto const at_once = ++running;
      for (auto seen = highest.load(); seen < at_once && !highest.compare_exchange_weak(seen, at_once);) {
      }
      let_go.wait();
      --running;
    };
    std::vector<std::unique_ptr<operation<decltype(body)>>> all;
    for (int i = 0; i < 20; ++i) all.push_back(std::make_unique<operation<decltype(body)>>(body));
    for (auto& each : all) threads.submit(*each);
    until([&] { return running == most; });  // hangs if an operation woke nobody
    EXPECT_EQ(threads.now().queued, 20 - most);
    EXPECT_EQ(threads.now().threads, most);
    let_go.raise();
    for (auto& each : all) each->wait();
    EXPECT_EQ(highest, most);
  }
}

TEST(file_threads, first_come_first_served) {
  file_threads threads{{.most = 1, .idle_limit = for_ever}};
  flag let_go;
  operation holds{[&] { let_go.wait(); }};
  threads.submit(holds);
  std::vector<int> order;
  struct numbered {
    std::vector<int>* order;
    int number;
    void operator()() const { order->push_back(number); }
  };
  std::vector<std::unique_ptr<operation<numbered>>> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(std::make_unique<operation<numbered>>(numbered{&order, i}));
    threads.submit(*all.back());
  }
  let_go.raise();
  for (auto& each : all) each->wait();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(file_threads, a_queued_operation_that_is_cancelled_is_not_run_and_the_others_are) {
  file_threads threads{{.most = 1, .idle_limit = for_ever}};
  flag begun;
  flag let_go;
  operation holds{[&] {
    begun.raise();
    let_go.wait();
  }};
  threads.submit(holds);
  begun.wait();
  EXPECT_FALSE(threads.cancel(holds));  // it runs
  auto const nothing = [] {};
  operation first{nothing}, middle{nothing}, last{nothing}, never{nothing};
  EXPECT_FALSE(threads.cancel(never));
  for (auto* op : {&first, &middle, &last}) threads.submit(*op);
  EXPECT_TRUE(threads.cancel(middle));
  EXPECT_FALSE(threads.cancel(middle));
  EXPECT_TRUE(threads.cancel(first));
  EXPECT_TRUE(threads.cancel(last));
  EXPECT_EQ(threads.now().queued, 0U);
  threads.submit(last);
  threads.submit(middle);
  EXPECT_TRUE(threads.cancel(middle));
  let_go.raise();
  last.wait();
  EXPECT_EQ(first.runs + middle.runs + never.runs, 0);
  EXPECT_FALSE(threads.cancel(last));
}

TEST(file_threads, each_operation_is_run_or_cancelled_and_never_both) {
  file_threads threads{{.most = 3, .idle_limit = 1'000}};
  auto const nothing = [] {};
  for (unsigned round = 0; round < 300; ++round) {
    std::minstd_rand random{round};
    std::vector<std::unique_ptr<operation<decltype(nothing)>>> all;
    for (int i = 0; i < 32; ++i) all.push_back(std::make_unique<operation<decltype(nothing)>>(nothing));
    std::vector<int> cancelled(all.size());
    std::atomic<std::size_t> submitted{0};
    std::thread canceller{[&, mine = std::minstd_rand{round + 1000}]() mutable {
      for (std::size_t i = 0; i < all.size(); ++i) {
        until([&] { return submitted > i; });
        dither(mine);
        cancelled[i] = threads.cancel(*all[i]) ? 1 : 0;
      }
    }};
    for (auto& each : all) {
      threads.submit(*each);
      ++submitted;
      dither(random);
    }
    canceller.join();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (cancelled[i] == 0) all[i]->wait();
      ASSERT_EQ(all[i]->runs + cancelled[i], 1) << "round " << round;
    }
  }
}

TEST(file_threads, go_away_when_they_were_idle_for_long_enough) {
  file_threads threads{{.most = 4, .idle_limit = 1}};
  auto const nothing = [] {};
  for (int round = 0; round < 20; ++round) {
    operation a{nothing}, b{nothing}, c{nothing};
    for (auto* op : {&a, &b, &c}) threads.submit(*op);
    for (auto* op : {&a, &b, &c}) op->wait();
    until([&] { return threads.now().threads == 0; });
  }
}

TEST(file_threads, given_an_operation_in_the_moment_of_going_away_carry_it_out) {
  file_threads threads{{.most = 2, .idle_limit = 1'000}};
  for (int i = 0; i < 2000; ++i) {
    operation one{[] {}};
    threads.submit(one);
    one.wait();
    if (i % 3 == 0)
      for (auto const end = detail::now() + 1'000; detail::now() < end;) cpu_relax();
  }
}

TEST(file_threads, where_none_can_be_started_the_caller_carries_it_out) {
  file_threads threads{{.most = 4, .before_start = [] {
                          throw std::system_error{std::make_error_code(std::errc::resource_unavailable_try_again)};
                        }}};
  std::thread::id who;
  operation one{[&] { who = std::this_thread::get_id(); }};
  for (int i = 1; i <= 3; ++i) {
    threads.submit(one);
    EXPECT_EQ(one.runs, i);
  }
  EXPECT_EQ(who, std::this_thread::get_id());
  EXPECT_EQ(threads.now().threads, 0U);
  EXPECT_EQ(threads.now().queued, 0U);
}

TEST(file_threads, where_no_further_one_can_be_started_operations_wait_for_those_there_are) {
  static std::atomic<int> left;
  left = 1;
  file_threads threads{{.most = 4, .idle_limit = for_ever, .before_start = [] {
                          if (left-- <= 0) throw std::bad_alloc{};
                        }}};
  flag let_go;
  operation holds{[&] { let_go.wait(); }};
  threads.submit(holds);
  auto const self = std::this_thread::get_id();
  bool here = false;
  operation waits{[&] { here = std::this_thread::get_id() == self; }};
  threads.submit(waits);
  EXPECT_EQ(threads.now().threads, 1U);
  EXPECT_EQ(waits.runs, 0);
  let_go.raise();
  waits.wait();
  EXPECT_FALSE(here);
}

}  // namespace
}  // namespace errand::detail
