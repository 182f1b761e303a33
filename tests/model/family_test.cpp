// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "The family tree" of src/task/README.md: a task and its child both link the task to its parent, while the parent is
// stopped and while they end. Each is linked once, a stop reaches both, and nobody finds a record in a list that is gone.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  bool waits_for_stop = false;        // task and child go on until they are stopped, and the task joins its child
  bool task_links = true;             // the task comes to a point of cancellation itself
  bool looks_at_kin_again = true;     // under the parent's lock
  bool keeps_lower_lock = true;       // while it goes up
  bool looks_at_parents_stop = true;  // as it links
  bool passes_stop_on = true;         // who links the task to a stopped parent tells those below
  bool stop_bit_first = true;         // (S1) before the stopper looks at the list
  bool leaves_before_done = true;     // a task leaves its parent's list before it is done
};

// The parent P, which does not end; the task S; its child D.
class family {
 public:
  explicit family(variation how) : how_{how} {}

  verdict explore() {
    task();
    child();
    stopper();
    e_.at_the_end([this](view& v) {
      v.check(v[task_] == 0 && v[child_] == 0, "a record is never freed");
      v.check(v[task_listed_] == 0, "the parent still lists the task");
    });
    return e_.explore();
  }

 private:
  void lock(program& p, char const* whose, variable which, variable record) const {
    p.step(std::string{"locks "} + whose + " (K1)", [which, record](view& v) {
      v.touch(record);
      v.await(v.load(which) == 0);
      v.exchange(which, 1);
    });
  }
  void unlock(program& p, char const* whose, variable which) const {
    p.step(std::string{"unlocks "} + whose + " (K2)", [which](view& v) { v.exchange(which, 0); });
  }
  void let_go_of_task(program& p) const {
    p.step("lets go of the task (R1)", [this](view& v) {
      if (v.add(references_, -1) == 1) v.free(task_);
    });
  }

  // With the parent's lock held: enters the task into its list.
  void insert_task(program& p, variable has_to_tell) const {
    p.step("lists the task, unless it is", [this](view& v) {
      if (how_.looks_at_kin_again && v.load(task_kin_) != 0) return;
      v.exchange(task_kin_, 1);
      v.check(v.add(task_listed_, 1) == 0, "the task is listed twice");
    });
    p.step("looks at the parent's stop (S1)", [this, has_to_tell](view& v) {
      if (how_.looks_at_parents_stop && v.load(parent_stop_) != 0) v[has_to_tell] = v.exchange(task_stop_, 1) == 0;
    });
  }

  // The task carries its stop: its child hears of it.
  void tell_task(program& p) const {
    lock(p, "the task", task_lock_, task_);
    p.step("stops the child if it is listed (S1)", [this](view& v) {
      if (v.load(child_listed_) == 0) return;
      v.touch(child_);
      v.exchange(child_stop_, 1);
    });
    unlock(p, "the task", task_lock_);
  }

  // If the thread has set the task's stop bit. Ends at the label.
  void tell_if_need_be(program& p, variable has_to_tell, char const* label) const {
    p.step("looks whether it has set the task's stop", [this, has_to_tell, label](view& v) {
      if (!how_.passes_stop_on || v[has_to_tell] == 0) v.go_to(label);
    });
    tell_task(p);
    p.label(label);
  }

  void task() {
    auto const has_to_tell = e_.number("task has to tell"), unlinked = e_.number("task is unlinked");
    auto& p = e_.thread("task");
    p.step("looks whether it is linked", [this](view& v) {
      if (!how_.task_links || v.load(task_kin_) != 0) v.go_to("linked");
    });
    lock(p, "the parent", parent_lock_, parent_);
    insert_task(p, has_to_tell);
    unlock(p, "the parent", parent_lock_);
    tell_if_need_be(p, has_to_tell, "linked");
    if (how_.waits_for_stop) {
      p.step("waits until it is stopped", [this](view& v) { v.await(v.load(task_stop_) == 1); });
      p.step("joins its child", [this](view& v) { v.await(v[child_] == 0); });
    }
    p.label("ends").step("is done, if it is not locked and not listed (C1)", [this, unlinked](view& v) {
      v.await(v.load(task_lock_) == 0);
      if (how_.leaves_before_done && v.load(task_kin_) != 0 && v[unlinked] == 0) return;
      v.exchange(task_done_, 1);
      v.exchange(child_listed_, 0);
      if (v.add(references_, -1) == 1) v.free(task_);
      if (how_.leaves_before_done || v.load(task_kin_) == 0) v.end();
    });
    lock(p, "the parent", parent_lock_, parent_);
    p.step("leaves its list", [this, unlinked](view& v) {
      v.touch(task_);
      v.exchange(task_listed_, 0);
      v[unlinked] = 1;
    });
    p.step("unlocks the parent (K2)", [this](view& v) {
      v.exchange(parent_lock_, 0);
      if (how_.leaves_before_done) v.go_to("ends");
    });
  }

  void child() {
    auto const has_to_tell = e_.number("child has to tell");
    auto& p = e_.thread("child");
    lock(p, "the task", task_lock_, task_);
    p.step("is listed, unless the task is done", [this](view& v) {
      if (v.load(task_done_) == 0) v.exchange(child_listed_, 1);
    });
    p.step("looks at the task's stop, and goes up unless that is done or linked", [this](view& v) {
      bool const ended = v.load(task_done_) != 0;
      if (!ended && how_.looks_at_parents_stop && v.load(task_stop_) != 0) v.exchange(child_stop_, 1);
      if (ended || v.load(task_kin_) != 0) v.go_to("goes no further");
    });
    if (!how_.keeps_lower_lock) unlock(p, "the task", task_lock_);
    lock(p, "the parent", parent_lock_, parent_);
    insert_task(p, has_to_tell);
    if (how_.keeps_lower_lock) unlock(p, "the task", task_lock_);
    unlock(p, "the parent", parent_lock_);
    tell_if_need_be(p, has_to_tell, "told");
    p.step("is linked", [](view& v) { v.go_to("linked"); });
    p.label("goes no further");
    unlock(p, "the task", task_lock_);
    p.label("linked");
    if (how_.waits_for_stop)
      p.step("waits until it is stopped", [this](view& v) { v.await(v.load(child_stop_) == 1); });
    lock(p, "the task", task_lock_, task_);
    p.step("leaves its list", [this](view& v) { v.exchange(child_listed_, 0); });
    unlock(p, "the task", task_lock_);
    p.step("ends", [this](view& v) { v.free(child_); });
    let_go_of_task(p);
  }

  void stopper() {
    auto const found = e_.number("stopper found");
    auto& p = e_.thread("stopper");
    auto const set_bit = [this](view& v) { v.exchange(parent_stop_, 1); };
    if (how_.stop_bit_first) p.step("sets the parent's stop (S1)", set_bit);
    lock(p, "the parent", parent_lock_, parent_);
    p.step("stops the task if it is listed (S1)", [this, found](view& v) {
      if (v.load(task_listed_) == 0) return;
      v.touch(task_);
      if (v.exchange(task_stop_, 1) != 0) return;
      v.add(references_, 1);
      v[found] = 1;
    });
    unlock(p, "the parent", parent_lock_);
    if (!how_.stop_bit_first) p.step("sets the parent's stop (S1)", set_bit);
    p.step("looks whether there is one to tell", [found](view& v) {
      if (v[found] == 0) v.end();
    });
    tell_task(p);
    let_go_of_task(p);
  }

  variation how_;
  explorer e_{memory::store_buffers};
  variable parent_ = e_.object("the parent"), task_ = e_.object("the task"), child_ = e_.object("the child");
  variable references_ = e_.number("references to the task", 2);  // while it runs, and the child's
  variable parent_lock_ = e_.number("parent's lock"), task_lock_ = e_.number("task's lock"),
           parent_stop_ = e_.number("parent's stop"), task_stop_ = e_.number("task's stop"),
           child_stop_ = e_.number("child's stop"), task_kin_ = e_.number("task's kin"),
           task_listed_ = e_.number("task is listed"), child_listed_ = e_.number("child is listed"),
           task_done_ = e_.number("task is done");
};

verdict explore(variation how) { return family{how}.explore(); }

TEST(family_model, links_each_once_and_loses_none_as_they_end) {
  for (bool const task_links : {true, false}) {
    auto const result = explore({.task_links = task_links});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 500U);
  }
}

TEST(family_model, a_stop_from_above_reaches_all_that_run) {
  for (bool const task_links : {true, false}) {
    auto const result = explore({.waits_for_stop = true, .task_links = task_links});
    EXPECT_TRUE(result.holds()) << result;
  }
}

TEST(family_model, fails_if_the_link_is_not_looked_for_again_under_the_parents_lock) {
  auto const result = explore({.looks_at_kin_again = false});
  EXPECT_TRUE(result.fails_with("the task is listed twice")) << result;
}

TEST(family_model, fails_if_the_lower_lock_is_let_go_on_the_way_up) {
  auto const result = explore({.task_links = false, .keeps_lower_lock = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(family_model, fails_if_a_task_is_done_before_it_has_left_its_parents_list) {
  auto const result = explore({.leaves_before_done = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(family_model, fails_if_who_links_does_not_look_whether_the_parent_was_stopped) {
  auto const result = explore({.waits_for_stop = true, .looks_at_parents_stop = false});
  EXPECT_TRUE(result.fails_with("waits for ever: waits until it is stopped")) << result;
}

TEST(family_model, fails_if_the_stopper_looks_at_the_list_before_it_sets_the_bit) {
  auto const result = explore({.waits_for_stop = true, .stop_bit_first = false});
  EXPECT_TRUE(result.fails_with("waits for ever: waits until it is stopped")) << result;
}

TEST(family_model, fails_if_who_finds_a_stop_above_does_not_pass_it_on) {
  auto const result = explore({.waits_for_stop = true, .passes_stop_on = false});
  EXPECT_FALSE(result.holds()) << result;
}

}  // namespace
}  // namespace errand::model
