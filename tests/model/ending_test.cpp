// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "A pool's end" of src/sched/README.md: a pool of one worker is destroyed while its task A waits for somebody outside, who
// first gives the pool another task B and then lets A go on. The pool must outlast both tasks and whoever pushes them.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  bool chooses_before_it_can_be_taken = true;  // the sleeper, under the inbox's lock
  bool counts_started_last = true;             // the destructor, when it has seen that all sleep
  bool reads_settled_first = true;             // (E2)
  bool says_that_it_settled = true;            // (E1)
};

class ending {
 public:
  explicit ending(variation how) : how_{how} {}

  verdict explore() {
    worker();
    outsider();
    destructor();
    return e_.explore();
  }

 private:
  void choose(view& v) const {
    v.touch(pool_);
    v[chosen_] = v.exchange(asleep_, 0) != 0;
  }

  void outsider() {
    auto& p = e_.thread("outsider");
    for (int tasks : {1, 0}) {
      p.step(tasks != 0 ? "gives it B" : "makes A ready", [this, tasks](view& v) {
        v.touch(pool_);
        v.add(started_, tasks);
        v.add(inbox_, 1);
        if (how_.chooses_before_it_can_be_taken) choose(v);
      });
      if (!how_.chooses_before_it_can_be_taken) p.step("chooses a sleeper", [this](view& v) { choose(v); });
      p.step("wakes whom it has chosen (Z1)", [this](view& v) {
        if (v[chosen_] == 0) return;
        v.touch(pool_);
        v.exchange(woken_, 1);
      });
    }
  }
  void worker() {
    auto& p = e_.thread("worker");
    p.label("loop").step("takes what has come, and runs it to its end", [this](view& v) {
      v.touch(pool_);
      if (v.load(inbox_) == 0) return;
      v.add(inbox_, -1);
      v.add(ended_, 1);
      v.go_to("loop");
    });
    p.step("is counted asleep (P2)", [this](view& v) {
      v.touch(pool_);
      v.exchange(asleep_, 1);
      v.exchange(woken_, 0);
      v[settling_] = static_cast<signed char>(v.load(closing_));
    });
    p.step("looks again (P2)", [this](view& v) {
      v.touch(pool_);
      if (v.load(inbox_) == 0) return v.go_to("nothing");
      if (v.load(asleep_) == 0) return v.go_to("sleeps");
      v.exchange(asleep_, 0);
      v.go_to("loop");
    });
    p.label("nothing").step("says that it has settled (E1)", [this](view& v) {
      v.touch(pool_);
      if (v[settling_] != 0 && how_.says_that_it_settled) v.add(settled_, 1);
    });
    p.label("sleeps").rest("sleeps until woken (Z1)", [this](view& v) {
      v.await(v.load(woken_) == 1);
      v.touch(pool_);
      if (v.load(closed_) == 0) return v.go_to("loop");
      v.exchange(left_, 1);
    });
  }

  void destructor() {
    auto const seen = e_.number("settled seen"), started = e_.number("started seen");
    auto& p = e_.thread("destructor");
    p.step("closing", [this](view& v) { v.exchange(closing_, 1); });
    auto const read_settled = [this, seen](view& v) { v[seen] = static_cast<signed char>(v.load(settled_)); };
    auto const read_started = [this, started](view& v) { v[started] = static_cast<signed char>(v.load(started_)); };
    p.label("look");
    if (how_.reads_settled_first) p.step("reads settled (E2)", read_settled);
    if (!how_.counts_started_last) p.step("counts the tasks started", read_started);
    p.step("looks whether all have ended", [this, started, read_started](view& v) {
      bool const all_sleep = v.load(asleep_) == 1 && v.load(inbox_) == 0;
      if (how_.counts_started_last) read_started(v);
      if (all_sleep && v[started] == v.load(ended_)) v.go_to("close");
    });
    if (!how_.reads_settled_first) p.step("reads settled (E2)", read_settled);
    p.step("sleeps until a worker has settled", [this, seen](view& v) {
      v.await(v.load(settled_) != v[seen]);
      v.go_to("look");
    });
    p.label("close").step("closes and wakes", [this](view& v) {
      v.exchange(closed_, 1);
      v.exchange(asleep_, 0);
      v.exchange(woken_, 1);
    });
    p.step("joins", [this](view& v) { v.await(v.load(left_) == 1); });
    p.step("frees the pool", [this](view& v) {
      v.check(v.load(ended_) == 2, "the pool is freed before its tasks have ended");
      v.free(pool_);
    });
  }

  variation how_;
  explorer e_{memory::sequential};
  variable pool_ = e_.object("the pool");
  variable started_ = e_.number("started", 1), ended_ = e_.number("ended"), inbox_ = e_.number("inbox"),
           asleep_ = e_.number("asleep"), woken_ = e_.number("woken"), closing_ = e_.number("closing"),
           closed_ = e_.number("closed"), settled_ = e_.number("settled"), left_ = e_.number("left"),
           settling_ = e_.number("settling"), chosen_ = e_.number("chosen");
};

verdict explore(variation how) { return ending{how}.explore(); }

TEST(ending_model, a_pool_outlasts_its_tasks_and_those_who_push_them) {
  auto const result = explore({});
  EXPECT_TRUE(result.holds()) << result;
  EXPECT_GT(result.states, 100U);
}

TEST(ending_model, fails_if_a_pusher_looks_for_a_sleeper_after_its_work_can_be_taken) {
  auto const result = explore({.chooses_before_it_can_be_taken = false});
  EXPECT_TRUE(result.fails_with("the pool is touched after it was freed")) << result;
}

TEST(ending_model, fails_if_the_tasks_started_are_counted_before_all_sleep) {
  auto const result = explore({.counts_started_last = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(ending_model, fails_if_the_destructor_looks_before_it_reads_what_it_will_sleep_on) {
  auto const result = explore({.reads_settled_first = false});
  EXPECT_TRUE(result.fails_with("destructor waits for ever")) << result;
}

TEST(ending_model, fails_if_a_worker_falls_asleep_in_silence) {
  auto const result = explore({.says_that_it_settled = false});
  EXPECT_TRUE(result.fails_with("destructor waits for ever")) << result;
}

}  // namespace
}  // namespace errand::model
