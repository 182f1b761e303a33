// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a run loop's thread sleeps and is woken, src/queue/events.md: the bell (RL1), stop() and the end of a task (RL5) that
// run_until() waits for. Two threads push, one stops or ends a task. The thread never sleeps while something is there for it, and
// what lies there when it has stopped is found by whoever serves next.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  int pushers = 2;
  bool stops = false;
  bool ends_task = false;
  bool brings_before_it_rings = true;      // step 1: `entry_given_`, then the bell
  bool rings_by_exchange = true;           // (RL1)
  order brought = order::seq_cst;          // of entry_given_
  bool looks_once_more = true;             // step 3: after the bell says asleep
  bool kernel_compares = true;             // step 3: it sleeps on the bell, and not just so
  bool takes_entry_first = true;           // step 2: entry_given_, then the hold
  bool told_of_what_is_left = true;        // by who leaves the queue with items in it
  bool stops_before_it_rings = true;       // stop()
  bool done_before_it_rings = true;        // the end of a task
  bool waits_for_who_tells = true;         // (RL5)
};

constexpr int awake = 0, asleep = 1;
constexpr int held = 1, entry = 2, one_item = 4;
int items(int word) { return word / one_item; }

class loop {
 public:
  explicit loop(variation how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    for (int i = 0; i < how_.pushers; ++i) pusher(keep("pusher " + std::to_string(i)));
    if (how_.stops) bringer("stopper", stopped_, how_.stops_before_it_rings, false);
    if (how_.ends_task) bringer("task", done_, how_.done_before_it_rings, true);
    server();
    e_.at_the_end([this](view& v) {
      int const word = v.load(word_);
      bool const is_there = v.load(entry_given_) == 1;
      v.check(((word & entry) != 0) == is_there, "an entry is lost");
      if (v[over_] == 1) return;
      v.check(items(word) == 0 && !is_there, "the thread sleeps while items lie there");
      v.check(v.load(stopped_) == 0, "the thread sleeps although it was stopped");
      v.check(!how_.ends_task || v.load(done_) == 0, "the thread sleeps although the task has ended");
    });
    return e_.explore();
  }

 private:
  char const* keep(std::string text) {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return kept_.back()->c_str();
  }

  // ring(): one exchange, and the kernel is asked to wake who sleeps.
  void rings(program& p, variable saw) {
    p.step("rings the bell (RL1)", [this, saw](view& v) {
      if (how_.rings_by_exchange) {
        v[saw] = static_cast<signed char>(v.exchange(bell_, awake));
        return;
      }
      v[saw] = static_cast<signed char>(v.load(bell_));
      if (v[saw] == asleep) v.store(bell_, awake, order::release);
    });
    p.step("wakes the thread, if the bell said asleep", [this, saw](view& v) {
      if (v[saw] == asleep) v.exchange(in_kernel_, 0);
    });
  }

  void gives_the_entry(program& p, variable saw) {
    auto const says = [this](view& v) { v.store(entry_given_, 1, how_.brought); };
    if (how_.brings_before_it_rings) p.step("says that the entry is there", says);
    rings(p, saw);
    if (!how_.brings_before_it_rings) p.step("says that the entry is there", says);
  }

  void pusher(std::string const& name) {
    auto const saw = e_.number("what " + name + " saw");
    auto& p = e_.thread(name);
    p.step("pushes (Q1)", [this](view& v) {
      int const w = v.load(word_);
      v.exchange(word_, (w + one_item) | ((w & (held | entry)) == 0 ? entry : 0));
      if ((w & (held | entry)) != 0) v.end();
    });
    gives_the_entry(p, saw);
  }

  // Something that ends the loop. The end of a task tells by a waiter that lies in the frame of run_until().
  void bringer(char const* name, variable what, bool before, bool by_a_waiter) {
    auto const saw = e_.number(std::string{"what the "} + name + " saw");
    auto& p = e_.thread(name);
    auto const brings = [what](view& v) { v.store(what, 1, order::seq_cst); };
    if (before) p.step("is brought", brings);
    if (by_a_waiter) p.step("finds the waiter", [this](view& v) { v.touch(frame_); });
    p.step("rings the bell (RL1)", [this, saw](view& v) { v[saw] = static_cast<signed char>(v.exchange(bell_, awake)); });
    if (!before) p.step("is brought", brings);
    if (by_a_waiter)
      p.step("has told (RL5)", [this](view& v) {
        v.touch(frame_);
        v.store(told_, 1, order::release);
      });
    p.step("wakes the thread, if the bell said asleep", [this, saw](view& v) {
      if (v[saw] == asleep) v.exchange(in_kernel_, 0);
    });
  }

  [[nodiscard]] bool is_over(view& v) const {
    return v.load(stopped_) == 1 || (how_.ends_task && v.load(done_) == 1);
  }

  void server() {
    auto const taken = e_.number("what the thread has taken");
    auto const saw = e_.number("what the thread saw");
    auto& p = e_.thread("thread");
    p.label("serves").step("looks whether it is over", [this](view& v) {
      if (is_over(v)) v.go_to("over");
    });
    if (how_.takes_entry_first) p.step("takes the entry", [this](view& v) {
      if (v.exchange(entry_given_, 0) == 0) v.go_to("nothing");
    });
    else p.step("sees the entry", [this](view& v) {
      if (v.load(entry_given_) == 0) v.go_to("nothing");
    });
    p.step("takes the queue and its items (Q2)", [this, taken](view& v) {
      int const w = v.load(word_);
      v.check((w & held) == 0, "two hold the queue");
      v.exchange(word_, held);
      v[taken] = static_cast<signed char>(items(w));
    });
    p.label("runs").step("runs an item, or leaves (Q3)", [this, taken](view& v) {
      if (v[taken] > 0 && !is_over(v)) {
        v[taken] = static_cast<signed char>(v[taken] - 1);
        return v.go_to("runs");
      }
      int const w = v.load(word_);
      bool const more = items(w) + v[taken] != 0;
      v.exchange(word_, (items(w) + v[taken]) * one_item + (more ? entry : 0));
      v[taken] = more ? 1 : 0;
    });
    if (!how_.takes_entry_first) p.step("takes the entry late", [this](view& v) { v.exchange(entry_given_, 0); });
    p.step("was that all?", [this, taken](view& v) {
      if (v[taken] == 0 || !how_.told_of_what_is_left) v.go_to("serves");
    });
    gives_the_entry(p, saw);
    p.step("serves on", [](view& v) { v.go_to("serves"); });

    p.label("nothing");
    p.label("falls asleep").step("the bell says asleep (RL1)", [this](view& v) { v.exchange(bell_, asleep); });
    if (how_.looks_once_more) p.step("looks once more", [this](view& v) {
      if (v.load(entry_given_) == 1 || is_over(v)) v.go_to("wakes up");
    });
    p.step("asks the kernel to sleep on the bell", [this](view& v) {
      if (how_.kernel_compares && v.load(bell_) != asleep) return v.go_to("wakes up");
      v.exchange(in_kernel_, 1);
    });
    p.rest("sleeps", [this](view& v) { v.await(v.load(in_kernel_) == 0); });
    p.label("wakes up").step("the bell says awake", [this](view& v) { v.store(bell_, awake, order::relaxed); });
    p.step("looks what there is", [this](view& v) { v.go_to(v.load(entry_given_) == 1 || is_over(v) ? "serves" : "falls asleep"); });

    p.label("over");
    if (how_.ends_task && how_.waits_for_who_tells)
      p.step("waits for who tells it (RL5)", [this](view& v) { v.await(v.load(told_) == 1); });
    p.step("returns", [this](view& v) {
      v.free(frame_);
      v[over_] = 1;
    });
  }

  variation how_;
  explorer e_;
  std::vector<std::unique_ptr<std::string>> kept_{};
  variable word_ = e_.number("word"), entry_given_ = e_.number("entry given"), bell_ = e_.number("bell");
  variable in_kernel_ = e_.number("in the kernel"), stopped_ = e_.number("stopped"), done_ = e_.number("done");
  variable told_ = e_.number("told"), frame_ = e_.object("the frame of run_until()"), over_ = e_.number("over");
};

verdict explore(variation how) { return loop{how}.explore(); }
constexpr auto sleeps = "the thread sleeps while items lie there";

TEST(run_loop_bell, lets_the_thread_never_sleep_while_something_is_there) {
  for (auto const& how : {variation{.pushers = 3}, variation{.stops = true}, variation{.ends_task = true},
                          variation{.pushers = 1, .stops = true, .ends_task = true}}) {
    auto const result = explore(how);
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 500U);
  }
}

TEST(run_loop_bell, fails_if_who_brings_something_rings_before_it_is_there) {
  auto const result = explore({.pushers = 1, .brings_before_it_rings = false});
  EXPECT_TRUE(result.fails_with(sleeps)) << result;
}

TEST(run_loop_bell, fails_if_who_brings_something_only_looks_at_the_bell) {
  EXPECT_TRUE(explore({.pushers = 1, .rings_by_exchange = false}).holds()) << "where what was brought is seen before that look";
  auto const result = explore({.pushers = 1, .rings_by_exchange = false, .brought = order::release});
  EXPECT_TRUE(result.fails_with(sleeps)) << result;
}

TEST(run_loop_bell, holds_by_the_exchange_alone_if_what_is_brought_is_only_released) {
  EXPECT_TRUE(explore({.brought = order::release}).holds());
}

TEST(run_loop_bell, fails_if_the_thread_does_not_look_once_more) {
  auto const result = explore({.pushers = 1, .looks_once_more = false});
  EXPECT_TRUE(result.fails_with(sleeps)) << result;
}

TEST(run_loop_bell, fails_if_the_kernel_does_not_compare_the_bell) {
  auto const result = explore({.pushers = 1, .kernel_compares = false});
  EXPECT_TRUE(result.fails_with(sleeps)) << result;
}

TEST(run_loop_bell, fails_if_the_thread_takes_the_items_before_the_entry) {
  auto const result = explore({.takes_entry_first = false});
  EXPECT_TRUE(result.fails_with("an entry is lost")) << result;
}

TEST(run_loop_bell, fails_if_nobody_is_told_of_what_is_left_in_the_queue) {
  auto const result = explore({.told_of_what_is_left = false});
  EXPECT_TRUE(result.fails_with("an entry is lost")) << result;
}

TEST(run_loop_bell, fails_if_stop_rings_before_it_has_stopped) {
  auto const result = explore({.pushers = 0, .stops = true, .stops_before_it_rings = false});
  EXPECT_TRUE(result.fails_with("although it was stopped")) << result;
}

TEST(run_loop_bell, fails_if_the_end_of_a_task_rings_before_it_is_done) {
  auto const result = explore({.pushers = 0, .ends_task = true, .done_before_it_rings = false});
  EXPECT_TRUE(result.fails_with("although the task has ended")) << result;
}

TEST(run_loop_bell, fails_if_run_until_does_not_wait_for_who_tells_it) {
  auto const result = explore({.pushers = 0, .ends_task = true, .waits_for_who_tells = false});
  EXPECT_TRUE(result.fails_with("run_until() is touched after it was freed")) << result;
}

}  // namespace
}  // namespace errand::model
