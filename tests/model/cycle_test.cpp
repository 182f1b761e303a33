// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "Cycles" of src/sched/README.md: two tasks that begin to wait for each other at the same time, and a search that looks
// into the frame of a task that is being woken. One of the two is refused, not both; and nobody looks into a frame that is
// gone.
#include "explorer.hpp"

#include <gtest/gtest.h>

#include <array>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::weak;
  order hooks = order::seq_cst;         // (H1)
  bool hooks_first = true;              // before it looks whether it is awaited itself
  order shows_itself = order::seq_cst;  // (S2)
  bool shows_itself_first = true;       // before it searches
  bool one_search_at_a_time = true;     // the guard
  bool hides = true;                    // what was refused is not to be seen any more
};

/// Two flows of control: each shows that it waits for the other one, then searches.
class closing {
 public:
  explicit closing(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    flow(0);
    flow(1);
    e_.at_the_end([this](view& v) {
      v.check(v.load(refused_[0]) + v.load(refused_[1]) != 0, "both wait for ever");
      v.check(v.load(refused_[0]) + v.load(refused_[1]) != 2, "both are refused");
    });
    return e_.explore();
  }

 private:
  void flow(std::size_t me) {
    std::size_t const other = 1 - me;
    auto& p = e_.thread(me == 0 ? "first" : "second");
    auto const hook = [this, other](view& v) { v.store(awaited_[other], 1, how_.hooks); };
    auto const show = [this, me](view& v) { v.store(shown_[me], 1, how_.shows_itself); };
    if (how_.hooks_first) p.step("hooks itself to the other one (H1)", hook);
    if (how_.shows_itself_first) p.step("shows that it waits (S2)", show);
    p.step("looks whether it is awaited itself (H1)", [this, me](view& v) {
      if (v.load(awaited_[me]) == 0) v.go_to("waits");
    });
    p.step("looks whether the other one waits (S2)", [this, other](view& v) {
      if (v.load(shown_[other]) == 0) v.go_to("waits");
    });
    if (how_.one_search_at_a_time)
      p.step("locks the guard", [this](view& v) {
        v.await(v.load(guard_) == 0);
        v.exchange(guard_, 1);
      });
    p.step("looks once more, and for whom (S2)",
           [this, me, other](view& v) { v[closes_[me]] = static_cast<signed char>(v.load(shown_[other])); })
        .step("refuses its own wait", [this, me](view& v) {
          if (v[closes_[me]] != 0) v.exchange(refused_[me], 1);
        });
    if (how_.hides)
      p.step("hides it", [this, me](view& v) {
        if (v[closes_[me]] != 0) v.exchange(shown_[me], 0);
      });
    p.step("opens the guard", [this](view& v) { v.exchange(guard_, 0); }).label("waits");
    if (!how_.hooks_first) p.step("hooks itself to the other one (H1)", hook);
    if (!how_.shows_itself_first) p.step("shows that it waits (S2)", show);
    p.step("waits, or goes on", [](view&) {});
  }

  variation how_;
  explorer e_;
  variable guard_ = e_.number("guard");
  std::array<variable, 2> awaited_{e_.number("first awaited"), e_.number("second awaited")};
  std::array<variable, 2> shown_{e_.number("first shown"), e_.number("second shown")};
  std::array<variable, 2> refused_{e_.number("first refused"), e_.number("second refused")};
  std::array<variable, 2> closes_{e_.number("first closes"), e_.number("second closes")};
};

verdict explore(variation how) { return closing{how}.explore(); }

TEST(cycle_model, one_of_two_that_close_a_cycle_is_refused_and_only_one) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
  }
}

TEST(cycle_model, fails_if_a_wait_may_be_seen_later_than_it_looks) {
  auto const result = explore({.kind = memory::store_buffers, .shows_itself = order::release});
  EXPECT_TRUE(result.fails_with("both wait for ever")) << result;
}

// The hook comes before the wait is shown, which no earlier store outlasts: so its own order is not what it hangs on here.
TEST(cycle_model, holds_if_only_the_hook_is_weak) {
  auto const result = explore({.kind = memory::weak, .hooks = order::relaxed});
  EXPECT_TRUE(result.holds()) << result;
}

TEST(cycle_model, fails_if_it_looks_before_it_hooks) {
  auto const result = explore({.kind = memory::sequential, .hooks_first = false});
  EXPECT_TRUE(result.fails_with("both wait for ever")) << result;
}

TEST(cycle_model, fails_if_a_wait_is_shown_after_the_search) {
  auto const result = explore({.kind = memory::sequential, .shows_itself_first = false});
  EXPECT_TRUE(result.fails_with("both wait for ever")) << result;
}

TEST(cycle_model, fails_if_two_search_at_a_time) {
  auto const result = explore({.kind = memory::sequential, .one_search_at_a_time = false});
  EXPECT_TRUE(result.fails_with("both are refused")) << result;
}

TEST(cycle_model, fails_if_a_refused_wait_is_still_to_be_seen) {
  auto const result = explore({.kind = memory::sequential, .hides = false});
  EXPECT_TRUE(result.fails_with("both are refused")) << result;
}

struct looking {
  memory kind = memory::weak;
  order says_that_it_searches = order::seq_cst;  // (X1)
  bool says_so_first = true;                     // before it looks who waits
  bool task_looks = true;                        // let_searches_leave()
  bool task_takes_back_first = true;             // before it looks
};

/// A search that follows the wait of a task, which is woken at the same time and leaves the frame.
verdict explore(looking how) {
  explorer e{how.kind};
  auto const frame = e.object("the frame that waits");
  auto const shown = e.number("shown", 1);
  auto const guard = e.number("guard");
  auto const searching = e.number("searching");
  auto const seen = e.number("seen");
  auto const lock = [=](view& v) {
    v.await(v.load(guard) == 0);
    v.exchange(guard, 1);
  };

  auto& s = e.thread("search");
  auto const say = [=](view& v) { v.store(searching, 1, how.says_that_it_searches); };
  s.step("locks the guard", lock);
  if (how.says_so_first) s.step("says that it searches (X1)", say);
  s.step("looks whether the task waits (S2)", [=](view& v) { v[seen] = static_cast<signed char>(v.load(shown)); });
  if (!how.says_so_first) s.step("says that it searches (X1)", say);
  s.step("looks into the frame",
         [=](view& v) {
           if (v[seen] != 0) v.touch(frame);
         })
      .step("has done (X1)", [=](view& v) { v.store(searching, 0, order::release); })
      .step("opens the guard", [=](view& v) { v.exchange(guard, 0); });

  auto& t = e.thread("task");
  auto const take_back = [=](view& v) { v.exchange(shown, 0); };
  if (how.task_takes_back_first) t.step("takes its wait back (S2)", take_back);
  if (how.task_looks)
    t.step("looks whether somebody searches (X1)",
           [=](view& v) {
             if (v.load(searching) == 0) v.go_to("gone");
           })
        .step("locks the guard", lock)
        .step("opens it", [=](view& v) { v.exchange(guard, 0); });
  t.label("gone");
  if (!how.task_takes_back_first) t.step("takes its wait back (S2)", take_back);
  t.step("leaves the frame", [=](view& v) { v.free(frame); });
  return e.explore();
}

constexpr auto touched = "the frame that waits is touched after it was freed";

TEST(cycle_model, nobody_looks_into_a_frame_that_is_gone) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore(looking{.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
  }
}

TEST(cycle_model, fails_if_the_task_does_not_look_for_searches) {
  EXPECT_TRUE(explore(looking{.kind = memory::sequential, .task_looks = false}).fails_with(touched));
}

TEST(cycle_model, fails_if_the_task_looks_before_it_takes_its_wait_back) {
  EXPECT_TRUE(explore(looking{.kind = memory::sequential, .task_takes_back_first = false}).fails_with(touched));
}

TEST(cycle_model, fails_if_the_search_looks_before_it_says_so) {
  EXPECT_TRUE(explore(looking{.kind = memory::sequential, .says_so_first = false}).fails_with(touched));
}

TEST(cycle_model, fails_if_the_search_may_be_seen_later_than_it_looks) {
  auto const result = explore(looking{.kind = memory::store_buffers, .says_that_it_searches = order::release});
  EXPECT_TRUE(result.fails_with(touched)) << result;
}

}  // namespace
}  // namespace errand::model
