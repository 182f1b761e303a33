// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// When the monitor sleeps (src/sched/README.md, "Spares"): never while work lies there that no worker will look at, because
// all of them are in the midst of tasks. A worker that pushes and then blocks, another that looks for work, blocks in what it
// finds, or falls asleep, and the monitor, which is called, looks, and goes back to sleep when it finds nothing.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::store_buffers;
  order push = order::seq_cst;      // (P1)
  bool looks_again = true;          // (P2) the monitor, once it may be called
  bool counted_first = true;        // (P2) it may be called before that look
  bool last_searcher_calls = true;  // (P3)
};

// As in pool_core, but for the widths.
constexpr int one_sleeping = 1, unwatched = 4, one_searching = 16;
int sleeping(int idle) { return idle % unwatched; }
int searching(int idle) { return idle / one_searching; }
bool somebody_to_wake(int idle) { return idle % one_searching != 0; }
bool may_be_called(int idle) { return (idle & unwatched) != 0; }

class watching {
 public:
  explicit watching(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    pusher();
    worker();
    monitor();
    e_.at_the_end([this](view& v) {
      bool const lies_there = v.load(top_) < v.load(bottom_);
      v.check(!lies_there || v[sees_work_] == 1, "the monitor sleeps while work lies there");
    });
    return e_.explore();
  }

 private:
  [[nodiscard]] bool has_work(view& v) const { return v.load(top_) < v.load(bottom_); }

  // (P1), and under sleep_guard_ once more. A waking is one step with the choice.
  void add_notify(program& p, variable seen) {
    p.step("looks at idle", [this, seen](view& v) {
       auto const idle = v.load(idle_);
       v[seen] = somebody_to_wake(idle) && searching(idle) == 0 ? 1 : 0;
     }).step("wakes the sleeper or calls the monitor", [this, seen](view& v) {
      if (v[seen] == 0 || searching(v.load(idle_)) != 0) return;
      if (v[listed_] == 1) {
        v[listed_] = 0;
        v.add(idle_, one_searching - one_sleeping);
        v.exchange(woken_, 1);
      } else if (may_be_called(v.load(idle_))) {
        v.add(idle_, -unwatched);
        v.exchange(called_, 1);
      }
    });
  }

  void pusher() {
    auto const seen = e_.number("what the pusher saw");
    auto& p = e_.thread("pusher");
    for (int entry = 1; entry <= 2; ++entry) {
      p.step("pushes", [this, entry](view& v) { v.store(bottom_, entry, how_.push); });
      add_notify(p, seen);
    }
    p.step("blocks", [](view& v) { v.end(); });
  }

  void worker() {
    auto const seen = e_.number("what the worker saw");
    auto& p = e_.thread("worker");
    p.step("begins to search", [this](view& v) { v.add(idle_, one_searching); });
    p.label("search").step("takes an entry", [this](view& v) {
      if (!has_work(v)) return v.go_to("nothing");
      v.add(top_, 1);
    });
    p.step("searches no more", [this](view& v) {
      auto const before = v.add(idle_, -one_searching);
      bool const calls = how_.last_searcher_calls ? somebody_to_wake(before) : sleeping(before) != 0;
      if (searching(before) != 1 || !calls) v.end();
    });
    p.step("looks at the queues (P3)", [this](view& v) {
      if (!has_work(v)) v.end();
    });
    add_notify(p, seen);
    p.step("blocks in what it has taken", [](view& v) { v.end(); });

    p.label("nothing").step("is counted asleep", [this](view& v) {
      v[listed_] = 1;
      v.exchange(woken_, 0);
      v.add(idle_, one_sleeping - one_searching);
    });
    p.step("looks at the queues (P2)", [this](view& v) {
      if (!has_work(v)) v.go_to("sleeps");
    });
    p.step("leaves the list, unless it was chosen", [this](view& v) {
      if (v[listed_] == 0) return v.go_to("sleeps");
      v[listed_] = 0;
      v.add(idle_, one_searching - one_sleeping);
      v.go_to("search");
    });
    p.label("sleeps").rest("sleeps until woken", [this](view& v) {
      v.await(v.load(woken_) == 1);
      v.go_to("search");
    });
  }

  // Once it has seen work it looks until that is gone; here it has done its part.
  void monitor() {
    auto& p = e_.thread("monitor");
    auto const may_be_called_again = [this](view& v) { v.add(idle_, unwatched); };
    p.label("sleeps").rest("sleeps until called", [this](view& v) {
      v.await(v.load(called_) == 1);
      v.exchange(called_, 0);
    });
    p.label("looks").step("looks at the queues", [this](view& v) {
      if (!has_work(v)) return;
      v[sees_work_] = 1;
      v.end();
    });
    if (how_.counted_first) p.step("may be called again", may_be_called_again);
    p.step("looks at the queues (P2)", [this](view& v) {
      if (!how_.looks_again || !has_work(v)) return;
      v[sees_work_] = 1;
      v.end();
    });
    if (!how_.counted_first) p.step("may be called again", may_be_called_again);
    p.step("stops to watch, unless it was called", [this](view& v) { v.go_to(may_be_called(v.load(idle_)) ? "sleeps" : "looks"); });
  }

  variation how_;
  explorer e_;
  variable top_ = e_.number("top"), bottom_ = e_.number("bottom"), idle_ = e_.number("idle", unwatched);
  variable woken_ = e_.number("the worker is woken"), listed_ = e_.number("the worker is listed");
  variable called_ = e_.number("the monitor is called"), sees_work_ = e_.number("the monitor sees work");
};

verdict explore(variation how) { return watching{how}.explore(); }
constexpr auto sleeps_on = "the monitor sleeps while work lies there";

TEST(monitor, does_not_sleep_while_work_lies_there_and_all_are_in_the_midst_of_tasks) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 100U);
  }
}

TEST(monitor, fails_if_it_does_not_look_again_once_it_may_be_called) {
  auto const result = explore({.kind = memory::sequential, .looks_again = false});
  EXPECT_TRUE(result.fails_with(sleeps_on)) << result;
}

TEST(monitor, fails_if_it_looks_before_it_may_be_called) {
  auto const result = explore({.kind = memory::sequential, .counted_first = false});
  EXPECT_TRUE(result.fails_with(sleeps_on)) << result;
}

TEST(monitor, fails_if_a_push_is_not_visible_before_the_look_whom_to_wake) {
  auto const result = explore({.push = order::release});
  EXPECT_TRUE(result.fails_with(sleeps_on)) << result;
}

TEST(monitor, fails_if_the_last_searcher_does_not_call_it) {
  auto const result = explore({.kind = memory::sequential, .last_searcher_calls = false});
  EXPECT_TRUE(result.fails_with(sleeps_on)) << result;
}

}  // namespace
}  // namespace errand::model
