// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What others than run() see of a run loop, src/queue/events.md: a toolkit that waits for the descriptor (RL2) or for the hook (RL2,
// RL4), the loop's end while others push (RL3), and its thread in a wait that serves nobody. Two threads push; whoever may run what
// they bring is told of it, and nobody touches the loop after its end.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

// ---- the descriptor and the hook -----------------------------------------------------------------------------------------

enum class by : unsigned char { descriptor, hook };

struct telling {
  by what = by::descriptor;
  bool brings_before_it_looks = true;   // (RL2) the pusher
  bool looks_after_making = true;       // (RL2) descriptor(), on_wake()
  bool ready_before_it_takes = true;    // poll(): the descriptor is emptied, the hook due, and only then the entry taken
  bool empties_at_all = true;           // poll()
  bool calls_by_exchange = true;        // (RL4)
};

class toolkit {
 public:
  explicit toolkit(telling how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    for (int i = 0; i < 2; ++i) pusher("pusher " + std::to_string(i));
    polls();
    e_.at_the_end([this](view& v) {
      v.check(v.load(entry_given_) == 0, "the toolkit waits while an entry lies there");
      v.check(how_.what == by::hook || v.load(told_) == 0, "the descriptor can be read and there is nothing");
    });
    return e_.explore();
  }

 private:
  void tells(program& p, variable there) {
    if (how_.what == by::descriptor) {
      p.step("looks for a descriptor", [this, there](view& v) { v[there] = static_cast<signed char>(v.load(ready_)); });
      p.step("writes it", [this, there](view& v) {
        if (v[there] == 1) v.exchange(told_, 1);
      });
      return;
    }
    p.step("looks whether the hook is due", [this, there](view& v) { v[there] = static_cast<signed char>(v.load(ready_)); });
    p.step("takes that (RL4)", [this, there](view& v) {
      if (v[there] == 0) return;
      if (how_.calls_by_exchange)
        v[there] = static_cast<signed char>(v.exchange(ready_, 0));
      else
        v.store(ready_, 0, order::seq_cst);
    });
    p.step("calls the hook", [this, there](view& v) {
      if (v[there] == 0) return;
      v.check(v.load(told_) == 0, "the hook is called twice");
      v.exchange(told_, 1);
    });
  }

  // Each finds the queue idle: of several pushes only one gives the entry, until it is taken.
  void pusher(std::string const& name) {
    auto const there = e_.number("what " + name + " saw");
    auto& p = e_.thread(name);
    auto const brings = [this](view& v) { v.store(entry_given_, 1, order::seq_cst); };
    if (how_.brings_before_it_looks) p.step("says that the entry is there", brings);
    tells(p, there);
    if (!how_.brings_before_it_looks) p.step("says that the entry is there", brings);
  }

  void polls() {
    auto const saw = e_.number("what the toolkit saw");
    auto& p = e_.thread("toolkit");
    p.step("descriptor() or on_wake() makes it", [this](view& v) { v.store(ready_, 1, order::seq_cst); });
    if (how_.looks_after_making) {
      p.step("looks whether an entry is there (RL2)", [this, saw](view& v) {
        v[saw] = static_cast<signed char>(v.load(entry_given_));
        if (v[saw] == 0) v.go_to("waits");
      });
      tells(p, saw);
    }
    p.label("waits").rest("waits to be told", [this](view& v) {
      v.await(v.load(told_) == 1);
      if (how_.what == by::hook) v.exchange(told_, 0);
    });
    auto const makes_ready = [this](view& v) {
      if (how_.what == by::hook)
        v.store(ready_, 1, order::seq_cst);
      else if (how_.empties_at_all)
        v.exchange(told_, 0);
    };
    if (how_.ready_before_it_takes) p.step("empties the descriptor, makes the hook due", makes_ready);
    p.step("takes the entry and runs the items", [this](view& v) {
      if (v.exchange(entry_given_, 0) == 1) return;
      v.add(in_vain_, 1);
      v.check(v.load(in_vain_) <= 3, "the toolkit polls in vain without end");
    });
    if (!how_.ready_before_it_takes) p.step("empties the descriptor, makes the hook due", makes_ready);
    p.step("waits again", [](view& v) { v.go_to("waits"); });
  }

  telling how_;
  explorer e_;
  variable entry_given_ = e_.number("entry given"), ready_ = e_.number("made, or due"), told_ = e_.number("told");
  variable in_vain_ = e_.number("polls in vain");  // each of three who tell may be one too many
};

verdict explore(telling how) { return toolkit{how}.explore(); }
constexpr auto waits = "the toolkit waits while an entry lies there";

TEST(run_loop_outside, a_toolkit_is_told_of_all_that_comes) {
  for (auto const what : {by::descriptor, by::hook}) {
    auto const result = explore(telling{.what = what});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 100U);
  }
}

TEST(run_loop_outside, fails_if_the_pusher_looks_before_it_has_brought_something) {
  for (auto const what : {by::descriptor, by::hook}) {
    auto const result = explore(telling{.what = what, .brings_before_it_looks = false});
    EXPECT_TRUE(result.fails_with(waits)) << result;
  }
}

TEST(run_loop_outside, fails_if_who_makes_it_does_not_look_what_is_there) {
  for (auto const what : {by::descriptor, by::hook}) {
    auto const result = explore(telling{.what = what, .looks_after_making = false});
    EXPECT_TRUE(result.fails_with(waits)) << result;
  }
}

TEST(run_loop_outside, fails_if_poll_makes_it_ready_after_it_has_taken_the_entry) {
  for (auto const what : {by::descriptor, by::hook}) {
    auto const result = explore(telling{.what = what, .ready_before_it_takes = false});
    EXPECT_TRUE(result.fails_with(waits)) << result;
  }
}

TEST(run_loop_outside, fails_if_poll_never_empties_the_descriptor) {
  auto const result = explore(telling{.empties_at_all = false});
  EXPECT_TRUE(result.fails_with("the toolkit polls in vain without end")) << result;
}

TEST(run_loop_outside, fails_if_the_hook_is_not_taken_by_an_exchange) {
  auto const result = explore(telling{.what = by::hook, .calls_by_exchange = false});
  EXPECT_TRUE(result.fails_with("the hook is called twice")) << result;
}

// ---- its end ---------------------------------------------------------------------------------------------------------------

struct ending {
  bool by_resume = false;              // not a push brings the entry, but the end of a suspension
  bool push_is_counted = true;         // (RL3) push_begins()
  bool counts_before_it_looks = true;  // (RL3) scheduled()
  bool close_waits = true;             // (RL3) close(), for who is in scheduled()
  bool gone_waits = true;              // (RL3) gone(), for who pushes
  bool close_takes_the_rest = true;
};

constexpr int held = 1, entry = 2, open = 4, one_item = 8;
int items(int word) { return word / one_item; }

// A link is pushed: what keeps the queue is its loan alone, and the owner's handle. Or a suspension ends, for which an item has
// stalled.
class closing {
 public:
  explicit closing(ending how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    if (how_.by_resume)
      resumer();
    else
      pusher();
    owner();
    worker();
    e_.at_the_end([this](view& v) {
      v.check(v.load(ran_) == 1, "an item is left lying");
      v.check(v.load(loop_) == 0, "the loop is not freed");
    });
    return e_.explore();
  }

 private:
  // Given back by who had it: the last takes `open` away, and frees what is then left by all.
  void gives_back(program& p, variable saw, char const* next) {
    p.step("gives a reference back", [this, next](view& v) {
      if (v.add(references_, -1) != 1) v.go_to(next);
    });
    p.step("takes `open` away (Q6)", [this, saw, next](view& v) {
      int const w = v.load(word_);
      v[saw] = static_cast<signed char>(w);
      v.exchange(word_, w & ~open);
      if ((w & ~open) != 0) v.go_to(next);
    });
    frees(p);
  }
  void frees(program& p) {
    p.step("waits until nobody pushes (RL3)", [this](view& v) { v.await(!how_.gone_waits || v.load(ringing_) == 0); });
    p.step("frees queue and loop", [this](view& v) { v.free(loop_); });
  }

  // What schedule() does; with `gives` at 1.
  void schedules(program& p, variable gives) {
    auto const counts = [this](view& v) {
      v.touch(loop_);
      v.add(ringing_, 1);
    };
    if (how_.counts_before_it_looks) p.step("is counted in scheduled() (RL3)", counts);
    p.step("looks whether the loop is closed (RL3)", [this, gives](view& v) {
      v.touch(loop_);
      if (v.load(closed_) == 1) v[gives] = 2;
    });
    if (!how_.counts_before_it_looks) p.step("is counted in scheduled() too late", counts);
    p.step("says that the entry is there", [this, gives](view& v) {
      v.touch(loop_);
      if (v[gives] == 1) v.store(entry_given_, 1, order::seq_cst);
    });
    p.step("is no more in scheduled() (RL3)", [this](view& v) {
      v.touch(loop_);
      v.add(ringing_, -1);
    });
    p.step("gives the entry to the pool, if the loop is closed", [this, gives](view& v) {
      if (v[gives] != 2) return;
      v.check(v.load(pool_) == 0, "the queue lies in its pool twice");
      v.add(pool_, 1);
    });
  }

  void pusher() {
    auto const gives = e_.number("the pusher gives the entry");
    auto& p = e_.thread("pusher");
    p.step("begins to push (RL3)", [this](view& v) {
      v.touch(loop_);
      if (how_.push_is_counted) v.add(ringing_, 1);
    });
    p.step("pushes (Q1)", [this, gives](view& v) {
      v.touch(loop_);
      int const w = v.load(word_);
      v[gives] = (w & (held | entry)) == 0 ? 1 : 0;
      v.exchange(word_, (w + one_item) | (v[gives] == 1 ? entry : 0));
      if (v[gives] == 0) v.go_to("is over");
    });
    schedules(p, gives);
    p.label("is over").step("looks at the loop's thread, and has pushed (RL3)", [this](view& v) {
      v.touch(loop_);
      if (how_.push_is_counted) v.add(ringing_, -1);
    });
  }

  void resumer() {
    auto const gives = e_.number("the resumer gives the entry", 1);
    auto const saw = e_.number("what the resumer saw");
    auto& p = e_.thread("resumer");
    schedules(p, gives);
    gives_back(p, saw, "ends");
    p.label("ends");
  }

  void owner() {
    auto const saw = e_.number("what the owner saw");
    auto& p = e_.thread("owner");
    p.step("closes (RL3)", [this](view& v) { v.store(closed_, 1, order::seq_cst); });
    if (how_.close_waits) p.step("waits until nobody pushes (RL3)", [this](view& v) { v.await(v.load(ringing_) == 0); });
    p.step("takes what was given", [this, saw](view& v) {
      v[saw] = static_cast<signed char>(how_.close_takes_the_rest ? v.exchange(entry_given_, 0) : 0);
    });
    p.step("gives it to the pool", [this, saw](view& v) {
      if (v[saw] == 0) return;
      v.check(v.load(pool_) == 0, "the queue lies in its pool twice");
      v.add(pool_, 1);
    });
    gives_back(p, saw, "ends");
    p.label("ends");
  }

  void worker() {
    auto const taken = e_.number("what the worker has taken");
    auto& p = e_.thread("worker");
    p.label("looks").rest("takes the entry from the pool", [this](view& v) {
      v.await(v.load(pool_) != 0);
      v.add(pool_, -1);
    });
    p.step("takes the queue and its items (Q2)", [this, taken](view& v) {
      v.touch(loop_);
      int const w = v.load(word_);
      v[taken] = static_cast<signed char>(items(w));
      v.exchange(word_, (w & open) | held);
    });
    p.step("runs an item", [this, taken](view& v) {
      if (v[taken] == 0) return v.go_to("leaves");
      v.add(ran_, 1);
    });
    p.step("gives its loan back", [this](view& v) {
      if (v.add(references_, -1) != 1) v.go_to("leaves");
    });
    p.step("takes `open` away (Q6)", [this](view& v) { v.clear_bits(word_, open); });
    p.label("leaves").step("leaves (Q3)", [this](view& v) {
      int const w = v.load(word_);
      v.exchange(word_, w & ~held);
      if ((w & ~held) != 0) v.go_to("looks");
    });
    frees(p);
  }

  ending how_;
  explorer e_;
  variable loop_ = e_.object("the loop");
  variable word_ = e_.number("word", how_.by_resume ? open | entry | one_item : open);
  variable entry_given_ = e_.number("entry given"), closed_ = e_.number("closed");
  variable ringing_ = e_.number("ringing"), pool_ = e_.number("pool"), ran_ = e_.number("ran");
  variable references_ = e_.number("references", how_.by_resume ? 3 : 2);
};

verdict explore(ending how) { return closing{how}.explore(); }

TEST(run_loop_outside, its_end_loses_nothing_and_is_touched_by_nobody_afterwards) {
  for (bool const by_resume : {false, true}) {
    auto const result = explore(ending{.by_resume = by_resume});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 100U);
  }
}

TEST(run_loop_outside, fails_if_who_pushes_is_not_counted) {
  auto const result = explore(ending{.push_is_counted = false});
  EXPECT_TRUE(result.fails_with("the loop is touched after it was freed")) << result;
}

TEST(run_loop_outside, fails_if_the_end_of_the_queue_does_not_wait_for_who_pushes) {
  auto const result = explore(ending{.gone_waits = false});
  EXPECT_TRUE(result.fails_with("the loop is touched after it was freed")) << result;
}

TEST(run_loop_outside, fails_if_the_loop_is_closed_beside_who_brings_the_entry) {
  auto const result = explore(ending{.close_waits = false});
  EXPECT_TRUE(result.fails_with("an item is left lying")) << result;
}

TEST(run_loop_outside, fails_if_who_brings_the_entry_looks_before_it_is_counted) {
  EXPECT_TRUE(explore(ending{.counts_before_it_looks = false}).holds()) << "a push is counted as a whole";
  auto const result = explore(ending{.by_resume = true, .counts_before_it_looks = false});
  EXPECT_TRUE(result.fails_with("an item is left lying")) << result;
}

TEST(run_loop_outside, fails_if_what_was_given_before_the_end_is_not_taken) {
  auto const result = explore(ending{.close_takes_the_rest = false});
  EXPECT_TRUE(result.fails_with("an item is left lying")) << result;
}

// ---- a wait of its thread that serves nobody ---------------------------------------------------------------------------------

struct unserved {
  bool compares_calls = true;          // begin_wait()
  bool counts_before_it_looks = true;  // sleep_without_serving()
  bool pushes_before_it_calls = true;
};

class wait_without_serving {
 public:
  explicit wait_without_serving(unserved how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    auto& p = e_.thread("pusher");
    auto const pushes = [this](view& v) { v.exchange(lying_, 1); };
    if (how_.pushes_before_it_calls) p.step("pushes the very item", pushes);
    p.step("lets the thread look again, under its guard", [this](view& v) {
      v.add(calls_, 1);
      if (v.load(waits_) == 1) {
        v.exchange(waits_, 0);
        v.exchange(woken_, 1);
      }
    });
    if (!how_.pushes_before_it_calls) p.step("pushes the very item", pushes);

    // Somebody else's push, which makes the thread look once in vain.
    e_.thread("another").step("lets the thread look again, under its guard", [this](view& v) {
      v.add(calls_, 1);
      if (v.load(waits_) == 1) {
        v.exchange(waits_, 0);
        v.exchange(woken_, 1);
      }
    });

    auto const known = e_.number("the calls that the thread knows of");
    auto& t = e_.thread("thread");
    auto const counts = [this, known](view& v) { v[known] = static_cast<signed char>(v.load(calls_)); };
    t.label("looks");
    if (how_.counts_before_it_looks) t.step("reads how often it was called", counts);
    t.step("takes the item out of the queue, if it is there", [this](view& v) {
      if (v.exchange(lying_, 0) == 1) v.go_to("runs it");
    });
    if (!how_.counts_before_it_looks) t.step("reads how often it was called, late", counts);
    t.step("begins to wait, under its guard", [this, known](view& v) {
      if (how_.compares_calls && v.load(calls_) != v[known]) return v.go_to("looks");
      v.exchange(woken_, 0);
      v.exchange(waits_, 1);
    });
    t.rest("sleeps", [this](view& v) { v.await(v.load(woken_) == 1); });
    t.step("looks again", [](view& v) { v.go_to("looks"); });
    t.label("runs it").step("runs it", [this](view& v) { v.exchange(ran_, 1); });
    e_.at_the_end([this](view& v) { v.check(v.load(ran_) == 1, "the thread sleeps beside what it waits for"); });
    return e_.explore();
  }

 private:
  unserved how_;
  explorer e_;
  variable lying_ = e_.number("lying"), calls_ = e_.number("calls"), waits_ = e_.number("waits"), woken_ = e_.number("woken"),
           ran_ = e_.number("ran");
};

verdict explore(unserved how) { return wait_without_serving{how}.explore(); }

TEST(run_loop_outside, a_wait_that_serves_nobody_finds_the_item_that_it_waits_for) {
  auto const result = explore(unserved{});
  EXPECT_TRUE(result.holds()) << result;
}

TEST(run_loop_outside, fails_if_the_thread_waits_although_it_was_called_meanwhile) {
  auto const result = explore(unserved{.compares_calls = false});
  EXPECT_TRUE(result.fails_with("the thread sleeps beside what it waits for")) << result;
}

TEST(run_loop_outside, fails_if_the_thread_counts_the_calls_after_it_has_looked) {
  auto const result = explore(unserved{.counts_before_it_looks = false});
  EXPECT_TRUE(result.fails_with("the thread sleeps beside what it waits for")) << result;
}

TEST(run_loop_outside, fails_if_the_thread_is_called_before_the_item_is_there) {
  auto const result = explore(unserved{.pushes_before_it_calls = false});
  EXPECT_TRUE(result.fails_with("the thread sleeps beside what it waits for")) << result;
}

}  // namespace
}  // namespace errand::model
