// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Handles where they do not belong: moved into the task itself or its composite's, and waited for, stopped, shared and
// detached there; the last copy of a shared one dropped by whoever was not meant to; and handles left to the destructors
// of threads, of foreign ones and of a pool's own.
#include <functional>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "stress/hostile.hpp"

namespace {

using namespace errand_test;

/// For a handle that arrives later than the task that needs it.
template <class Handle>
struct box {
  flag set;
  Handle handle;
  counted alive{};
  void put(Handle h) {
    handle = std::move(h);
    set.raise();
  }
};
using future_box = box<errand::future<int>>;

class hostile_handles : public hostile {
 protected:
  /// A task calls `use` with its own future, which outlives that, and detaches it at last.
  template <class Use>
  static void with_its_own_future(errand::place where, Use use) {
    auto own = std::make_shared<future_box>();
    flag done;
    auto f = errand::async(where, [own, use, &done] {
      own->set.wait_yielding();
      use(own->handle);
      EXPECT_TRUE(own->handle.valid());
      own->handle.detach();
      EXPECT_FALSE(own->handle.valid());
      done.raise();
      return 5;
    });
    own->put(std::move(f));
    own.reset();
    done.wait();
  }
};

TEST_F(hostile_handles, inside_their_own_task_refuse_every_wait_and_stay_valid) {
  using handle = errand::future<int>;
  for (int round = 0; round < scaled(50); ++round)
    for (errand::place const where : {errand::place{errand::threads}, errand::place{errand::blocking}}) {
      with_its_own_future(where, [](handle& f) { EXPECT_THROW(f.get(), errand::deadlock); });
      with_its_own_future(where, [](handle& f) { EXPECT_THROW(f.wait(), errand::deadlock); });
      with_its_own_future(where, [](handle& f) { EXPECT_THROW((void)f.wait_for(1h), errand::deadlock); });
      with_its_own_future(where, [](handle& f) {
        EXPECT_THROW((void)f.result(), errand::deadlock);
        EXPECT_FALSE(f.ready());
      });
    }
}

TEST_F(hostile_handles, inside_their_own_task_stop_it) {
  for (int round = 0; round < scaled(50); ++round)
    for (errand::place const where : {errand::place{errand::threads}, errand::place{errand::blocking}})
      with_its_own_future(where, [](errand::future<int>& f) {
        f.request_stop();
        EXPECT_TRUE(this_task::stop_token().stop_requested());
        EXPECT_THROW(this_task::check_stop(), errand::operation_cancelled);
      });
}

TEST_F(hostile_handles, inside_their_own_task_can_be_gone_on_from) {
  for (int round = 0; round < scaled(100); ++round) {
    auto own = std::make_shared<future_box>(), link = std::make_shared<future_box>();
    auto f = errand::async([own, link] {
      own->set.wait_yielding();
      link->put(own->handle.then([](int x) { return x + 1; }));
      return 4;
    });
    own->put(std::move(f));
    link->set.wait();
    EXPECT_EQ(link->handle.get(), 5);
  }
}

TEST_F(hostile_handles, of_a_composite_inside_a_task_of_it_stop_that_task) {
  for (int round = 0; round < scaled(100); ++round) {
    auto whole = std::make_shared<future_box>();
    flag done;
    auto part = errand::async([whole, &done] {
      whole->set.wait_yielding();
      whole->handle.request_stop();
      EXPECT_TRUE(this_task::stop_token().stop_requested());
      whole->handle.detach();
      done.raise();
      return 3;
    });
    whole->put(errand::when_all(std::move(part)).then([](std::tuple<int> const& t) { return std::get<0>(t); }));
    whole.reset();
    done.wait();
  }
}

using hostile_shared = hostile;

TEST_F(hostile_shared, handles_inside_their_own_task_refuse_waits_and_leave_no_cycle) {
  for (int round = 0; round < scaled(100); ++round) {
    auto own = std::make_shared<box<errand::shared_future<int>>>();
    auto s = errand::async([own] {
               own->set.wait_yielding();
               EXPECT_THROW(own->handle.get(), errand::deadlock);
               EXPECT_THROW(own->handle.wait(), errand::deadlock);
               own->handle = {};
               return 3;
             }).share();
    own->put(s);
    own.reset();
    EXPECT_EQ(s.get(), 3);
  }
}

TEST_F(hostile_shared, handles_are_dropped_last_by_threads_tasks_coroutines_and_links) {
  using shared = errand::shared_future<std::unique_ptr<int>>;
  errand::pool one{1};
  for (int round = 0; round < scaled(40); ++round) {
    flag go;
    std::atomic<int> sum{0};
    std::vector<errand::future<void>> all;
    auto s = errand::async([&, alive = counted{}] {
               go.wait_yielding();
               return std::make_unique<int>(5);
             }).share();
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 4; ++i) {
        auto take = [&sum, s]() mutable {
          auto const mine = std::move(s);
          sum += *mine.get();
        };
        threads.emplace_back(take);
        all.push_back(errand::async(take));
        all.push_back(errand::async(errand::blocking, take));
        all.push_back(errand::async(
            one,
            [&sum](shared mine) -> errand::task<> {
              sum += *co_await mine;
              mine = {};
            },
            s));
        all.push_back(s.then([&sum, s](std::unique_ptr<int> const& value) mutable {
          s = {};
          sum += *value;  // which lives as long as its link runs
        }));
      }
      s = {};
      go.raise();
    }
    errand::when_all(std::move(all)).get();
    EXPECT_EQ(sum, 4 * 5 * 5);
  }
}

TEST_F(hostile_shared, handles_whose_waiters_are_all_stopped_keep_their_task_until_the_last_goes) {
  for (int round = 0; round < scaled(60); ++round) {
    flag begun;
    auto s = errand::async([&, alive = counted{}] {
               begun.raise();
               return sleep_long();
             }).share();
    begun.wait();
    std::vector<errand::future<void>> waiters;
    for (int i = 0; i < 3; ++i) {
      waiters.push_back(errand::async([s] { s.get(); }));
      waiters.push_back(errand::async([s] { (void)s.wait_for(1h); }));
      waiters.push_back(errand::async([s]() -> errand::task<> { co_await s; }));
      waiters.push_back(s.then([](int) {}));
    }
    for (auto& w : waiters) w.request_stop();
    for (auto& w : waiters) EXPECT_TRUE(w.result().stopped());
    EXPECT_FALSE(s.ready());
    auto link = s.then([s](int) {});
    if (round % 2 == 0) continue;
    s.request_stop();
    EXPECT_TRUE(link.result().stopped());
    EXPECT_TRUE(s.result().stopped());
  }
}

TEST_F(hostile_shared, handles_in_links_that_never_run_and_in_results_of_their_own_links_come_back) {
  for (int round = 0; round < scaled(100); ++round) {
    auto sleeping = errand::async(sleep_long).share();
    auto never = sleeping.then([sleeping, alive = counted{}](int) { return 1; });
    sleeping = {};
    never.request_stop();
    EXPECT_TRUE(never.result().stopped());

    auto s = errand::async([] { return 1; }).share();
    auto link = s.then([s](int) mutable { return std::move(s); });
    s = {};
    EXPECT_EQ(link.get().get(), 1);
  }
}

/// Its result holds the last copy of the one before.
struct node {
  int number = 0;
  errand::shared_future<std::unique_ptr<node>> before;
  counted alive{};
};

TEST_F(hostile_shared, handles_in_a_list_of_results_go_one_after_the_other_wherever_the_last_is_dropped) {
  errand::pool one{1};
  for (int round = 0; round < scaled(60); ++round) {
    auto last = errand::async([] { return std::make_unique<node>(); }).share();
    for (int i = 1; i < 100; ++i)
      last = last.then([last](std::unique_ptr<node> const& n) {
                   auto next = std::make_unique<node>();
                   next->number = n->number + 1;
                   next->before = last;
                   return next;
                 })
                 .share();
    EXPECT_EQ(last.get()->number, 99);
    EXPECT_EQ(last.get()->before.get()->number, 98);
    if (round % 3 == 0) errand::async([s = std::move(last)]() mutable { s = {}; }).get();
    if (round % 3 == 1) errand::async(one, [s = std::move(last)] {}).get();
    last = {};
    EXPECT_EQ(counted::alive(), 0);
  }
}

/// Whatever a thread does at its end.
struct at_thread_end {
  std::function<void()> call;
  at_thread_end() = default;
  at_thread_end(at_thread_end const&) = delete;
  at_thread_end& operator=(at_thread_end const&) = delete;
  ~at_thread_end() {
    if (call) call();
  }
};
thread_local at_thread_end last_deed;
thread_local errand::future<int> left_behind;
thread_local std::unique_ptr<errand::task_group> group_left_behind;

void use_everything() {
  EXPECT_EQ(errand::async([] { return this_task::yield(), 1; }).get(), 1);
  EXPECT_EQ(errand::async(errand::blocking, [] { return 2; }).get(), 2);
  EXPECT_EQ(errand::map(std::vector<int>{1, 2, 3}, [](int x) { return x; }).back(), 3);
  auto dropped = errand::async(sleep_long);
  errand::pool p{1};
  EXPECT_EQ(errand::async(p, [] { return errand::async([] { return 3; }).get(); }).get(), 3);
  errand::task_group g;
  g.spawn([] { this_task::sleep_for(1us); });
  g.wait();
}

void leave_behind() {
  left_behind = errand::async([alive = counted{}] { return sleep_long(); });
  group_left_behind = std::make_unique<errand::task_group>();
  group_left_behind->spawn([alive = counted{}] { sleep_long(); });
}

using hostile_thread_ends = hostile;

TEST_F(hostile_thread_ends, of_foreign_threads_use_errand_and_drop_what_is_left) {
  std::atomic<int> ends{0};
  for (int round = 0; round < scaled(20); ++round) {
    std::thread{[&] {
      last_deed.call = [&] {
        use_everything();
        ++ends;
      };
      leave_behind();
    }}.join();
    EXPECT_EQ(ends, round + 1);
    EXPECT_EQ(counted::alive(), 0);
  }
}

TEST_F(hostile_thread_ends, of_workers_use_errand_and_drop_what_is_left) {
  for (int round = 0; round < scaled(20); ++round) {
    std::atomic<int> ends{0};
    {
      errand::pool p{{.workers = 3, .pinned = round % 2 == 0}, [&](unsigned) {
                       last_deed.call = [&] {
                         use_everything();
                         ++ends;
                       };
                     }};
      errand::async(p, leave_behind).get();
    }
    EXPECT_EQ(ends, 3);
    EXPECT_EQ(counted::alive(), 0);
  }
}

}  // namespace
