// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two more parts of src/queue/README.md. (Q5) hand over: a queue and its serial target go from the worker that holds them to a caller
// of sync(), who may be asked to stop at that moment. (Q7) bounds: who gives something to a full queue waits, and is let in when an item
// begins or a place is given back.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

// ---- (Q5) ------------------------------------------------------------------------------------------------------------------

struct variation {
  bool stopped = false;               // the caller is asked to stop while it waits
  bool begins_by_exchange = true;     // who hands over and who gives up: one of them
  bool caller_has_the_target = true;  // the target goes with the queue
  bool touches_it_afterwards = false; // who handed over leaves the queue as if it still were his
  bool caller_looks_as_it_leaves = true;
};

constexpr int held = 1, entry = 2;
// What lies in the queue, and in its target, beside those bits: each of it at most once.
constexpr int turn = 4, item = 8, child = 4, own = 8;
constexpr int queued = 0, begun = 1, given_up = 2;

class domain {
 public:
  explicit domain(variation how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    caller();
    pusher("pusher", word_, item);
    pusher("sibling", target_, own);
    for (int i = 0; i < 2; ++i) worker(keep("worker " + std::to_string(i)));
    e_.at_the_end([this](view& v) {
      v.check(v.load(word_) == 0 && v.load(target_) == 0, "something is left lying, or held");
      v.check(v.load(ran_) == 2, "an item did not run");
    });
    return e_.explore();
  }

 private:
  char const* keep(std::string text) {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return kept_.back()->c_str();
  }

  // Each step is one exchange of a word; (Q1), and what follows from it.
  void push(program& p, variable saw, variable word, int what) {
    p.step("pushes (Q1)", [word, saw, what](view& v) {
      int const w = v.load(word);
      v[saw] = (w & (held | entry)) == 0 ? 1 : 0;
      v.exchange(word, w | what | (v[saw] == 1 ? entry : 0));
    });
    schedules(p, saw, word);
  }
  void schedules(program& p, variable saw, variable word) {
    if (word.index == word_.index)
      p.step("gives the entry to the target", [this, saw](view& v) {
        if (v[saw] == 0) return;
        int const w = v.load(target_);
        v.check((w & child) == 0, "the queue lies in its target twice");
        v[saw] = (w & (held | entry)) == 0 ? 1 : 0;
        v.exchange(target_, w | child | (v[saw] == 1 ? entry : 0));
      });
    p.step("gives the target to the pool", [this, saw](view& v) {
      if (v[saw] == 0) return;
      v.check(v.load(pool_) == 0, "the target lies in its pool twice");
      v.add(pool_, 1);
    });
  }
  // (Q3), scheduled again if something is left.
  void leave(program& p, variable saw, variable word) {
    p.step("leaves (Q3)", [this, saw, word](view& v) {
      int const w = v.load(word);
      v.check((w & held) != 0, "a queue is left that nobody holds");
      bool const more = (w & ~(held | entry)) != 0 && how_.caller_looks_as_it_leaves;
      v[saw] = more && (w & entry) == 0 ? 1 : 0;
      v.exchange(word, (w & ~held) | (v[saw] == 1 ? entry : 0));
    });
    schedules(p, saw, word);
  }

  void begins(view& v) const {
    v.check(v.load(running_) == 0, "two run in one domain");
    v.exchange(running_, 1);
  }

  void pusher(char const* name, variable word, int what) {
    auto const saw = e_.number(std::string{"what the "} + name + " saw");
    push(e_.thread(name), saw, word, what);
  }

  void caller() {
    auto const saw = e_.number("what the caller saw");
    auto& p = e_.thread("caller");
    push(p, saw, word_, turn);
    if (how_.stopped)
      p.step("gives up, unless its turn has begun", [this](view& v) {
        int const r = v.load(record_);
        if (how_.begins_by_exchange ? r != queued : v.load(told_) != 0) return;
        v.exchange(record_, given_up);
        v.end();
      });
    p.step("waits for its turn (Q5)", [this](view& v) { v.await(v.load(told_) == 1); });
    p.step("begins", [this](view& v) { begins(v); });
    p.step("ends", [this](view& v) { v.exchange(running_, 0); });
    leave(p, saw, word_);
    if (how_.caller_has_the_target) leave(p, saw, target_);
  }

  void worker(char const* name) {
    auto& p = e_.thread(name);
    p.label("looks").rest("takes the target from the pool", [this](view& v) {
      v.await(v.load(pool_) != 0);
      v.add(pool_, -1);
    });
    p.step("takes the target, if nobody holds it (Q2)", [this](view& v) {
      int const w = v.load(target_);
      v.exchange(target_, (w & ~entry) | held);
      if ((w & held) != 0) v.go_to("looks");
    });
    p.label("target").step("looks what is first in the target, or leaves it (Q3)", [this](view& v) {
      int const w = v.load(target_);
      if ((w & child) != 0) {
        v.exchange(target_, w & ~child);
        return v.go_to("queue");
      }
      v.exchange(target_, (w & own) != 0 ? w & ~own : w & ~held);
      if ((w & own) == 0) v.go_to("looks");
    });
    p.step("begins an item of the target", [this](view& v) { begins(v); });
    p.step("ends it", [this](view& v) {
      v.exchange(running_, 0);
      v.add(ran_, 1);
      v.go_to("target");
    });

    p.label("queue").step("takes the queue, if nobody holds it (Q2)", [this](view& v) {
      int const w = v.load(word_);
      v.exchange(word_, (w & ~entry) | held);
      if ((w & held) != 0) v.go_to("target");
    });
    p.label("chooses").step("looks what is first in the queue, or leaves it (Q3)", [this](view& v) {
      int const w = v.load(word_);
      if ((w & turn) != 0) {
        v.exchange(word_, w & ~turn);
        return v.go_to("turn");
      }
      v.exchange(word_, (w & item) != 0 ? w & ~item : w & ~held);
      if ((w & item) == 0) v.go_to("target");
    });
    p.step("begins an item of the queue", [this](view& v) { begins(v); });
    p.step("ends it", [this](view& v) {
      v.exchange(running_, 0);
      v.add(ran_, 1);
      v.go_to("chooses");
    });

    p.label("turn").step("begins the turn, unless its caller has given up (Q5)", [this](view& v) {
      if (v.load(record_) == given_up && how_.begins_by_exchange) return v.go_to("chooses");
      v.exchange(record_, begun);
    });
    p.step("completes it (Q5)", [this](view& v) {
      v.exchange(told_, 1);
      if (!how_.touches_it_afterwards && how_.caller_has_the_target) v.go_to("looks");
      if (!how_.touches_it_afterwards && !how_.caller_has_the_target) v.go_to("target");
    });
    p.step("leaves what is not its own any more", [this](view& v) {
      v.clear_bits(word_, held);
      v.go_to("looks");
    });
  }

  variation how_;
  explorer e_;
  std::vector<std::unique_ptr<std::string>> kept_{};
  variable word_ = e_.number("the queue's word"), target_ = e_.number("the target's word"), pool_ = e_.number("pool");
  variable record_ = e_.number("the turn's record", queued), told_ = e_.number("the turn is done");
  variable running_ = e_.number("running"), ran_ = e_.number("ran");
};

verdict explore(variation how) { return domain{how}.explore(); }

TEST(queue_turns, go_with_their_targets_to_one_who_holds_them) {
  for (bool const stopped : {false, true}) {
    auto const result = explore({.stopped = stopped});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 500U);
  }
}

TEST(queue_turns, fail_if_who_handed_over_touches_the_queue_afterwards) {
  auto const result = explore({.touches_it_afterwards = true});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(queue_turns, fail_if_the_target_stays_with_who_handed_over) {
  auto const result = explore({.caller_has_the_target = false});
  EXPECT_TRUE(result.fails_with("two run in one domain")) << result;
}

TEST(queue_turns, fail_if_the_caller_leaves_without_a_look_at_what_came) {
  auto const result = explore({.caller_looks_as_it_leaves = false});
  EXPECT_TRUE(result.fails_with("something is left lying")) << result;
}

TEST(queue_turns, fail_if_it_is_not_one_exchange_who_begins_a_turn_and_who_gives_it_up) {
  auto const result = explore({.stopped = true, .begins_by_exchange = false});
  EXPECT_TRUE(result.fails_with("something is left lying, or held")) << result;
}

// ---- (Q7) ------------------------------------------------------------------------------------------------------------------

struct bounded {
  int bound = 1;
  bool one_fails = false;                // one of the givers throws after it was let in, and gives its place back
  bool looks_after_it_is_listed = true;  // (Q7) who waits
  bool says_so_while_it_is_listed = true;
  bool begins_before_it_looks = true;    // (Q7) who begins an item
  bool gives_place_on = true;            // (Q7) who gives its place back
  bool reserves_by_exchange = true;
};

constexpr int givers = 3;

// Each of three gives one item to a queue that is full with an item which waits.
class bounds {
 public:
  explicit bounds(bounded how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    for (int i = 0; i < givers; ++i) {
      listed_[i] = e_.number("giver " + std::to_string(i) + " is listed");
      let_in_[i] = e_.number("giver " + std::to_string(i) + " is let in");
    }
    for (int i = 0; i < givers; ++i) giver(i);
    holder();
    e_.at_the_end([this](view& v) {
      v.check(v.load(given_) == 1 + givers - (how_.one_fails ? 1 : 0), "a giver waits although there is room");
      v.check(v.load(begun_) == v.load(given_), "an item is left lying");
    });
    return e_.explore();
  }

 private:
  [[nodiscard]] bool full(view& v) const { return v.load(lent_) - v.load(begun_) >= how_.bound; }

  void let_one_in(program& p, variable saw) const {
    p.step("looks whether somebody waits (Q7)", [this, saw](view& v) { v[saw] = static_cast<signed char>(v.load(somebody_)); });
    p.step("takes the first out of the list, under the guard", [this, saw](view& v) {
      if (v[saw] == 0) return;
      int first = -1, others = 0;
      for (int i = 0; i < givers; ++i) {
        int const at = v.load(listed_[i]);
        if (at != 0 && (first < 0 || at < v.load(listed_[first]))) first = i;
        others += at != 0 ? 1 : 0;
      }
      if (others <= 1) v.exchange(somebody_, 0);
      if (first < 0) return;
      v.exchange(listed_[first], 0);
      v.exchange(let_in_[first], 1);
    });
  }

  void giver(int number) {
    auto const name = "giver " + std::to_string(number);
    auto const saw = e_.number("what " + name + " saw");
    auto& p = e_.thread(name);
    p.label("looks").step("takes a place, if there is one", [this](view& v) {
      if (full(v)) return v.go_to("waits");
      if (how_.reserves_by_exchange) v.add(lent_, 1);
    });
    if (!how_.reserves_by_exchange) p.step("takes it in a second step", [this](view& v) { v.add(lent_, 1); });
    p.step("is in", [this](view& v) {
      v.check(v.load(lent_) - v.load(begun_) <= how_.bound, "more wait than the bound lets");
      v.go_to("in");
    });
    p.label("waits");
    if (!how_.looks_after_it_is_listed) p.step("looks before it is listed", [this](view& v) {
      if (!full(v)) v.go_to("looks");
    });
    auto const says = [this](view& v) { v.exchange(somebody_, 1); };
    if (!how_.says_so_while_it_is_listed) p.step("says that somebody waits", says);
    p.step("enters the list and says so, under the guard (Q7)", [this, number](view& v) {
      v.exchange(let_in_[number], 0);
      v.exchange(listed_[number], v.add(tickets_, 1) + 1);
      if (how_.says_so_while_it_is_listed) v.exchange(somebody_, 1);
    });
    if (how_.looks_after_it_is_listed) {
      p.step("looks again (Q7)", [this](view& v) {
        if (full(v)) v.go_to("sleeps");
      });
      p.step("leaves the list, unless it was let in, under the guard", [this, number](view& v) {
        if (v.load(listed_[number]) == 0) return v.go_to("sleeps");
        v.exchange(listed_[number], 0);
        v.go_to("looks");
      });
    }
    p.label("sleeps").rest("sleeps until it is let in", [this, number](view& v) {
      v.await(v.load(let_in_[number]) == 1);
      v.go_to("looks");
    });
    p.label("in");
    if (how_.one_fails && number == 0) {
      p.step("gives its place back (Q7)", [this](view& v) { v.add(lent_, -1); });
      if (how_.gives_place_on) let_one_in(p, saw);
      p.step("has failed", [](view& v) { v.end(); });
    }
    p.step("pushes", [this](view& v) { v.add(given_, 1); });
  }

  void holder() {
    auto const saw = e_.number("what the holder saw");
    auto& p = e_.thread("holder");
    auto const counts = [this](view& v) { v.add(begun_, 1); };
    p.label("runs").rest("takes an item", [this](view& v) { v.await(v.load(given_) - v.load(begun_) > 0); });
    if (how_.begins_before_it_looks) p.step("counts it as begun (Q7)", counts);
    let_one_in(p, saw);
    if (!how_.begins_before_it_looks) p.step("counts it as begun, late", counts);
    p.step("runs it", [](view& v) { v.go_to("runs"); });
  }

  bounded how_;
  explorer e_;
  variable lent_ = e_.number("lent", 1), begun_ = e_.number("begun"), given_ = e_.number("given", 1);
  variable somebody_ = e_.number("somebody waits"), tickets_ = e_.number("tickets");
  variable listed_[givers]{}, let_in_[givers]{};
};

verdict explore(bounded how) { return bounds{how}.explore(); }
constexpr auto waits = "a giver waits although there is room";

TEST(queue_bounds, let_in_everybody_sooner_or_later_and_never_more_than_there_is_room_for) {
  for (auto const& how : {bounded{}, bounded{.one_fails = true}, bounded{.bound = 2}}) {
    auto const result = explore(how);
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 500U);
  }
}

TEST(queue_bounds, fail_if_who_waits_does_not_look_again_once_it_is_listed) {
  auto const result = explore(bounded{.looks_after_it_is_listed = false});
  EXPECT_TRUE(result.fails_with(waits)) << result;
}

TEST(queue_bounds, fail_if_it_is_said_that_somebody_waits_before_he_is_listed) {
  auto const result = explore(bounded{.says_so_while_it_is_listed = false});
  EXPECT_TRUE(result.fails_with(waits)) << result;
}

TEST(queue_bounds, fail_if_who_begins_an_item_looks_before_it_is_counted) {
  auto const result = explore(bounded{.begins_before_it_looks = false});
  EXPECT_TRUE(result.fails_with(waits)) << result;
}

TEST(queue_bounds, fail_if_who_gives_its_place_back_lets_nobody_in) {
  auto const result = explore(bounded{.one_fails = true, .gives_place_on = false});
  EXPECT_TRUE(result.fails_with(waits)) << result;
}

TEST(queue_bounds, fail_if_a_place_is_seen_in_one_step_and_taken_in_another) {
  auto const result = explore(bounded{.reserves_by_exchange = false});
  EXPECT_TRUE(result.fails_with("more wait than the bound lets")) << result;
}

}  // namespace
}  // namespace errand::model
