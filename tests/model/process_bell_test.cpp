// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who is woken by the bell of src/process/README.md: a thread that sleeps for the first of two replies takes the bell over from
// the dispatcher's own, and leaves it when it has what it waits for; the other reply is for nobody in particular. No reply
// stays untaken while all sleep, and the thread does not sleep on when it has its reply, whoever took that in.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

constexpr int replies_thread = 1, who_awaits = 2;
constexpr int replies = 2;

struct variation {
  memory kind = memory::store_buffers;
  order wants = order::seq_cst;    // (B1)
  order woken = order::seq_cst;    // (E1), by who took the reply in
  bool wakes = true;               // (E1): who took the reply in looks who sleeps for it
  bool hands_over = true;          // who sleeps no more wants the bell for the dispatcher's thread, and looks
  bool counts_first = true;        // (D1)
};

class bell_model {
 public:
  explicit bell_model(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    for (int i = 0; i < replies; ++i) reply_[i] = e_.number("reply " + std::to_string(i));
    worker();
    dispatchers_thread();
    sleeper();
    e_.at_the_end([this](view& v) {
      v.check(v.load(taken_) == replies, "a reply is not taken");
      v.check(v.load(has_returned_) == 1, "a thread sleeps for what has ended");
    });
    return e_.explore();
  }

 private:
  struct sleep_words {
    variable count, asleep, took_first;
  };
  sleep_words add_words(std::string const& name) {
    return {e_.number(name + "'s count"), e_.number(name + " is asleep"), e_.number(name + " took the first reply")};
  }

  // The bell rings under a mask: the count, and then the system call.
  void add_ring(program& p, std::function<int(view&)> const& mask) {
    p.step("counts the bell up (D1)", [this, mask](view& v) {
      if (mask(v) != 0) v.add(rung_, 1);
    });
    p.step("wakes under that mask", [this, mask](view& v) {
      if (mask(v) == replies_thread) v.exchange(thread_.asleep, 0);
      if (mask(v) == who_awaits) v.exchange(awaiting_.asleep, 0);
    });
  }

  // Under the dispatcher's lock, from add_lock() to here. The store of (B1) is a step before it, as it may be seen late.
  void add_look(program& p, sleep_words const& words) {
    p.step("looks (A2)", [this, words](view& v) {
      v[words.took_first] = 0;
      while (v.load(taken_) < replies && v.load(reply_[v.load(taken_)]) != 0)
        if (v.add(taken_, 1) == 0) v[words.took_first] = 1;
    });
    p.step("unlocks", [this](view& v) { v.exchange(lock_, 0); });
    p.step("says that the first has come (E1)", [this, words](view& v) {
      if (v[words.took_first] != 0) v.store(woken_, 1, how_.woken);
    });
    add_ring(p, [this, words](view& v) {
      return v[words.took_first] != 0 && how_.wakes && v.load(sleeper_) != 0 ? who_awaits : 0;
    });
  }
  void add_lock(program& p) {
    p.step("locks", [this](view& v) {
      v.await(v.load(lock_) == 0);
      v.exchange(lock_, 1);
    });
  }
  void add_count(program& p, sleep_words const& words) {
    p.step("reads how often it has rung (D1)",
           [this, words](view& v) { v[words.count] = static_cast<signed char>(v.load(rung_)); });
  }
  void add_sleep(program& p, sleep_words const& words, char const* next) {
    p.step("goes to sleep, unless it has rung", [this, words, next](view& v) {
      if (v.load(rung_) != v[words.count]) return v.go_to(next);
      v.exchange(words.asleep, 1);
    });
    p.rest("sleeps", [words, next](view& v) {
      v.await(v.load(words.asleep) == 0);
      v.go_to(next);
    });
  }

  void worker() {
    auto& p = e_.thread("worker");
    auto const whom = e_.number("whom the worker wakes");
    for (int i = 0; i < replies; ++i) {
      p.step("publishes a reply (A1)", [this, i](view& v) { v.store(reply_[i], 1, order::seq_cst); });
      p.step("takes the bell (B2)",
             [this, whom](view& v) { v[whom] = static_cast<signed char>(v.exchange(wanted_, 0)); });
      add_ring(p, [whom](view& v) { return static_cast<int>(v[whom]); });
    }
  }

  void dispatchers_thread() {
    auto& p = e_.thread("dispatcher's thread");
    p.label("again");
    add_count(p, thread_);
    add_lock(p);
    p.step("wants the bell (B1)",
           [this](view& v) { v.store(wanted_, v.load(sleeper_) != 0 ? who_awaits : replies_thread, how_.wants); });
    add_look(p, thread_);
    add_sleep(p, thread_, "again");
  }

  void sleeper() {
    auto& p = e_.thread("sleeper");
    p.label("again");
    if (how_.counts_first) add_count(p, awaiting_);
    add_lock(p);
    p.step("shows itself (E1)", [this](view& v) { v.store(sleeper_, 1, order::seq_cst); });
    p.step("wants the bell (B1)", [this](view& v) { v.store(wanted_, who_awaits, how_.wants); });
    add_look(p, awaiting_);
    p.step("looks whether it was woken (E1)", [this](view& v) {
      if (v.load(woken_) != 0) v.go_to("leaves");
    });
    if (!how_.counts_first) add_count(p, awaiting_);
    add_sleep(p, awaiting_, "leaves");
    p.label("leaves");
    add_lock(p);
    p.step("hides", [this](view& v) { v.exchange(sleeper_, 0); });
    if (how_.hands_over)
      p.step("wants the bell for the dispatcher's thread (B1)",
             [this](view& v) { v.store(wanted_, replies_thread, how_.wants); });
    if (how_.hands_over)
      add_look(p, awaiting_);
    else
      p.step("unlocks", [this](view& v) { v.exchange(lock_, 0); });
    p.step("looks whether it was woken", [this](view& v) {
      if (v.load(woken_) == 0) v.go_to("again");
    });
    p.step("returns", [this](view& v) { v.exchange(has_returned_, 1); });
  }

  variation how_;
  explorer e_;
  variable reply_[replies]{};
  variable lock_ = e_.number("lock"), wanted_ = e_.number("bell wanted"), rung_ = e_.number("rung");
  variable taken_ = e_.number("taken"), woken_ = e_.number("woken"), sleeper_ = e_.number("sleeper");
  variable has_returned_ = e_.number("returned");
  sleep_words thread_ = add_words("dispatcher's thread"), awaiting_ = add_words("sleeper");
};

verdict explore(variation how) { return bell_model{how}.explore(); }

constexpr auto not_taken = "a reply is not taken";
constexpr auto sleeps_on = "a thread sleeps for what has ended";

TEST(process_bell, wakes_who_is_to_take_a_reply) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 1000U);
  }
}

TEST(process_bell, fails_if_the_wish_is_not_visible_before_the_look) {
  auto const result = explore({.wants = order::release});
  EXPECT_TRUE(result.fails_with(not_taken)) << result;
}

TEST(process_bell, fails_if_who_sleeps_no_more_does_not_hand_over) {
  auto const result = explore({.kind = memory::sequential, .hands_over = false});
  EXPECT_TRUE(result.fails_with(not_taken)) << result;
}

TEST(process_bell, fails_if_who_took_a_reply_in_does_not_wake_who_sleeps_for_it) {
  auto const result = explore({.kind = memory::sequential, .wakes = false});
  EXPECT_TRUE(result.fails_with(sleeps_on)) << result;
}

TEST(process_bell, fails_if_a_reply_is_said_to_be_there_after_the_look_at_who_sleeps) {
  auto const result = explore({.woken = order::release});
  EXPECT_TRUE(result.fails_with(sleeps_on)) << result;
}

TEST(process_bell, fails_if_the_bell_is_counted_after_the_look) {
  auto const result = explore({.kind = memory::sequential, .counts_first = false});
  EXPECT_TRUE(result.fails_with(sleeps_on) || result.fails_with(not_taken)) << result;
}

}  // namespace
}  // namespace errand::model
