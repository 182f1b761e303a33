// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The protocol of a queue's word, src/queue/README.md: (Q1) push, (Q2) take, (Q3) leave, (Q4) stall, (Q5) hand over, and its end. Two
// threads push, two workers take what lies in the pool, one calls sync(), one suspends and resumes, the handle goes. No item is lost or
// runs beside another, none begins while the queue is suspended for certain, and the queue is freed once, when nobody can come any more.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  int pushers = 1;
  bool syncs = false;
  bool suspends = false;
  bool looks_as_it_leaves = true;          // (Q3) from a word without items
  bool pusher_schedules = true;            // (Q1)
  bool looks_after_it_promised = true;     // (Q4)
  bool marks_before_it_leaves = false;     // (Q4) the other way round
  bool resumer_looks_for_the_mark = true;  // (Q4)
  bool leaves_what_was_taken = false;      // (Q3) without a look at what it has taken and not run
  bool entry_is_given_up = true;           // (Q2) by who finds it held
  bool open_is_in_the_word = true;         // the end: `open` is looked at together with the rest
};

constexpr int held = 1, entry = 2, open = 4, one_item = 8;
int items(int word) { return word / one_item; }
int bits(int word) { return word % one_item; }

class queue {
 public:
  explicit queue(variation how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    for (int i = 0; i < how_.pushers; ++i) pusher(i);
    for (int i = 0; i < 2; ++i) worker(i);
    if (how_.syncs) caller();
    if (how_.suspends) suspender();
    handle();
    e_.at_the_end([this](view& v) {
      v.check(v.load(ran_) == how_.pushers, "an item is left lying");
      v.check(v.load(queue_) == 0, "the queue is not freed");
    });
    return e_.explore();
  }

 private:
  // One exchange of the word. Its memory must be there.
  template <class F>
  int change(view& v, F f) const {
    v.touch(queue_);
    int const before = v.load(word_);
    v.exchange(word_, f(before));
    return before;
  }

  void schedule(view& v) const {
    v.check(v.load(pool_) == 0, "the queue lies in its pool twice");
    v.add(pool_, 1);
  }

  void free_it(view& v) const { v.free(queue_); }

  void pusher(int number) {
    auto const before = e_.number("what pusher " + std::to_string(number) + " saw");
    auto& p = e_.thread("pusher " + std::to_string(number));
    p.step("pushes (Q1)", [this, before](view& v) {
      v[before] = static_cast<signed char>(
          change(v, [](int w) { return (w + one_item) | ((w & (held | entry)) == 0 ? entry : 0); }));
    });
    p.step("schedules", [this, before](view& v) {
      if ((v[before] & (held | entry)) == 0 && how_.pusher_schedules) schedule(v);
    });
    p.step("lets go of its handle", [this](view& v) { v.add(handles_, -1); });
  }

  // What is done with the queue by who holds it; ends the thread's round.
  void hold(program& p, std::string const& who, variable taken, variable saw, char const* after) {
    auto const* const runs = keep(who + " runs");
    auto const* const leaves = keep(who + " leaves");
    auto const* const stalls = keep(who + " stalls");
    auto const* const marks = keep(who + " marks");
    auto const* const marks_blindly = keep(who + " marks blindly");
    p.label(runs);
    p.step("looks whether it may begin (Q4)", [this, taken, leaves, stalls, marks](view& v) {
      v.touch(queue_);
      if (v[taken] == 0) return v.go_to(leaves);
      if (v.load(control_) % 2 == 1) v.go_to(how_.marks_before_it_leaves ? marks : stalls);
    });
    p.step("begins an item", [this, taken](view& v) {
      v.check(v.load(running_) == 0, "two items run at a time");
      v.exchange(running_, 1);
      v[taken] = static_cast<signed char>(v[taken] - 1);
    });
    p.step("ends it", [this, runs](view& v) {
      v.exchange(running_, 0);
      v.add(ran_, 1);
      v.go_to(runs);
    });
    p.label(leaves);
    p.step("leaves (Q3)", [this, taken, runs, saw, after](view& v) {
      v.touch(queue_);
      int const w = v.load(word_);
      if (items(w) != 0 && how_.looks_as_it_leaves) {
        v[taken] = static_cast<signed char>(v[taken] + items(w));
        v.exchange(word_, bits(w));
        return v.go_to(runs);
      }
      v[saw] = static_cast<signed char>(w & ~held);
      v.exchange(word_, w & ~held);
      if (v[saw] == 0) free_it(v);
      v.go_to(after);
    });
    p.label(stalls);
    p.step("leaves with the promise to come (Q4)", [this, taken, saw, marks_blindly, after](view& v) {
      v.add(ready_, v[taken]);
      v[taken] = 0;
      v[saw] = static_cast<signed char>(change(v, [](int w) { return (w & ~held) | entry; }));
      if ((v[saw] & entry) != 0 || how_.marks_before_it_leaves) return v.go_to(after);
      if (!how_.looks_after_it_promised) v.go_to(marks_blindly);
    });
    p.step("marks, if it still is forbidden", [this, after](view& v) {
      v.touch(queue_);
      int const c = v.load(control_);
      if (c % 2 == 1)
        v.exchange(control_, c | 2);
      else
        schedule(v);
      v.go_to(after);
    });
    p.label(marks_blindly);
    p.step("marks", [this, after](view& v) {
      v.set_bits(control_, 2);
      v.go_to(after);
    });
    p.label(marks);
    p.step("marks before it leaves", [this, runs, stalls](view& v) {
      int const c = v.load(control_);
      if (c % 2 == 0) return v.go_to(runs);
      v.exchange(control_, c | 2);
      v.go_to(stalls);
    });
  }

  void worker(int number) {
    auto const who = keep("worker " + std::to_string(number));
    auto const taken = e_.number(std::string{who} + " has taken");
    auto const saw = e_.number("what " + std::string{who} + " saw");
    auto& p = e_.thread(who);
    auto const* const again = keep(std::string{who} + " looks");
    p.label(again);
    p.rest("takes the entry from the pool", [this](view& v) {
      v.await(v.load(pool_) != 0);
      v.add(pool_, -1);
    });
    p.step("takes the queue, if nobody holds it (Q2)", [this, saw, taken, again](view& v) {
      v[saw] = static_cast<signed char>(change(v, [this](int w) {
        if ((w & held) != 0) return how_.entry_is_given_up ? w & ~entry : w;
        return (w & open) | held;
      }));
      if ((v[saw] & held) != 0) return v.go_to(again);
      v[taken] = static_cast<signed char>(items(v[saw]) + v.exchange(ready_, 0));
    });
    hold(p, who, taken, saw, again);
  }

  // sync() by a thread that takes a queue which nobody holds, also one that lies in its pool, runs what is its own, and leaves the rest
  // to others. It has a handle.
  void caller() {
    auto const saw = e_.number("what the caller saw");
    auto const taken = e_.number("caller has taken");
    auto& p = e_.thread("caller");
    p.step("takes the queue if nobody holds it (Q2)", [this, saw, taken](view& v) {
      v.touch(queue_);
      int const w = v.load(word_);
      if ((w & held) != 0 || v.load(control_) % 2 == 1) return v.go_to("gone");
      v[saw] = static_cast<signed char>(w);
      v.exchange(word_, (bits(w) & (open | entry)) | held);
      v[taken] = static_cast<signed char>(items(w) + v.exchange(ready_, 0));
    });
    p.step("begins", [this](view& v) {
      v.check(v.load(running_) == 0, "two items run at a time");
      v.exchange(running_, 1);
    });
    p.step("ends", [this](view& v) { v.exchange(running_, 0); });
    p.step("leaves, to others if there is something (Q3)", [this, saw, taken](view& v) {
      bool const more = v[taken] != 0 && !how_.leaves_what_was_taken;
      v.add(ready_, v[taken]);
      v[saw] = static_cast<signed char>(change(v, [more](int w) {
        bool const something = more || items(w) != 0;
        return (w & ~held) | (something ? entry : 0);
      }));
      v[taken] = (more || items(v[saw]) != 0) && (v[saw] & entry) == 0 ? 1 : 0;
    });
    p.step("schedules", [this, taken](view& v) {
      if (v[taken] != 0) schedule(v);
    });
    p.label("gone").step("lets go of its handle", [this](view& v) { v.add(handles_, -1); });
  }

  void suspender() {
    auto const saw = e_.number("what the suspender saw");
    auto& p = e_.thread("suspender");
    p.step("suspends", [this](view& v) { v.set_bits(control_, 1); });
    p.step("resumes (Q4)", [this, saw](view& v) {
      v.touch(queue_);
      v[saw] = static_cast<signed char>(v.load(control_));
      v.exchange(control_, 0);
    });
    p.step("schedules what has stalled", [this, saw](view& v) {
      if ((v[saw] & 2) != 0 && how_.resumer_looks_for_the_mark) schedule(v);
    });
    p.step("lets go of its handle", [this](view& v) { v.add(handles_, -1); });
  }

  // The last handle goes.
  void handle() {
    auto const saw = e_.number("what the last handle saw");
    auto& p = e_.thread("handle");
    p.step("is the last", [this](view& v) { v.await(v.load(handles_) == 0); });
    if (how_.open_is_in_the_word) {
      p.step("takes `open` away, and sees whether that was all", [this](view& v) {
        if (change(v, [](int w) { return w & ~open; }) == open) free_it(v);
      });
    } else {
      p.step("takes `open` away",
             [this, saw](view& v) { v[saw] = static_cast<signed char>(change(v, [](int w) { return w & ~open; })); });
      p.step("looks whether that was all", [this](view& v) {
        v.touch(queue_);
        if (v.load(word_) == 0) free_it(v);
      });
    }
  }

  char const* keep(std::string text) const {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return kept_.back()->c_str();
  }

  variation how_;
  explorer e_;
  mutable std::vector<std::unique_ptr<std::string>> kept_{};
  variable queue_ = e_.object("queue");
  variable word_ = e_.number("word", open), control_ = e_.number("control"), ready_ = e_.number("ready"),
           pool_ = e_.number("pool");
  variable running_ = e_.number("running"), ran_ = e_.number("ran");
  variable handles_ = e_.number("handles", how_.pushers + (how_.syncs ? 1 : 0) + (how_.suspends ? 1 : 0));
};

verdict explore(variation how) { return queue{how}.explore(); }
constexpr auto lying = "an item is left lying";

TEST(queue_word, loses_nothing_and_runs_one_at_a_time) {
  for (auto const& how : {variation{.pushers = 3}, variation{.pushers = 2, .syncs = true},
                          variation{.pushers = 2, .suspends = true}, variation{.syncs = true, .suspends = true}}) {
    auto const result = explore(how);
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 500U);
  }
}

TEST(queue_word, fails_if_the_pusher_does_not_schedule_an_idle_queue) {
  auto const result = explore({.pusher_schedules = false});
  EXPECT_TRUE(result.fails_with(lying)) << result;
}

TEST(queue_word, fails_if_the_holder_leaves_without_a_look_at_what_came) {
  auto const result = explore({.pushers = 2, .looks_as_it_leaves = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(queue_word, fails_if_who_comes_from_sync_leaves_what_came_meanwhile) {
  auto const result = explore({.pushers = 2, .syncs = true, .leaves_what_was_taken = true});
  EXPECT_TRUE(result.fails_with(lying)) << result;
}

TEST(queue_word, fails_if_a_stalled_holder_does_not_look_again_after_it_has_promised) {
  auto const result = explore({.suspends = true, .looks_after_it_promised = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(queue_word, fails_if_a_holder_marks_that_it_stalls_before_it_leaves) {
  auto const result = explore({.suspends = true, .marks_before_it_leaves = true});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(queue_word, fails_if_who_resumes_does_not_look_for_the_mark) {
  auto const result = explore({.suspends = true, .resumer_looks_for_the_mark = false});
  EXPECT_TRUE(result.fails_with(lying)) << result;
}

TEST(queue_word, fails_if_an_entry_that_finds_the_queue_held_stays_promised) {
  auto const result = explore({.pushers = 2, .syncs = true, .entry_is_given_up = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(queue_word, fails_if_the_last_handle_looks_at_the_rest_in_a_second_step) {
  auto const result = explore({.pushers = 1, .open_is_in_the_word = false});
  EXPECT_FALSE(result.holds()) << result;
}

}  // namespace
}  // namespace errand::model
