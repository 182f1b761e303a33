// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "Detached tasks" of src/task/README.md: who names what is left looks at no task that has gone; and the end of the program is not
// let through while a task is there, nor sleeps when none is.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

// ---- a task that leaves while somebody looks ----------------------------------------------------------------------

struct looking {
  order says = order::seq_cst;      // (M2)
  bool says_before_it_looks = true;
  bool leaver_looks = true;
  bool leaver_waits = true;
  bool leaves_before_it_looks = true;
};

verdict explore(looking how) {
  explorer e{memory::store_buffers};
  auto const task = e.object("the task"), mark = e.number("mark", 1), looked_at = e.number("looked at"), lock = e.number("lock"),
             seen = e.number("seen");

  auto& own = e.thread("task");
  auto const leaves = [=](view& v) { v.clear_bits(mark, 1); };
  if (how.leaves_before_it_looks) own.step("takes its mark away (M2)", leaves);
  own.step("looks whether somebody looks (M2)", [=](view& v) {
    bool const looked = how.leaver_looks && v.load(looked_at) != 0;
    if (!looked) v.go_to("goes");
  });
  if (how.leaver_waits)
    own.step("waits until it has gone on", [=](view& v) {
      v.await(v.load(lock) == 0);
      v.exchange(lock, 1);
    }).step("opens the lock", [=](view& v) { v.exchange(lock, 0); });
  own.label("goes");
  if (!how.leaves_before_it_looks) own.step("takes its mark away (M2)", leaves);
  own.step("goes", [=](view& v) { v.free(task); });

  auto& walker = e.thread("who names");
  walker.step("takes the lock", [=](view& v) {
    v.await(v.load(lock) == 0);
    v.exchange(lock, 1);
  });
  auto const says = [=](view& v) { v.store(looked_at, 1, how.says); };
  auto const sees = [=](view& v) { v[seen] = static_cast<signed char>(v.load(mark)); };
  if (how.says_before_it_looks)
    walker.step("says that it looks (M2)", says).step("sees who is there (M2)", sees);
  else
    walker.step("sees who is there (M2)", sees).step("says that it looks (M2)", says);
  walker.step("names it", [=](view& v) {
    if (v[seen] != 0) v.touch(task);
  });
  walker.step("goes on", [=](view& v) { v.store(looked_at, 0, order::relaxed); });
  walker.step("opens the lock", [=](view& v) { v.exchange(lock, 0); });

  e.at_the_end([=](view& v) { v.check(v[task] == 0, "the task stays for ever"); });
  return e.explore();
}

TEST(detached_model, who_names_what_is_left_looks_at_none_that_has_gone) {
  auto const result = explore(looking{});
  EXPECT_TRUE(result.holds()) << result;
}
TEST(detached_model, fails_if_the_look_is_said_too_late_or_not_seen) {
  constexpr auto gone = "the task is touched after it was freed";
  EXPECT_TRUE(explore(looking{.says = order::release}).fails_with(gone));
  EXPECT_TRUE(explore(looking{.says_before_it_looks = false}).fails_with(gone));
  EXPECT_TRUE(explore(looking{.leaver_looks = false}).fails_with(gone));
  EXPECT_TRUE(explore(looking{.leaver_waits = false}).fails_with(gone));
  EXPECT_TRUE(explore(looking{.leaves_before_it_looks = false}).fails_with(gone));
}

// ---- the end of the program, while one task lets go of another and ends --------------------------------------------

struct draining {
  order awaits = order::seq_cst;  // (J3)
  bool counts_again = true;
  bool tells = true;               // who leaves
  bool leaves_before_it_looks = true;  // (J3)
  bool sleeps_on_what_it_saw_first = true;
};

class drain {
 public:
  explicit drain(draining how) : how_{how} {}

  verdict explore() {
    first_task();
    second_task();
    end_of_program();
    return e_.explore();
  }

 private:
  void leave(program& p, int place, int ended) {
    auto const leaves = [this, place, ended](view& v) {
      v.exchange(there_[place], 0);
      v.add(ended_, ended);
    };
    auto const name = "task " + std::to_string(ended);
    auto const told = e_.number(name + " tells");
    auto const looks = [this, told](view& v) { v[told] = static_cast<signed char>(how_.tells ? v.load(awaited_) : 0); };
    if (how_.leaves_before_it_looks)
      p.step("leaves (M2)", leaves).step("looks whether somebody waits (J3)", looks);
    else
      p.step("looks whether somebody waits (J3)", looks).step("leaves (M2)", leaves);
    p.step("tells", [this, told](view& v) {
      if (v[told] != 0) v.add(changes_, 1);
    });
  }

  void first_task() {
    auto& p = e_.thread("task 1");
    p.step("lets go of the other (M1)", [this](view& v) {
      v.exchange(there_[0], 1);
      v.add(entered_[0], 1);
    });
    leave(p, 1, 1);
  }
  void second_task() {
    auto& p = e_.thread("task 2");
    p.step("waits until it is let go of", [this](view& v) { v.await(v.load(entered_[0]) == 1); });
    leave(p, 0, 2);
  }

  void end_of_program() {
    auto const seen = e_.number("changes seen"), there = e_.number("counted"), ever = e_.number("ever counted"),
               again = e_.number("ever counted again");
    auto& p = e_.thread("the end");
    auto const read_changes = [this, seen](view& v) { v[seen] = static_cast<signed char>(v.load(changes_)); };
    p.label("look").step("says that it waits (J3)", [this](view& v) { v.store(awaited_, 1, how_.awaits); });
    if (how_.sleeps_on_what_it_saw_first) p.step("reads changes", read_changes);
    p.step("begins to count", [there, ever, again](view& v) { v[there] = v[ever] = v[again] = 0; });
    for (int place : {0, 1})
      p.step("counts place " + std::to_string(place) + " (M3)", [this, place, there, ever](view& v) {
        v[there] = static_cast<signed char>(v[there] + v.load(there_[place]));
        v[ever] = static_cast<signed char>(v[ever] + v.load(entered_[place]));
      });
    p.step("sees whether there was one", [this, there](view& v) {
      if (v[there] != 0) v.go_to("sleep");
      if (v[there] == 0 && !how_.counts_again) v.go_to("through");
    });
    for (int place : {0, 1})
      p.step("counts who has entered place " + std::to_string(place) + " (M3)", [this, place, again](view& v) {
        v[again] = static_cast<signed char>(v[again] + v.load(entered_[place]));
      });
    p.step("compares", [ever, again](view& v) { v.go_to(v[ever] == v[again] ? "through" : "look"); });
    p.label("sleep");
    if (!how_.sleeps_on_what_it_saw_first) p.step("reads changes", read_changes);
    p.step("sleeps until there is a change", [this, seen](view& v) {
      v.await(v.load(changes_) != v[seen]);
      v.go_to("look");
    });
    p.label("through").step("goes through", [this](view& v) { v.check(v.load(ended_) == 3, "a task is left behind"); });
  }

  draining how_;
  explorer e_{memory::store_buffers};
  variable there_[2]{e_.number("there 0"), e_.number("there 1", 1)};
  variable entered_[2]{e_.number("entered 0"), e_.number("entered 1", 1)};
  variable ended_ = e_.number("ended"), awaited_ = e_.number("awaited"), changes_ = e_.number("changes");
};

verdict explore(draining how) { return drain{how}.explore(); }

TEST(detached_model, the_program_ends_when_all_have_ended_and_then) {
  auto const result = explore(draining{});
  EXPECT_TRUE(result.holds()) << result;
}
TEST(detached_model, fails_if_it_counts_once) {
  auto const result = explore(draining{.counts_again = false});
  EXPECT_TRUE(result.fails_with("a task is left behind")) << result;
}
TEST(detached_model, fails_if_the_end_can_sleep_when_none_is_left) {
  EXPECT_FALSE(explore(draining{.awaits = order::release}).holds());
  EXPECT_FALSE(explore(draining{.tells = false}).holds());
  EXPECT_FALSE(explore(draining{.leaves_before_it_looks = false}).holds());
  EXPECT_FALSE(explore(draining{.sleeps_on_what_it_saw_first = false}).holds());
}

}  // namespace
}  // namespace errand::model
