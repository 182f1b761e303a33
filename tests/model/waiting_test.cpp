// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "Waiting" of src/sched/README.md: a parked fiber whose task it waits for completes, while its own task is stopped and its
// deadline passes. One of them wakes it, and when it goes on nobody touches its frame any more. The loop that the worker
// goes on with arms the waiter; the fiber, woken, disarms it, at the same time.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::weak;
  bool completes = true;  // the awaited task does end
  bool has_deadline = true;
  bool claims = true;                    // (W1)
  bool disarm_waits_for_arm = true;      // (A1)
  bool stopper_says_it_has_left = true;  // (W2)
  bool claims_before_done = true;        // (C1)
  bool leaves_the_list = true;
  bool shows_itself_before_it_looks = true;  // (S2) before (S1)
  order shows_itself = order::seq_cst;       // (S2)
};

enum claimant : int { nobody, completion, stop, deadline, itself };

class waiting {
 public:
  explicit waiting(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    loop();
    fiber();
    if (how_.completes) completer();
    stopper();
    if (how_.has_deadline) timekeeper();
    e_.at_the_end([this](view& v) { v.check(v[frame_] == 0, "the fiber did not go on"); });
    return e_.explore();
  }

 private:
  void lock(view& v) const {
    v.await(v.load(lock_) == 0);
    v.exchange(lock_, 1);
  }
  [[nodiscard]] bool claim(view& v, claimant by) const {
    v.touch(frame_);
    return v.compare_exchange(claimed_by_, nobody, by) || !how_.claims;
  }
  void wake(view& v) const {
    v.touch(frame_);
    v.check(v.exchange(woken_, 1) == 0, "the fiber is woken twice");
  }

  // arm(), on the fresh stack.
  void loop() {
    auto& p = e_.thread("loop");
    p.step("locks the awaited record", [this](view& v) { lock(v); })
        .step("enters the list unless it is done",
              [this](view& v) {
                if (v.load(done_) != 0)
                  v[waits_] = 0;
                else
                  v[listed_] = 1;
              })
        .step("unlocks",
              [this](view& v) {
                v.exchange(lock_, 0);
                if (v[waits_] == 0) v.go_to("armed");
              })
        .step("sets the timer", [this](view& v) { v[timer_] = how_.has_deadline; });
    auto const show = [this](view& v) {
      v[shown_] = 1;
      v.store(interrupt_, 1, how_.shows_itself);
    };
    if (how_.shows_itself_before_it_looks) p.step("shows the waiter to stoppers (S2)", show);
    p.step("looks at the stop bit (S1)", [this](view& v) { v[stop_seen_] = static_cast<signed char>(v.load(stop_)); });
    if (!how_.shows_itself_before_it_looks) p.step("shows the waiter to stoppers (S2)", show);
    p.step("claims it for itself if there is a stop",
           [this](view& v) {
             if (v[stop_seen_] != 0 && claim(v, itself)) v[waits_] = 0;
           })
        .label("armed")
        .step("lets go (A1)",
              [this](view& v) {
                v.touch(frame_);
                v.store(armed_, 1, order::release);
              })
        .step("resumes the fiber if there is nothing to wait for", [this](view& v) {
          if (v[waits_] == 0) wake(v);
        });
  }

  // disarm(), wherever the fiber was made ready.
  void fiber() {
    auto& p = e_.thread("fiber");
    p.step("is resumed", [this](view& v) { v.await(v.load(woken_) == 1); });
    if (how_.disarm_waits_for_arm) p.step("waits for arm (A1)", [this](view& v) { v.await(v.load(armed_) == 1); });
    p.step("looks whether the record is done (C1)", [this](view& v) {
      if (v.load(done_) != 0 || !how_.leaves_the_list) v.go_to("not in the list");
    });
    p.step("locks the record", [this](view& v) { lock(v); })
        .step("leaves the list", [this](view& v) { v[listed_] = 0; })
        .step("unlocks", [this](view& v) { v.exchange(lock_, 0); })
        .label("not in the list")
        .step("takes the timer back", [this](view& v) { v[timer_] = 0; })
        .step("takes itself back from stoppers (S2)",
              [this](view& v) {
                if (v[shown_] == 0 || v.exchange(interrupt_, 0) == 1) v.go_to("free");
              })
        .step("looks who woke it (W1)",
              [this](view& v) {
                if (v.load(claimed_by_) == stop || !how_.stopper_says_it_has_left) v.go_to("free");
              })
        .step("waits until the stopper has left (W2)", [this](view& v) { v.await(v.load(left_) == 1); })
        .label("free")
        .step("goes on", [this](view& v) { v.free(frame_); });
  }

  void completer() {
    auto& p = e_.thread("completer");
    p.step("locks the record (K1)", [this](view& v) { lock(v); });
    if (!how_.claims_before_done) p.step("sets done", [this](view& v) { v.exchange(done_, 1); });
    p.step("claims who is in the list", [this](view& v) { v[to_wake_] = v[listed_] != 0 && claim(v, completion); })
        .step("sets done and unlocks (C1)",
              [this](view& v) {
                v.exchange(done_, 1);
                v.exchange(lock_, 0);
              })
        .step("wakes", [this](view& v) {
          if (v[to_wake_] != 0) wake(v);
        });
  }

  void stopper() {
    auto& p = e_.thread("stopper");
    p.step("sets the stop bit (S1)", [this](view& v) { v.exchange(stop_, 1); })
        .step("takes who waits (S2)",
              [this](view& v) {
                if (v.exchange(interrupt_, 0) == 0) v.end();
              })
        .step("claims (W1)",
              [this](view& v) {
                if (!claim(v, stop)) v.go_to("too late");
              })
        .step("wakes",
              [this](view& v) {
                wake(v);
                v.end();
              })
        .label("too late")
        .step("says that it has left (W2)", [this](view& v) {
          v.touch(frame_);
          v.store(left_, 1, order::release);
        });
  }

  void timekeeper() {
    auto& p = e_.thread("timekeeper");
    p.rest("claims, under the timers' lock", [this](view& v) {
       v.await(v[timer_] == 1);
       v[timer_] = 0;
       if (!claim(v, deadline)) v.end();
     }).step("wakes", [this](view& v) { wake(v); });
  }

  variation how_;
  explorer e_;
  variable frame_ = e_.object("the waiter");
  variable lock_ = e_.number("lock"), done_ = e_.number("done"), listed_ = e_.number("listed"),
           stop_ = e_.number("stop"), interrupt_ = e_.number("interrupt"), claimed_by_ = e_.number("claimed_by"),
           woken_ = e_.number("woken"), armed_ = e_.number("armed"), left_ = e_.number("stopper_left"),
           timer_ = e_.number("timer"), waits_ = e_.number("waits", 1), shown_ = e_.number("shown"),
           stop_seen_ = e_.number("stop seen"), to_wake_ = e_.number("to wake");
};

verdict explore(variation how) { return waiting{how}.explore(); }
constexpr auto touched = "the waiter is touched after it was freed";
constexpr auto lost = "fiber waits for ever";

TEST(waiting_model, wakes_once_and_lets_go_before_the_waiter_goes_on) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak})
    for (bool const has_deadline : {true, false})
      for (bool const completes : {true, false}) {
        auto const result = explore({.kind = kind, .completes = completes, .has_deadline = has_deadline});
        EXPECT_TRUE(result.holds()) << result;
      }
}

TEST(waiting_model, fails_if_who_wakes_does_not_claim) { EXPECT_FALSE(explore({.claims = false}).holds()); }

TEST(waiting_model, fails_if_the_waiter_goes_on_while_it_is_still_being_armed) {
  auto const result = explore({.disarm_waits_for_arm = false});
  EXPECT_TRUE(result.fails_with(touched)) << result;
}

TEST(waiting_model, fails_if_a_stopper_that_came_too_late_is_not_waited_for) {
  auto const result = explore({.kind = memory::sequential, .stopper_says_it_has_left = false});
  EXPECT_TRUE(result.fails_with(touched)) << result;
}

TEST(waiting_model, fails_if_done_is_set_before_the_waiters_are_claimed) {
  auto const result = explore({.kind = memory::sequential, .claims_before_done = false});
  EXPECT_TRUE(result.fails_with(touched)) << result;
}

TEST(waiting_model, fails_if_the_waiter_stays_in_the_list_of_a_task_that_goes_on) {
  auto const result = explore({.kind = memory::sequential, .leaves_the_list = false});
  EXPECT_TRUE(result.fails_with(touched)) << result;
}

TEST(waiting_model, fails_if_the_waiter_looks_for_a_stop_before_a_stopper_could_see_it) {
  auto const result = explore(
      {.kind = memory::sequential, .completes = false, .has_deadline = false, .shows_itself_before_it_looks = false});
  EXPECT_TRUE(result.fails_with(lost)) << result;
}

TEST(waiting_model, fails_if_the_waiter_may_be_seen_later_than_it_looks_for_a_stop) {
  auto const result = explore(
      {.kind = memory::store_buffers, .completes = false, .has_deadline = false, .shows_itself = order::release});
  EXPECT_TRUE(result.fails_with(lost)) << result;
}

}  // namespace
}  // namespace errand::model
