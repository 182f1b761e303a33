// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The rings of src/process/README.md: each message begins with the word that publishes it, and what an earlier lap left in
// the ring is never taken for one. Requests from the parent to a worker, which sleeps in between, and the last of which the
// parent may take back; replies from a worker to the parent's thread, which sleeps until the bell rings. The rings have
// fewer lines than there are messages.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

constexpr int nothing = 0, sent = 1, started = 2, recalled = 3;
constexpr int messages = 3, lines = 2;

std::string numbered(char const* what, int number) { return what + std::to_string(number); }

struct variation {
  memory kind = memory::store_buffers;
  bool clears = true;                // the word of a message that has been read
  order gives_back = order::release;  // the line, afterwards (F2), (G1)
  order publish = order::seq_cst;    // (R1), (A1)
  order says = order::seq_cst;       // asleep (R2), bell_wanted (B1)
  bool looks_again = true;           // (R2), and the look of (B1)
  bool compare_exchange = true;      // (K1), (K2)
  bool reads_count_first = true;     // (D1)
};

class ring {
 public:
  ring(explorer& e, std::string const& name) : head_{e.number(name + " read so far")} {
    for (int i = 0; i < lines; ++i) {
      word_[i] = e.number(numbered((name + " word ").c_str(), i));
      body_[i] = e.number(numbered((name + " bytes ").c_str(), i), -1);
    }
  }
  [[nodiscard]] variable word(int message) const { return word_[message % lines]; }
  [[nodiscard]] variable body(int message) const { return body_[message % lines]; }

  void add_publication(program& p, int i, variation const& how) const {
    p.rest("finds room (F1, G2)", [this, i](view& v) { v.await(i - v.load(head_) < lines); });
    p.step("writes the message", [this, i](view& v) { v.store(body(i), i, order::relaxed); });
    p.step("publishes it", [this, i, publish = how.publish](view& v) { v.store(word(i), sent, publish); });
  }
  void add_giving_back(program& p, int i, variation const& how) const {
    if (how.clears) p.step("clears what it has read", [this, i](view& v) { v.store(word(i), nothing, order::relaxed); });
    p.step("gives it back (F2, G1)", [this, i, how](view& v) { v.store(head_, i + 1, how.gives_back); });
  }

 private:
  variable head_;
  variable word_[lines]{};
  variable body_[lines]{};
};

// ---- requests

class request_model {
 public:
  request_model(variation how, bool recalls) : how_{how}, recalls_{recalls}, e_{how.kind} {}

  verdict explore() {
    for (int i = 0; i < messages; ++i) runs_[i] = e_.number(numbered("runs of ", i));
    parent();
    worker();
    e_.at_the_end([this](view& v) {
      for (int i = 0; i < messages; ++i) v.check(v.load(runs_[i]) == 1, "a job does not run once");
    });
    return e_.explore();
  }

 private:
  void parent() {
    auto& p = e_.thread("parent");
    auto const seen = e_.number("what the parent saw");
    for (int i = 0; i < messages; ++i) {
      ring_.add_publication(p, i, how_);
      p.step("looks whether the worker sleeps (R1)",
             [this, seen](view& v) { v[seen] = static_cast<signed char>(v.load(asleep_)); });
      p.step("wakes it if so", [this, seen](view& v) {
        if (v[seen] != 0) v.exchange(asleep_, 0);
      });
    }
    if (!recalls_) return;
    constexpr int last = messages - 1;
    if (how_.compare_exchange) {
      p.step("takes the last one back (K1)", [this](view& v) {
        if (!v.compare_exchange(ring_.word(last), sent, recalled)) v.end();
      });
    } else {
      p.step("looks at the last one", [this](view& v) {
        if (v.load(ring_.word(last)) != sent) v.end();
      }).step("takes it back", [this](view& v) { v.store(ring_.word(last), recalled, order::seq_cst); });
    }
    p.step("runs it elsewhere", [this](view& v) { v.add(runs_[last], 1); });
  }

  void worker() {
    auto& p = e_.thread("worker");
    for (int i = 0; i <= messages; ++i) {
      auto const label = [i](char const* what) { return numbered(what, i); };
      p.step("looks (R2)", [this, i, taken = label("taken ")](view& v) {
        if (v.load(ring_.word(i)) != nothing) v.go_to(taken.c_str());
      });
      p.label(label("sleepy ")).step("says that it sleeps (R2)", [this](view& v) { v.store(asleep_, 1, how_.says); });
      p.step("looks again (R2)", [this, i, awake = label("awake ")](view& v) {
        if (how_.looks_again && v.load(ring_.word(i)) != nothing) v.go_to(awake.c_str());
      });
      p.rest("sleeps", [this, sleepy = label("sleepy ")](view& v) {
        v.await(v.load(asleep_) != 1);
        v.go_to(sleepy.c_str());
      });
      p.label(label("awake ")).step("does not sleep", [this](view& v) { v.store(asleep_, 0, order::relaxed); });
      p.label(label("taken "));
      if (i == messages) {
        p.step("finds a message that nobody has sent", [](view& v) { v.check(false, "a message that was not sent"); });
        break;
      }
      p.step("claims it (K2)", [this, i, next = label("next ")](view& v) {
        bool const claimed = how_.compare_exchange ? v.compare_exchange(ring_.word(i), sent, started)
                                                   : v.load(ring_.word(i)) == sent;
        if (!claimed) v.go_to(next.c_str());
      });
      p.step("runs it", [this, i](view& v) {
        v.check(v.load(ring_.body(i)) == i, "a message that was not sent");
        v.add(runs_[i], 1);
      });
      p.label(label("next "));
      ring_.add_giving_back(p, i, how_);
    }
  }

  variation how_;
  bool recalls_;
  explorer e_;
  ring ring_{e_, "requests'"};
  variable asleep_ = e_.number("asleep");
  variable runs_[messages]{};
};

verdict explore_requests(variation how, bool recalls = false) { return request_model{how, recalls}.explore(); }

// ---- replies

class reply_model {
 public:
  explicit reply_model(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    auto& worker = e_.thread("worker");
    auto const seen = e_.number("what the worker saw");
    for (int i = 0; i < messages; ++i) {
      ring_.add_publication(worker, i, how_);
      worker.step("looks whether the bell is wanted (B2)",
                  [this, seen](view& v) { v[seen] = static_cast<signed char>(v.load(wanted_)); });
      worker.step("takes it and rings (D1)", [this, seen](view& v) {
        if (v[seen] != 0 && v.exchange(wanted_, 0) != 0) v.add(rung_, 1);
      });
    }
    parent();
    e_.at_the_end([this](view& v) { v.check(v.load(taken_) == messages, "a reply is not taken"); });
    return e_.explore();
  }

 private:
  void parent() {
    auto& p = e_.thread("parent");
    auto const count = e_.number("what the parent has counted");
    auto const counts = [this, count](view& v) { v[count] = static_cast<signed char>(v.load(rung_)); };
    for (int i = 0; i < messages; ++i) {
      std::string const again = numbered("again ", i), taken = numbered("taken ", i);
      p.label(again);
      if (how_.reads_count_first) p.step("reads how often it has rung (D1)", counts);
      p.step("wants the bell (B1)", [this](view& v) { v.store(wanted_, 1, how_.says); });
      p.step("looks (A2)", [this, i, taken](view& v) {
        if (how_.looks_again && v.load(ring_.word(i)) != nothing) v.go_to(taken.c_str());
      });
      if (!how_.reads_count_first) p.step("reads how often it has rung (D1)", counts);
      p.rest("sleeps until it rings", [this, count, again](view& v) {
        v.await(v.load(rung_) != v[count]);
        v.go_to(again.c_str());
      });
      p.label(taken).step("takes the reply", [this, i](view& v) {
        v.check(v.load(ring_.body(i)) == i, "a message that was not sent");
        v.add(taken_, 1);
      });
      ring_.add_giving_back(p, i, how_);
    }
  }

  variation how_;
  explorer e_;
  ring ring_{e_, "replies'"};
  variable wanted_ = e_.number("bell wanted"), rung_ = e_.number("rung"), taken_ = e_.number("taken");
};

verdict explore_replies(variation how) { return reply_model{how}.explore(); }

// ---- tests

constexpr auto not_sent = "a message that was not sent";
constexpr auto not_once = "a job does not run once";
constexpr auto not_taken = "a reply is not taken";

TEST(process_ring, runs_each_job_once) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak})
    for (bool const recalls : {false, true}) {
      auto const result = explore_requests({.kind = kind}, recalls);
      EXPECT_TRUE(result.holds()) << result;
      EXPECT_GT(result.states, 100U);
    }
}

TEST(process_ring, takes_each_reply) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore_replies({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 100U);
  }
}

TEST(process_ring, fails_if_what_was_read_is_not_cleared) {
  auto const how = variation{.kind = memory::sequential, .clears = false};
  EXPECT_TRUE(explore_requests(how).fails_with(not_sent));
  EXPECT_TRUE(explore_replies(how).fails_with(not_sent));
}

TEST(process_ring, fails_if_a_line_is_given_back_before_it_is_cleared) {
  auto const how = variation{.kind = memory::weak, .gives_back = order::relaxed};
  EXPECT_TRUE(explore_requests(how).fails_with(not_once));
  EXPECT_TRUE(explore_replies(how).fails_with(not_taken));
}

TEST(process_ring, fails_if_a_message_is_published_in_no_order) {
  auto const how = variation{.kind = memory::weak, .publish = order::relaxed};
  EXPECT_TRUE(explore_requests(how).fails_with(not_sent));
  EXPECT_TRUE(explore_replies(how).fails_with(not_sent));
}

TEST(process_ring, fails_if_a_message_is_not_visible_before_the_look_at_who_sleeps) {
  auto const how = variation{.publish = order::release};
  EXPECT_TRUE(explore_requests(how).fails_with(not_once));
  EXPECT_TRUE(explore_replies(how).fails_with(not_taken));
}

TEST(process_ring, fails_if_a_sleeper_is_not_visible_before_its_look) {
  auto const how = variation{.says = order::release};
  EXPECT_TRUE(explore_requests(how).fails_with(not_once));
  EXPECT_TRUE(explore_replies(how).fails_with(not_taken));
}

TEST(process_ring, fails_if_a_sleeper_does_not_look) {
  auto const how = variation{.kind = memory::sequential, .looks_again = false};
  EXPECT_TRUE(explore_requests(how).fails_with(not_once));
  EXPECT_TRUE(explore_replies(how).fails_with(not_taken));
}

TEST(process_ring, fails_if_a_message_is_claimed_or_taken_back_without_a_compare_exchange) {
  auto const result = explore_requests({.kind = memory::sequential, .compare_exchange = false}, true);
  EXPECT_TRUE(result.fails_with(not_once)) << result;
}

TEST(process_ring, fails_if_the_bell_is_counted_after_the_look) {
  auto const result = explore_replies({.kind = memory::sequential, .reads_count_first = false});
  EXPECT_TRUE(result.fails_with(not_taken)) << result;
}

}  // namespace
}  // namespace errand::model
