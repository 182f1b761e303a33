// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The sleep protocol of src/sched/README.md: no worker sleeps for good while there is work that nobody is about to look at.
// A worker that pushes, two that look for work. Each that finds an entry runs it for ever: what is left is for another.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::store_buffers;
  order push = order::seq_cst;          // (P1)
  bool looks_again = true;              // (P2)
  bool counted_before_it_looks = true;  // (P2)
  bool hands_on = true;                 // (P3)
  bool takes_back = false;              // the pusher pops what it pushed, and pushes it back
  bool yields = false;                  // the pusher takes the oldest for itself, and pushes what it ran so far
  bool tells_again = true;              // after either
};

constexpr int one_sleeping = 1, one_searching = 16;
int sleeping(int idle) { return idle % one_searching; }
int searching(int idle) { return idle / one_searching; }

class pool {
 public:
  explicit pool(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    worker(0);
    worker(1);
    pusher();
    e_.at_the_end([this](view& v) {
      v.check(v.load(top_) >= v.load(bottom_) || sleeping(v.load(idle_)) == 0, "a worker sleeps while work lies there");
    });
    return e_.explore();
  }

 private:
  [[nodiscard]] bool has_work(view& v) const { return v.load(top_) < v.load(bottom_); }

  // Under sleep_guard_: chooses a sleeper, if there still is one and nobody searches. Its waking is one step with it.
  void wake_one(view& v) const {
    if (searching(v.load(idle_)) != 0) return;
    for (int w = 0; w < 2; ++w) {
      if (v[listed_[w]] == 0) continue;
      v[listed_[w]] = 0;
      v.add(idle_, one_searching - one_sleeping);
      v.exchange(woken_[w], 1);
      return;
    }
  }

  // (P1): the look at who sleeps, and what follows from it.
  void add_notify(program& p, variable seen) {
    p.step("looks at idle", [this, seen](view& v) {
       v[seen] = static_cast<signed char>(v.load(idle_));
       if (sleeping(v[seen]) == 0 || searching(v[seen]) != 0) v[seen] = 0;
     }).step("wakes a sleeper if need be", [this, seen](view& v) {
      if (v[seen] != 0) wake_one(v);
    });
  }

  void pusher() {
    auto const seen = e_.number("what the pusher saw");
    auto& p = e_.thread("pusher");
    for (int entry = 1; entry <= 2; ++entry) {
      p.step("pushes", [this, entry](view& v) { v.store(bottom_, entry, how_.push); });
      add_notify(p, seen);
    }
    if (how_.yields) {
      p.step("takes the oldest", [this](view& v) {
         if (!has_work(v)) return v.end();
         v.add(top_, 1);
       }).step("pushes what has yielded", [this](view& v) { v.store(bottom_, 3, how_.push); });
      if (how_.tells_again) add_notify(p, seen);
    }
    if (!how_.takes_back) return;
    p.step("pops", [this](view& v) {
      if (v.load(top_) >= 2) return v.end();
      v.exchange(bottom_, 1);
    });
    p.step("pushes back", [this](view& v) { v.exchange(bottom_, 2); });
    if (how_.tells_again) add_notify(p, seen);
  }

  void worker(int w) {
    auto const name = "worker " + std::to_string(w);
    auto const seen = e_.number("what " + name + " saw");
    auto const searches = e_.number(name + " searches");
    woken_[w] = e_.number(name + " is woken");
    listed_[w] = e_.number(name + " is listed");
    auto const counted = [this, w, searches](view& v) {
      v[listed_[w]] = 1;
      v.exchange(woken_[w], 0);
      v.add(idle_, one_sleeping - (v[searches] != 0 ? one_searching : 0));
      v[searches] = 0;
    };
    auto& p = e_.thread(name);
    p.step("begins to search, if not half of them do", [this, searches](view& v) {
      auto const idle = v.load(idle_);
      if (2 * searching(idle) >= 2) return;
      v.compare_exchange(idle_, idle, idle + one_searching);
      v[searches] = 1;
    });
    p.label("search").step("takes an entry", [this](view& v) {
      if (!has_work(v)) return v.go_to("nothing");
      v.add(top_, 1);
    });
    p.step("searches no more", [this, searches](view& v) {
      if (v[searches] == 0) return v.end();
      auto const before = v.add(idle_, -one_searching);
      if (!how_.hands_on || searching(before) != 1 || sleeping(before) == 0) v.end();
    });
    p.step("looks at the queues (P3)", [this](view& v) {
      if (!has_work(v)) v.end();
    });
    add_notify(p, seen);
    p.step("runs what it has taken", [](view& v) { v.end(); });

    p.label("nothing");
    if (how_.counted_before_it_looks) p.step("is counted asleep", counted);
    p.step("looks at the queues (P2)", [this](view& v) {
      if (!how_.looks_again || !has_work(v)) v.go_to("sleeps");
    });
    p.step("leaves the list, unless it was chosen", [this, w, searches](view& v) {
      if (!how_.counted_before_it_looks) return v.go_to("search");
      if (v[listed_[w]] == 0) return v.go_to("sleeps");
      v[listed_[w]] = 0;
      v.add(idle_, one_searching - one_sleeping);
      v[searches] = 1;
      v.go_to("search");
    });
    p.label("sleeps");
    if (!how_.counted_before_it_looks) p.step("is counted asleep", counted);
    p.rest("sleeps until woken", [this, w, searches](view& v) {
      v.await(v.load(woken_[w]) == 1);
      v[searches] = 1;
      v.go_to("search");
    });
  }

  variation how_;
  explorer e_;
  variable top_ = e_.number("top"), bottom_ = e_.number("bottom"), idle_ = e_.number("idle");
  variable woken_[2]{}, listed_[2]{};
};

verdict explore(variation how) { return pool{how}.explore(); }
constexpr auto left_lying = "a worker sleeps while work lies there";

TEST(sleep_protocol, leaves_no_work_lying) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 1000U);
  }
}

TEST(sleep_protocol, fails_if_a_worker_that_is_counted_asleep_does_not_look_again) {
  auto const result = explore({.kind = memory::sequential, .looks_again = false});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

TEST(sleep_protocol, fails_if_a_worker_looks_before_it_is_counted_asleep) {
  auto const result = explore({.kind = memory::sequential, .counted_before_it_looks = false});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

TEST(sleep_protocol, fails_if_a_push_is_not_visible_before_the_look_at_who_sleeps) {
  EXPECT_TRUE(explore({.kind = memory::sequential, .push = order::release}).holds());
  auto const result = explore({.push = order::release});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

TEST(sleep_protocol, fails_if_the_last_searcher_does_not_hand_on) {
  auto const result = explore({.kind = memory::sequential, .hands_on = false});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

TEST(sleep_protocol, fails_if_an_entry_is_taken_back_and_pushed_again_in_silence) {
  EXPECT_TRUE(explore({.takes_back = true}).holds());
  auto const result = explore({.takes_back = true, .tells_again = false});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

TEST(sleep_protocol, leaves_nobody_lying_who_yields) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind, .yields = true});
    EXPECT_TRUE(result.holds()) << result;
  }
}

TEST(sleep_protocol, fails_if_a_worker_pushes_what_has_yielded_in_silence) {
  auto const result = explore({.yields = true, .tells_again = false});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

TEST(sleep_protocol, fails_if_what_has_yielded_is_not_visible_before_the_look_at_who_sleeps) {
  auto const result = explore({.push = order::release, .yields = true});
  EXPECT_TRUE(result.fails_with(left_lying)) << result;
}

}  // namespace
}  // namespace errand::model
