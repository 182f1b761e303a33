// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "Each record is freed exactly once" of src/task/README.md: its holder, the worker that takes its entry from a queue, its
// own end, and the children that still follow their pointer to it. Every change of the word is one step here as there;
// what is asked is who acts on which answer.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

constexpr int done = 1, handle = 2, queued = 4, detached = 8, pin = 16;  // eight bits: the count is modulo 16

[[nodiscard]] bool unreferenced(int word) { return (word & 0xff & ~detached) == done; }

// ---- one task: its holder and the worker that finds it in a queue -------------------------------------------------

enum class holder { drops, detaches, runs_it_in_place };

struct variation {
  holder does = holder::drops;
  bool looks_at_the_answer = true;  // who drops a reference decides by the word that this very step has made
  bool stale_entry_counts = true;   // the queue's entry is a reference
  bool detached_task_inherits_handle = true;
  bool begins_once = true;  // begun is tested and set in one step
  bool alone_without_pins = true;  // a detached task is alone only if nobody has a pin
};

class one_task {
 public:
  explicit one_task(variation how) : how_{how} {}

  verdict explore() {
    worker();
    owner();
    stopper();
    e_.at_the_end([this](view& v) {
      v.check(v[record_] == 0, "the record is never freed");
      v.check(v[listed_] == 0, "the list of detached tasks still has it");
    });
    return e_.explore();
  }

 private:
  void let_go(program& p, int reference) {
    if (how_.looks_at_the_answer) {
      p.step("lets go of its reference (R1)", [this, reference](view& v) {
        v.touch(record_);
        if (unreferenced(v.clear_bits(word_, reference) & ~reference)) v.free(record_);
      });
      return;
    }
    p.step("looks who else refers to it", [this, reference](view& v) {
      v.touch(record_);
      if (!unreferenced(v.load(word_) & ~reference)) return;
      v.free(record_);
      v.end();
    });
    p.step("lets go of its reference", [this, reference](view& v) {
      v.touch(record_);
      v.clear_bits(word_, reference);
    });
  }

  // To be followed by what is done where it cannot be begun any more.
  void begin(program& p, int given_up, char const* else_go_to) {
    p.step("looks whether somebody has begun it", [this, else_go_to](view& v) {
      v.touch(record_);
      if (v.load(begun_) != 0) v.go_to(else_go_to);
    });
    p.step("begins it (B1)", [this, given_up, else_go_to](view& v) {
      v.touch(record_);
      if (v.exchange(begun_, 1) != 0 && how_.begins_once) return v.go_to(else_go_to);
      v.clear_bits(word_, given_up);
    });
    p.step("runs it, or drops it unrun", [this](view& v) {
      v.touch(record_);
      v.check(v.exchange(ended_, 1) == 0, "the task is run twice");
    });
  }

  void complete(program& p, std::string const& name) {
    p.step("looks whether it is detached and alone (R1)", [this, name](view& v) {
      v.touch(record_);
      int const seen = how_.alone_without_pins ? v.load(word_) : v.load(word_) % pin;
      bool const alone = seen == (handle | detached) && how_.detached_task_inherits_handle;
      if (!alone) v.go_to(("others refer to it, " + name).c_str());
    });
    leave_the_list(p);
    p.step("frees it", [this, name](view& v) {
      v.free(record_);
      v.go_to(("completed by " + name).c_str());
    });
    p.label("others refer to it, " + name);
    auto const after = e_.number(name + "'s answer");
    p.step("sets done (C1)", [this, after](view& v) {
      v.touch(record_);
      v[after] = static_cast<signed char>(v.set_bits(word_, done) | done);
    });
    p.step("frees it if nobody refers to it", [this, after, name](view& v) {
      if ((v[after] & detached) != 0) return;
      if (unreferenced(v[after])) v.free(record_);
      v.go_to(("completed by " + name).c_str());
    });
    leave_the_list(p);
    if (how_.detached_task_inherits_handle) let_go(p, handle);
    p.label("completed by " + name);
  }

  void leave_the_list(program& p) {
    p.step("takes it from the list of detached tasks", [this](view& v) {
      v.check(v[record_] == 1, "the list is told of a record that is gone");
      v.exchange(listed_, 0);
    });
  }

  // It has come across it before, and pinned it.
  void stopper() {
    auto& p = e_.thread("stopper");
    p.step("looks at it", [this](view& v) { v.touch(record_); });
    p.step("unpins it (R1)", [this](view& v) {
      v.touch(record_);
      if (unreferenced(v.add(word_, -pin) - pin)) v.free(record_);
    });
  }

  void worker() {
    auto& p = e_.thread("worker");
    begin(p, queued, "stale");
    complete(p, "worker");
    p.step("goes on", [](view& v) { v.end(); });
    p.label("stale");
    if (how_.stale_entry_counts) let_go(p, queued);
    p.step("goes on", [](view& v) { v.end(); });
  }

  void owner() {
    auto& p = e_.thread("holder");
    if (how_.does == holder::detaches) {
      p.step("enters it into the list of detached tasks", [this](view& v) { v.exchange(listed_, 1); });
      p.step("sets detached", [this](view& v) {
        v.touch(record_);
        if ((v.set_bits(word_, detached) & done) == 0) v.go_to("not done");
      });
      leave_the_list(p);
      let_go(p, handle);
      p.step("goes on", [](view& v) { v.end(); });
      p.label("not done");
      if (!how_.detached_task_inherits_handle) let_go(p, handle);
      p.step("goes on", [](view& v) { v.end(); });
      return;
    }
    begin(p, 0, "begun elsewhere");
    complete(p, "holder");
    p.label("begun elsewhere").step("waits until it is done", [this](view& v) {
      v.touch(record_);
      v.await((v.load(word_) & done) != 0);
    });
    // Nobody else refers to it, and nobody can come to: no read-modify-write is needed.
    p.step("frees it if it is alone", [this](view& v) {
      v.touch(record_);
      int const seen = how_.stale_entry_counts ? v.load(word_) : v.load(word_) & ~queued;
      if (seen != (handle | done)) return;
      v.free(record_);
      v.end();
    });
    let_go(p, handle);
  }

  variation how_;
  explorer e_{memory::store_buffers};
  variable record_ = e_.object("the record"), word_ = e_.number("word", handle | queued | pin), begun_ = e_.number("begun"),
           ended_ = e_.number("ended"), listed_ = e_.number("listed");
};

verdict explore(variation how) { return one_task{how}.explore(); }

TEST(references_model, a_record_is_freed_once_whatever_its_holder_does) {
  for (auto const does : {holder::drops, holder::detaches, holder::runs_it_in_place}) {
    auto const result = explore({.does = does});
    EXPECT_TRUE(result.holds()) << result;
  }
}

TEST(references_model, fails_if_two_look_before_they_let_go) {
  EXPECT_FALSE(explore({.looks_at_the_answer = false}).holds());
}

TEST(references_model, fails_if_the_handle_is_released_without_a_look_at_the_queues_entry) {
  auto const result = explore({.does = holder::runs_it_in_place, .stale_entry_counts = false});
  EXPECT_TRUE(result.fails_with("the record is touched after it was freed")) << result;
}

TEST(references_model, fails_if_detach_releases_the_handle_at_once) {
  auto const result = explore({.does = holder::detaches, .detached_task_inherits_handle = false});
  EXPECT_TRUE(result.fails_with("the list is told of a record that is gone")) << result;
}

TEST(references_model, fails_if_a_detached_task_that_somebody_has_pinned_counts_as_alone) {
  auto const result = explore({.does = holder::detaches, .alone_without_pins = false});
  EXPECT_TRUE(result.fails_with("the record is touched after it was freed")) << result;
}

TEST(references_model, fails_if_a_task_may_be_begun_by_two) {
  auto const result = explore({.begins_once = false});
  EXPECT_TRUE(result.fails_with("the task is run twice")) << result;
}

// ---- parents: two children that end before or after them ----------------------------------------------------------

struct family {
  bool owes_with_done = true;  // the children's share of the count comes in the step that sets done
  bool owes = true;
  bool detaches_one = false;
  bool leaves_if_unbegun = true;  // a child that is detached gives up its share only if it had not begun
};

verdict explore(family how) {
  explorer e{memory::store_buffers};
  auto const parent = e.object("the parent"), word = e.number("word", handle), started = e.number("started");
  constexpr int children = 2;
  constexpr int begun = 1, given_up = 2;
  auto const first = e.number("the first child's word"), owed = e.number("owed");

  auto& own = e.thread("parent");
  for (int c = 0; c < children; ++c)
    own.step("starts a child", [=](view& v) {
      v.exchange(started, v.load(started) + 1);
      v[owed] = static_cast<signed char>(v[owed] + (how.owes ? pin : 0));
    });
  if (how.detaches_one)
    own.step("detaches the first", [=](view& v) {
      bool const had_begun = (v.set_bits(first, given_up) & begun) != 0;
      if (!had_begun || !how.leaves_if_unbegun) v[owed] = static_cast<signed char>(v[owed] - pin);
    });
  own.step("sets done (C1)", [=](view& v) {
    int const change = done + (how.owes_with_done ? v[owed] : 0);
    if (unreferenced(v.add(word, change) + change)) v.free(parent);
  });
  if (!how.owes_with_done)
    own.step("adds the children's share", [=](view& v) {
      v.touch(parent);
      v.add(word, v[owed]);
    });

  e.thread("holder")
      .step("waits until it is done", [=](view& v) { v.await((v.load(word) & done) != 0); })
      .step("lets go of the handle (R1)", [=](view& v) {
        v.touch(parent);
        if (unreferenced(v.clear_bits(word, handle) & ~handle)) v.free(parent);
      });

  for (int c = 0; c < children; ++c) {
    auto& p = e.thread("child " + std::to_string(c));
    p.step("waits until it is started", [=](view& v) { v.await(v.load(started) > c); });
    if (c == 0)
      p.step("begins (B1)", [=](view& v) {
        if ((v.set_bits(first, begun) & given_up) != 0) v.go_to("has no parent");
      });
    p.step("looks whether its parent was stopped", [=](view& v) { v.touch(parent); });
    p.step("ends: lets go of its parent (R1)", [=](view& v) {
      v.touch(parent);
      if (unreferenced(v.add(word, -pin) - pin)) v.free(parent);
    });
    p.label("has no parent");
  }

  e.at_the_end([=](view& v) { v.check(v[parent] == 0, "the parent is never freed"); });
  return e.explore();
}

TEST(references_model, a_parent_stays_as_long_as_its_children_and_no_longer) {
  auto const result = explore(family{});
  EXPECT_TRUE(result.holds()) << result;
}

TEST(references_model, a_child_that_is_detached_before_it_begins_leaves_its_parent) {
  auto const result = explore(family{.detaches_one = true});
  EXPECT_TRUE(result.holds()) << result;
}

TEST(references_model, fails_if_a_child_leaves_its_parent_when_it_has_begun) {
  auto const result = explore(family{.detaches_one = true, .leaves_if_unbegun = false});
  EXPECT_TRUE(result.fails_with("the parent is touched after it was freed")) << result;
}

TEST(references_model, fails_if_the_childrens_share_is_not_counted) {
  EXPECT_FALSE(explore(family{.owes = false}).holds());
}

TEST(references_model, fails_if_the_childrens_share_comes_after_done) {
  EXPECT_FALSE(explore(family{.owes_with_done = false}).holds());
}

}  // namespace
}  // namespace errand::model
