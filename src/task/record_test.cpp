// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A record's life without a scheduler: two or three threads, each with one reference, meet at its end. The test plays the
// worker, the holder of the handle and the stopper itself.
#include <errand/detail/result_record.hpp>

#include "base/futex.hpp"
#include "task/references.hpp"
#include "task/stop.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

std::atomic<int> records_alive{0};
std::atomic<int> bodies_run{0};

struct test_record final : result_record<void> {
  test_record() : result_record<void>{&act, std::source_location::current()} { ++records_alive; }
  ~test_record() { --records_alive; }

  static bool act(record* base, record_verb verb) noexcept {
    if (verb == record_verb::run) ++bodies_run;
    if (verb == record_verb::destroy) {
      auto* const self = static_cast<test_record*>(base);
      self->~test_record();
      deallocate_record(self, sizeof(test_record));
    }
    return true;
  }
};

record& make_queued() {
  record& r = *make_record<test_record>();
  r.state_.store(record_state::handle | record_state::queued);
  return r;
}

// What a worker does with what it takes from a queue.
void run_as_worker(record& r) {
  if (!try_begin(r, record_state::queued)) return release_queue_reference(r);
  r.act_(&r, record_verb::run);
  complete(r);
}

// All at the same moment, each on a thread of its own.
void at_once(std::vector<std::function<void()>> const& parts) {
  std::atomic<std::size_t> there{0};
  std::vector<std::jthread> threads;
  for (auto const& part : parts)
    threads.emplace_back([&] {
      ++there;
      while (there.load() != parts.size()) std::this_thread::yield();  // there may be fewer processors than parts
      part();
    });
}

struct flag_waiter : waiter {
  flag_waiter() {
    waiter::wake = [](waiter* w) noexcept { ++static_cast<flag_waiter*>(w)->wakes; };
  }
  std::atomic<int> wakes{0};
};

constexpr int rounds = 2000;

TEST(record, goes_with_its_last_reference_whoever_holds_it) {
  for (int order = 0; order < 2; ++order) {
    record& r = make_queued();
    pin(r);
    run_as_worker(r);
    EXPECT_TRUE(r.done());
    if (order == 0) {
      release_handle(r);
      EXPECT_EQ(records_alive, 1);
      unpin(r);
    } else {
      unpin(r);
      EXPECT_EQ(records_alive, 1);
      release_handle(r);
    }
    EXPECT_EQ(records_alive, 0);
  }
}

TEST(record, one_that_is_not_done_stays_whatever_is_let_go) {
  record& r = make_queued();
  EXPECT_TRUE(try_begin(r, record_state::queued));
  pin(r);
  unpin(r);
  EXPECT_EQ(records_alive, 1);
  complete(r);
  EXPECT_EQ(records_alive, 1);
  release_handle(r);
  EXPECT_EQ(records_alive, 0);
}

TEST(record, begins_once_whoever_tries) {
  bodies_run = 0;
  int unrun = 0;
  for (int i = 0; i < rounds; ++i) {
    record& r = make_queued();
    std::atomic<bool> stopped{false};
    pin(r);
    at_once({[&] { run_as_worker(r); },
             [&] {
               stopped = stop_unbegun(r);
               unpin(r);
             }});
    ASSERT_TRUE(r.done());
    ASSERT_EQ(r.stopped_, stopped.load());
    unrun += stopped ? 1 : 0;
    release_handle(r);
  }
  EXPECT_EQ(bodies_run + unrun, rounds);
  EXPECT_EQ(records_alive, 0);
}

TEST(record, completion_and_the_release_of_all_references_race_to_one_destruction) {
  for (int i = 0; i < rounds; ++i) {
    record& r = make_queued();
    pin(r);
    pin(r);
    at_once({[&] { run_as_worker(r); },
             [&] {
               while (!r.done()) std::this_thread::yield();
               release_handle(r);
             },
             [&] { unpin(r); },
             [&] {
               stop_record(r, false);
               unpin(r);
             }});
    ASSERT_EQ(records_alive, 0);
  }
}

TEST(record, completion_wakes_every_waiter_once) {
  for (int i = 0; i < rounds / 10; ++i) {
    record& r = make_queued();
    std::vector<flag_waiter> waiters(5);
    for (auto& w : waiters) {
      lock_record(r);
      w.next = r.waiters_;
      r.waiters_ = &w;
      r.state_.fetch_or(record_state::hooked);
      unlock_record(r);
    }
    std::atomic<int> claimed{0};
    at_once({[&] { run_as_worker(r); },
             [&] {
               for (auto& w : waiters)
                 if (claim(w, claimant::itself)) ++claimed;
             }});
    int woken = 0;
    for (auto& w : waiters) woken += w.wakes;
    ASSERT_EQ(woken + claimed, 5);
    release_handle(r);
  }
  EXPECT_EQ(records_alive, 0);
}

TEST(record, a_stop_and_the_arming_of_an_interrupt_never_miss_each_other) {
  for (int i = 0; i < rounds; ++i) {
    record& r = make_queued();
    ASSERT_TRUE(try_begin(r, record_state::queued));
    flag_waiter w;
    bool armed = false;
    pin(r);
    at_once({[&] {
               armed = arm_interrupt(r, reinterpret_cast<std::uintptr_t>(&w));
               if (!armed && !claim(w, claimant::itself)) armed = true;  // the stopper was faster: it wakes us
               if (armed)
                 while (w.wakes == 0) std::this_thread::yield();
               disarm_interrupt(r, w);
             },
             [&] {
               stop_record(r, false);
               unpin(r);
             }});
    ASSERT_EQ(w.wakes, armed ? 1 : 0);
    complete(r);
    release_handle(r);
  }
  EXPECT_EQ(records_alive, 0);
}

TEST(record, of_several_stoppers_the_first_says_why) {
  for (int i = 0; i < rounds / 10; ++i) {
    record& r = make_queued();
    ASSERT_TRUE(try_begin(r, record_state::queued));
    pin(r);
    pin(r);
    at_once({[&] {
               stop_record(r, true);
               unpin(r);
             },
             [&] {
               stop_record(r, false);
               unpin(r);
             }});
    auto const first = r.state_.load() & record_state::expired;
    stop_record(r, first == 0);
    EXPECT_EQ(r.state_.load() & record_state::expired, first);
    complete(r);
    release_handle(r);
  }
  EXPECT_EQ(records_alive, 0);
}

}  // namespace
}  // namespace errand::detail
