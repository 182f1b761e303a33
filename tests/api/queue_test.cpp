// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Serial and concurrent queues as their users see them. Rules of behaviour with a number are in queue_rules_test.cpp.
#include <errand/errand.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

/// Counts how many are inside at a time, and the most there were.
class crowd {
 public:
  class visit {
   public:
    explicit visit(crowd& c) : crowd_{c} {
      int const now = crowd_.inside_.fetch_add(1) + 1;
      int most = crowd_.most_.load();
      while (most < now && !crowd_.most_.compare_exchange_weak(most, now)) {
      }
    }
    ~visit() { crowd_.inside_.fetch_sub(1); }
    visit(visit const&) = delete;
    visit& operator=(visit const&) = delete;

   private:
    crowd& crowd_;
  };
  [[nodiscard]] int most() const { return most_.load(); }
  [[nodiscard]] int inside() const { return inside_.load(); }

 private:
  std::atomic<int> inside_{0};
  std::atomic<int> most_{0};
};

TEST(serial_queue, gives_a_future_of_what_an_item_returns) {
  errand::serial_queue q{"cart"};
  int items = 0;
  EXPECT_EQ(errand::async(q, [&] { return ++items; }).get(), 1);
  EXPECT_EQ(errand::async(
                q, [&](int n) { return items += n; }, 5)
                .get(),
            6);
  EXPECT_EQ(errand::async(
                {.on = q, .name = "add"}, [&](int a, int b) { return items += a + b; }, 1, 2)
                .get(),
            9);
  EXPECT_EQ(q.name(), "cart");
}

TEST(serial_queue, runs_its_items_in_order_and_one_at_a_time) {
  errand::serial_queue q;
  std::vector<int> order;
  crowd inside;
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 2000; ++i)
    all.push_back(errand::async(q, [&, i] {
      crowd::visit const v{inside};
      order.push_back(i);
    }));
  for (auto& one : all) one.get();
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), 2000U);
  EXPECT_EQ(inside.most(), 1);
}

TEST(serial_queue, keeps_the_order_of_each_of_several_threads_that_give_it_items) {
  errand::serial_queue q;
  constexpr int givers = 4, each = 500;
  std::array<std::vector<int>, givers> seen;
  crowd inside;
  std::vector<std::thread> threads;
  for (int g = 0; g < givers; ++g)
    threads.emplace_back([&, g] {
      std::vector<errand::future<void>> mine;
      for (int i = 0; i < each; ++i)
        mine.push_back(errand::async(q, [&, g, i] {
          crowd::visit const v{inside};
          seen[static_cast<std::size_t>(g)].push_back(i);
        }));
      for (auto& one : mine) one.get();
    });
  for (auto& t : threads) t.join();
  for (auto const& one : seen) {
    EXPECT_EQ(one.size(), static_cast<std::size_t>(each));
    EXPECT_TRUE(std::is_sorted(one.begin(), one.end()));
  }
  EXPECT_EQ(inside.most(), 1);
}

TEST(serial_queue, is_kept_by_its_items_when_its_handle_has_gone) {
  flag begun, go_on;
  std::vector<errand::future<int>> all;
  {
    errand::serial_queue q;
    all.push_back(errand::async(q, [&] {
      begun.raise();
      go_on.wait_yielding();
      return 0;
    }));
    for (int i = 1; i < 10; ++i) all.push_back(errand::async(q, [i] { return i; }));
    begun.wait();
  }
  go_on.raise();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
}

TEST(serial_queue, takes_what_can_only_be_moved_and_lets_exceptions_through) {
  errand::serial_queue q;
  auto box = errand::async(q, [p = std::make_unique<int>(7)]() mutable { return std::move(p); }).get();
  EXPECT_EQ(*box, 7);
  auto thrown = errand::async(q, []() -> int { throw std::out_of_range{"no such item"}; });
  EXPECT_THROW(thrown.get(), std::out_of_range);
  EXPECT_EQ(errand::async(q, [] { return 1; }).get(), 1);
}

TEST(serial_queue, takes_links_of_chains_and_members_of_groups) {
  errand::serial_queue q;
  crowd inside;
  auto const visit = [&](int x) {
    crowd::visit const v{inside};
    EXPECT_TRUE(q.is_current());
    return x + 1;
  };
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 100; ++i) all.push_back(errand::async([i] { return i; }).then(q, visit));
  int sum = 0;
  for (auto& one : all) sum += one.get();
  EXPECT_EQ(sum, 5050);
  errand::task_group group{q};
  int done = 0;
  for (int i = 0; i < 100; ++i)
    group.spawn([&] {
      crowd::visit const v{inside};
      ++done;
    });
  group.wait();
  EXPECT_EQ(done, 100);
  EXPECT_EQ(inside.most(), 1);
}

TEST(serial_queue, takes_a_link_whose_handle_to_it_has_gone) {
  flag go_on;
  errand::future<bool> link;
  {
    errand::serial_queue q;
    link = errand::async([&] { go_on.wait_yielding(); }).then(q, [] { return true; });
  }
  go_on.raise();
  EXPECT_TRUE(link.get());
}

TEST(serial_queue, runs_items_that_give_it_more_items) {
  errand::serial_queue q;
  int count = 0;
  errand::task_group group;
  std::function<void()> next = [&] {
    EXPECT_TRUE(q.is_current());
    if (++count < 1000) group.spawn(q, next);
  };
  group.spawn(q, next);
  group.wait();
  EXPECT_EQ(count, 1000);
}

TEST(sync, runs_on_the_calling_thread_and_returns_what_the_function_returns) {
  errand::serial_queue q;
  auto const here = std::this_thread::get_id();
  int state = 0;
  EXPECT_EQ(errand::sync(q,
                         [&] {
                           EXPECT_TRUE(q.is_current());
                           ++state;
                           return std::this_thread::get_id();
                         }),
            here);
  int& same = errand::sync(q, [&]() -> int& { return state; });
  EXPECT_EQ(&same, &state);
  EXPECT_EQ(errand::sync(
                q, [](int a, int const& b) { return a + b; }, 1, 2),
            3);
  EXPECT_FALSE(q.is_current());
  EXPECT_THROW(errand::sync(q, [] { throw std::out_of_range{"no such item"}; }), std::out_of_range);
  EXPECT_EQ(errand::sync(q, [&] { return ++state; }), 2);
}

TEST(sync, comes_after_all_that_was_given_before) {
  for (int round = 0; round < 200; ++round) {
    errand::serial_queue q;
    int count = 0;
    std::vector<errand::future<void>> all;
    for (int i = 0; i < 20; ++i) all.push_back(errand::async(q, [&] { ++count; }));
    EXPECT_EQ(errand::sync(q, [&] { return count; }), 20);
    for (auto& one : all) one.get();
  }
}

TEST(sync, comes_after_items_that_park_and_after_coroutines_up_to_their_suspension) {
  errand::serial_queue q;
  int count = 0;
  auto parks = errand::async(q, [&] {
    errand::this_task::sleep_for(1ms);
    ++count;
  });
  auto suspends = errand::async(q, [&]() -> errand::task<void> {
    ++count;
    co_await errand::sleep_for(1ms);
    ++count;
  });
  auto plain = errand::async(q, [&] { ++count; });
  EXPECT_GE(errand::sync(q, [&] { return count; }), 3);
  parks.get();
  suspends.get();
  plain.get();
  EXPECT_EQ(errand::sync(q, [&] { return count; }), 4);
}

TEST(sync, excludes_items_and_other_syncs_from_threads_and_tasks) {
  errand::serial_queue q;
  crowd inside;
  std::int64_t sum = 0;
  constexpr int each = 2000;
  auto const work = [&] {
    for (int i = 0; i < each; ++i)
      errand::sync(q, [&] {
        crowd::visit const v{inside};
        ++sum;
      });
  };
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 3; ++i) all.push_back(errand::async(work));
  std::thread one{work}, two{work};
  for (int i = 0; i < each; ++i)
    all.push_back(errand::async(q, [&] {
      crowd::visit const v{inside};
      ++sum;
    }));
  one.join();
  two.join();
  for (auto& f : all) f.get();
  EXPECT_EQ(sum, 6 * each);
  EXPECT_EQ(inside.most(), 1);
}

TEST(sync, of_a_task_that_is_stopped_while_it_waits_throws_and_the_queue_goes_on) {
  errand::serial_queue q;
  flag holds, go_on, waits;
  auto holder = errand::async(q, [&] {
    holds.raise();
    go_on.wait_yielding();
  });
  holds.wait();
  bool ran = false;
  auto waiter = errand::async([&] {
    waits.raise();
    errand::sync(q, [&] { ran = true; });
  });
  waits.wait();
  auto behind = errand::async(q, [] { return 3; });
  waiter.request_stop();
  waiter.wait();
  EXPECT_TRUE(waiter.result().stopped());
  go_on.raise();
  EXPECT_EQ(behind.get(), 3);
  holder.get();
  EXPECT_FALSE(ran);
}

TEST(targets, with_a_common_serial_one_are_one_domain_of_exclusion) {
  errand::serial_queue base{"base"};
  errand::serial_queue left{"left", base}, right{"right", base};
  errand::serial_queue deep{"deep", left};
  crowd inside;
  std::vector<errand::future<void>> all;
  std::array<std::vector<int>, 4> seen;
  std::array<errand::queue, 4> const queues{base, left, right, deep};
  for (int i = 0; i < 300; ++i)
    for (std::size_t k = 0; k < queues.size(); ++k)
      all.push_back(errand::async(queues[k], [&, i, k] {
        crowd::visit const v{inside};
        EXPECT_TRUE(base.is_current());
        seen[k].push_back(i);
      }));
  std::thread syncs{[&] {
    for (int i = 0; i < 300; ++i)
      errand::sync(queues[static_cast<std::size_t>(i) % 4], [&] { crowd::visit const v{inside}; });
  }};
  syncs.join();
  for (auto& one : all) one.get();
  EXPECT_EQ(inside.most(), 1);
  for (auto const& one : seen) EXPECT_TRUE(std::is_sorted(one.begin(), one.end()));
}

TEST(targets, are_fixed_to_pools_and_queues_alone) {
  EXPECT_THROW(errand::serial_queue("q", errand::inplace), std::invalid_argument);
  EXPECT_THROW(errand::serial_queue("q", errand::blocking), std::invalid_argument);
  errand::pool two{{.workers = 2, .name = "two"}};
  errand::serial_queue q{"q", two};
  std::string name(16, '\0');
  errand::async(q, [&] { pthread_getname_np(pthread_self(), name.data(), name.size()); }).get();
  EXPECT_EQ(name.substr(0, 4), "two/");
}

TEST(targets, that_are_kept_alive_by_queues_that_have_them) {
  errand::future<int> f;
  {
    std::optional<errand::serial_queue> child;
    {
      errand::serial_queue base;
      child.emplace("child", base);
    }
    f = errand::async(*child, [] { return 5; });
  }
  EXPECT_EQ(f.get(), 5);
}

TEST(concurrent_queue, lets_no_more_than_its_width_be_under_way) {
  errand::pool four{4};
  errand::concurrent_queue q{{.name = "readers", .on = four, .width = 2}};
  crowd inside;
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 200; ++i)
    all.push_back(errand::async(q, [&] {
      crowd::visit const v{inside};
      errand::this_task::yield();
    }));
  for (auto& one : all) one.get();
  EXPECT_LE(inside.most(), 2);
}

// Else they wait for each other for ever.
void expect_two_at_a_time(errand::concurrent_queue const& q) {
  flag first, second;
  auto a = errand::async(q, [&] {
    first.raise();
    second.wait_yielding();
  });
  auto b = errand::async(q, [&] {
    second.raise();
    first.wait_yielding();
  });
  a.get();
  b.get();
}

TEST(concurrent_queue, has_several_items_under_way_at_a_time) {
  errand::pool two{2};
  errand::concurrent_queue q{"both", two};
  expect_two_at_a_time(q);
}

TEST(concurrent_queue, has_many_readers_or_one_writer_and_never_both) {
  errand::pool four{4};
  errand::concurrent_queue q{"table", four};
  crowd readers, writers;
  std::atomic<int> wrong{0};
  int version = 0;
  auto const read = [&] {
    crowd::visit const v{readers};
    if (writers.inside() != 0) ++wrong;
    int const seen = version;
    errand::this_task::yield();
    if (seen != version) ++wrong;
  };
  auto const write = [&] {
    crowd::visit const v{writers};
    if (readers.inside() != 0) ++wrong;
    ++version;
  };
  std::vector<errand::future<void>> all;
  std::thread syncs{[&] {
    for (int i = 0; i < 100; ++i) {
      errand::sync(q, read);
      errand::sync_barrier(q, write);
    }
  }};
  for (int i = 0; i < 400; ++i) {
    all.push_back(errand::async(q, read));
    if (i % 10 == 0) all.push_back(errand::async_barrier(q, write));
  }
  syncs.join();
  for (auto& one : all) one.get();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(writers.most(), 1);
  EXPECT_EQ(version, 140);
}

TEST(concurrent_queue, runs_a_barrier_after_all_before_it_and_before_all_after_it) {
  errand::concurrent_queue q;
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> before{0}, after{0};
    std::vector<errand::future<void>> all;
    for (int i = 0; i < 10; ++i) all.push_back(errand::async(q, [&] { ++before; }));
    all.push_back(errand::async_barrier(q, [&] {
      EXPECT_EQ(before, 10);
      EXPECT_EQ(after, 0);
    }));
    for (int i = 0; i < 10; ++i) all.push_back(errand::async(q, [&] { ++after; }));
    EXPECT_EQ(errand::sync_barrier(q, [&] { return after.load(); }), 10);
    for (auto& one : all) one.get();
  }
}

TEST(concurrent_queue, is_serial_on_a_serial_target_and_parallel_on_a_concurrent_one) {
  errand::pool four{4};
  errand::serial_queue narrow{"narrow", four};
  errand::concurrent_queue one_at_a_time{"one at a time", narrow};
  errand::concurrent_queue three{{.name = "three", .on = four, .width = 3}};
  errand::concurrent_queue wide{"wide", three};
  for (auto const& [q, most] : {std::pair<errand::queue, int>{one_at_a_time, 1}, {wide, 3}}) {
    crowd inside;
    std::vector<errand::future<void>> all;
    for (int i = 0; i < 200; ++i)
      all.push_back(errand::async(q, [&] {
        crowd::visit const v{inside};
        errand::this_task::yield();
      }));
    for (int i = 0; i < 20; ++i) errand::sync(q, [&] { crowd::visit const v{inside}; });
    for (auto& f : all) f.get();
    EXPECT_LE(inside.most(), most);
  }
  expect_two_at_a_time(wide);
}

TEST(suspension, holds_items_back_until_its_guard_goes) {
  errand::serial_queue q;
  std::atomic<int> ran{0};
  std::vector<errand::future<void>> all;
  {
    auto const held = q.suspend();
    for (int i = 0; i < 5; ++i) all.push_back(errand::async(q, [&] { ++ran; }));
    auto const counted = q.suspend();
    EXPECT_EQ(q.statistics().suspended, 2U);
    errand::async([] {}).get();
    EXPECT_EQ(ran, 0);
    EXPECT_EQ(q.statistics().waiting, 5U);
  }
  for (auto& one : all) one.get();
  EXPECT_EQ(ran, 5);
  EXPECT_EQ(q.statistics().suspended, 0U);
}

TEST(suspension, in_the_middle_lets_the_running_item_end_and_holds_back_the_next) {
  errand::serial_queue q;
  std::optional<errand::queue_suspension> held;
  std::atomic<bool> next_ran{false};
  auto first = errand::async(q, [&] {
    held.emplace(q.suspend());
    return 1;
  });
  auto second = errand::async(q, [&] { next_ran = true; });
  EXPECT_EQ(first.get(), 1);
  EXPECT_EQ(second.wait_for(1ms), errand::future_status::timeout);
  EXPECT_FALSE(next_ran);
  held.reset();
  second.get();
  EXPECT_TRUE(next_ran);
}

TEST(suspension, holds_sync_and_children_back_too_and_is_lifted_by_resume) {
  errand::serial_queue base;
  errand::serial_queue child{"child", base};
  auto held = base.suspend();
  std::atomic<bool> through{false};
  std::thread waits{[&] {
    errand::sync(child, [] {});
    through = true;
  }};
  auto item = errand::async(child, [] { return 2; });
  EXPECT_EQ(item.wait_for(1ms), errand::future_status::timeout);
  EXPECT_FALSE(through);
  held.resume();
  held.resume();
  EXPECT_EQ(item.get(), 2);
  waits.join();
}

TEST(priorities, let_high_ones_pass_and_keep_the_order_among_equals) {
  errand::serial_queue q;
  std::string order;
  std::vector<errand::future<void>> all;
  {
    auto const held = q.suspend();
    for (char const c : {'a', 'b'}) all.push_back(errand::async(q.at(errand::priority::low), [&, c] { order += c; }));
    for (char const c : {'m', 'n'}) all.push_back(errand::async(q, [&, c] { order += c; }));
    for (char const c : {'y', 'z'})
      all.push_back(errand::async({.on = q.at(errand::priority::high)}, [&, c] { order += c; }));
  }
  for (auto& one : all) one.get();
  EXPECT_EQ(order, "yzmnab");
}

TEST(priorities, of_an_item_given_while_others_run_count_at_once) {
  errand::serial_queue q;
  std::string order;
  std::vector<errand::future<void>> all;
  auto first = errand::async(q, [&] {
    for (char const c : {'m', 'n'}) all.push_back(errand::async(q, [&, c] { order += c; }));
    all.push_back(errand::async(q, [&] {
      order += 'o';
      all.push_back(errand::async(q.at(errand::priority::high), [&] { order += 'z'; }));
    }));
    all.push_back(errand::async(q, [&] { order += 'p'; }));
  });
  first.get();
  errand::sync(q, [] {});
  while (errand::sync(q, [&] { return order.size(); }) < 5) std::this_thread::yield();
  EXPECT_EQ(order, "mnozp");
  for (auto& one : all) one.get();
}

TEST(bounds, refuse_what_a_full_queue_has_no_room_for) {
  errand::serial_queue q{{.name = "log", .bound = 2, .full = errand::when_full::refuse}};
  auto held = q.suspend();
  std::vector<errand::future<void>> all;
  all.push_back(errand::async(q, [] {}));
  all.push_back(errand::async(q, [] {}));
  try {
    errand::async(q, [] {}).get();
    ADD_FAILURE() << "was not refused";
  } catch (errand::queue_full const& e) {
    EXPECT_NE(std::string{e.what()}.find("serial queue \"log\""), std::string::npos) << e.what();
    EXPECT_NE(std::string{e.what()}.find("2 items wait"), std::string::npos) << e.what();
  }
  EXPECT_THROW(errand::async({.on = q, .name = "one more"}, [] {}).get(), errand::queue_full);
  held.resume();
  for (auto& one : all) one.get();
  errand::async(q, [] {}).get();
}

TEST(bounds, of_one_are_told_as_one) {
  errand::serial_queue q{{.bound = 1, .full = errand::when_full::refuse}};
  auto held = q.suspend();
  auto only = errand::async(q, [] {});
  try {
    errand::async(q, [] {}).get();
    ADD_FAILURE() << "was not refused";
  } catch (errand::queue_full const& e) {
    EXPECT_NE(std::string{e.what()}.find("1 item waits"), std::string::npos) << e.what();
  }
  held.resume();
  only.get();
}

TEST(bounds, make_those_wait_who_give_more_than_there_is_room_for) {
  errand::serial_queue q{{.bound = 4}};
  std::atomic<std::uint64_t> most{0};
  std::vector<int> seen;
  auto const give = [&](int count) {
    std::vector<errand::future<void>> all;
    for (int i = 0; i < count; ++i) {
      all.push_back(errand::async(q, [&, i] { seen.push_back(i); }));
      most = std::max<std::uint64_t>(most, q.statistics().waiting);
    }
    for (auto& one : all) one.get();
  };
  std::thread other{give, 500};
  auto task = errand::async(give, 500);
  give(500);
  other.join();
  task.get();
  EXPECT_EQ(seen.size(), 1500U);
  EXPECT_LE(most, 4U + 3U);
}

TEST(bounds, that_an_item_would_wait_for_in_its_own_queue_throw_deadlock) {
  errand::serial_queue q{{.name = "own", .bound = 1}};
  auto item = errand::async(q, [&] {
    auto first = errand::async(q, [] {});
    EXPECT_THROW(errand::async(q, [] {}).get(), errand::deadlock);
    first.detach();
  });
  item.get();
}

TEST(bounds, let_a_task_that_waits_for_room_be_stopped) {
  errand::serial_queue q{{.bound = 1}};
  auto held = q.suspend();
  auto first = errand::async(q, [] {});
  flag waits;
  auto giver = errand::async([&] {
    waits.raise();
    errand::async(q, [] {}).get();
  });
  waits.wait();
  giver.request_stop();
  giver.wait();
  EXPECT_TRUE(giver.result().stopped());
  held.resume();
  first.get();
}

struct noisy {
  std::atomic<int>* gone;
  int value;
  noisy(std::atomic<int>& g, int v) : gone{&g}, value{v} {}
  noisy(noisy&& other) noexcept : gone{std::exchange(other.gone, nullptr)}, value{other.value} {}
  noisy& operator=(noisy&&) = delete;
  ~noisy() {
    if (gone != nullptr) ++*gone;
  }
};

TEST(queue_local, is_looked_up_along_the_targets_replaced_and_destroyed) {
  std::atomic<int> gone{0};
  errand::queue_local<noisy> local;
  {
    errand::serial_queue base;
    errand::serial_queue child{"child", base};
    EXPECT_EQ(local.get(), nullptr);
    EXPECT_EQ(errand::sync(child, [&] { return local.get(); }), nullptr);
    local.set(base, {gone, 1});
    EXPECT_EQ(errand::async(child, [&] { return local.get()->value; }).get(), 1);
    local.set(child, {gone, 2});
    EXPECT_EQ(errand::async(child, [&] { return local.get()->value; }).get(), 2);
    EXPECT_EQ(errand::async(base, [&] { return local.get()->value; }).get(), 1);
    EXPECT_EQ(gone, 0);
    local.set(child, {gone, 3});
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(local.of(child)->value, 3);
    local.reset(child);
    EXPECT_EQ(gone, 2);
    EXPECT_EQ(local.of(child)->value, 1);
  }
  while (gone != 3) std::this_thread::yield();  // whoever ran the last item may be just leaving
}

TEST(queue, is_described_with_name_line_target_and_numbers) {
  errand::serial_queue base{"base"};
  errand::concurrent_queue q{"readers", base};
  auto const line = std::to_string(__LINE__ - 1);
  auto const held = q.suspend();
  auto item = errand::async(q, [] {});
  auto const text = errand::to_string(q);
  EXPECT_NE(text.find("concurrent queue \"readers\" ("), std::string::npos) << text;
  EXPECT_NE(text.find("queue_test.cpp:" + line), std::string::npos) << text;
  EXPECT_NE(text.find("on the serial queue \"base\""), std::string::npos) << text;
  EXPECT_NE(text.find("1 waiting, 0 running, suspended 1 time"), std::string::npos) << text;
  item.request_stop();
  EXPECT_NE(errand::to_string(base).find("on threads: 0 waiting"), std::string::npos);
}

TEST(queue, counts_what_it_was_given_and_what_has_begun) {
  errand::serial_queue q;
  for (int i = 0; i < 10; ++i) errand::async(q, [] {}).get();
  auto const now = q.statistics();
  EXPECT_EQ(now.submitted, 10U);
  EXPECT_EQ(now.begun, 10U);
  EXPECT_EQ(now.waiting, 0U);
}

TEST(queue, hands_10000_tokens_through_80_queues) {
  constexpr std::size_t queues = 80;
  constexpr int tokens = 10000;
  std::vector<errand::serial_queue> ring;
  for (std::size_t i = 0; i < queues; ++i) ring.emplace_back("stage " + std::to_string(i));
  std::vector<int> seen(queues);
  errand::task_group group;
  std::function<void(std::size_t)> pass = [&](std::size_t stage) {
    ++seen[stage];
    if (stage + 1 < queues) group.spawn(ring[stage + 1], pass, stage + 1);
  };
  for (int i = 0; i < tokens; ++i) group.spawn(ring[0], pass, std::size_t{0});
  group.wait();
  for (int const n : seen) EXPECT_EQ(n, tokens);
}

TEST(queue, answers_from_all_to_all) {
  constexpr std::size_t queues = 12;
  std::vector<errand::serial_queue> all;
  for (std::size_t i = 0; i < queues; ++i) all.emplace_back();
  std::vector<int> replies(queues);
  errand::task_group group;
  for (std::size_t from = 0; from < queues; ++from)
    for (std::size_t to = 0; to < queues; ++to)
      group.spawn(all[from], [&, from, to] {
        group.spawn(all[to], [&, from] { group.spawn(all[from], [&, from] { ++replies[from]; }); });
      });
  group.wait();
  for (int const n : replies) EXPECT_EQ(n, static_cast<int>(queues));
}

TEST(queue, hops_exactly_as_often_as_asked_between_two) {
  errand::serial_queue left, right;
  int hops = 0;
  errand::task_group group;
  std::function<void()> hop = [&] {
    if (++hops < 20001) group.spawn(hops % 2 == 0 ? left : right, hop);
  };
  group.spawn(left, hop);
  group.wait();
  EXPECT_EQ(hops, 20001);
}

TEST(queue, needs_no_thread_for_each_of_400) {
  errand::pool two{{.workers = 2, .spares = 0}};
  std::vector<errand::serial_queue> all;
  for (int i = 0; i < 400; ++i) all.emplace_back("", two);
  std::mutex guard;
  std::set<int> threads;
  std::vector<errand::future<void>> items;
  for (int round = 0; round < 20; ++round)
    for (auto& q : all)
      items.push_back(errand::async(q, [&] {
        std::lock_guard const held{guard};
        threads.insert(errand_test::thread_number());
      }));
  for (auto& f : items) f.get();
  EXPECT_LE(threads.size(), 2U);
}

}  // namespace
