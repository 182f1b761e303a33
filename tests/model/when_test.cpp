// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "Composites" of src/task/README.md: the inputs of a when_all or when_any end at the same time, while the maker still hooks
// and the holder asks the whole to stop, takes its result and lets go. The one that decides stops the others; the last to
// arrive makes the result; nobody looks at an input that was let go of.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::weak;
  bool all_decide = true;               // both inputs end in the way that decides; else only the first one does
  bool decides_by_exchange = true;      // decided: who sets it first
  bool stops_before_it_arrives = true;  // (Y1) after the stops
  bool stop_pins_under_the_lock = true;
};

class composite {
 public:
  explicit composite(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    maker();
    input(0);
    input(1);
    holder();
    stopper();
    e_.at_the_end([this](view& v) {
      v.check(v.load(made_) == 1, "the result was not made");
      for (auto const& in : input_) v.check(v[in] == 0, "an input was not let go of");
    });
    return e_.explore();
  }

 private:
  // Counts down; whoever brings it to zero makes the result.
  void arrive(program& p) {
    p.step("arrives (Y1)",
           [this](view& v) {
             if (v.add(left_, -1) != 1) v.end();
           })
        .step("makes the result",
              [this](view& v) {
                v.check(v.load(decided_) != 0, "who makes the result does not see the decision");
                for (auto const& in : input_) v.touch(in);
                v.check(v.exchange(made_, 1) == 0, "the result is made twice");
              })
        .step("sets done (C1)", [this](view& v) { v.exchange(done_, 1); });
  }

  void maker() {
    auto& p = e_.thread("maker");
    for (int i = 0; i < 2; ++i)
      p.step("hooks an input", [this, i](view& v) {
        v.touch(input_[i]);
        v.exchange(hooked_[i], 1);
      });
    arrive(p);
  }

  void input(int i) {
    auto& p = e_.thread(i == 0 ? "input 0" : "input 1");
    p.step("ends and is woken", [this, i](view& v) { v.await(v.load(hooked_[i]) == 1); });
    if (i == 0 || how_.all_decide) {
      if (how_.decides_by_exchange) {
        p.step("decides, or does not", [this, i](view& v) {
          if (!v.compare_exchange(decided_, 0, i + 1)) v.go_to("arrive");
        });
      } else {
        p.step("looks whether it decides", [this](view& v) {
           if (v.load(decided_) != 0) v.go_to("arrive");
         }).step("decides", [this, i](view& v) {
          v.check(v.load(decided_) == 0 || v.load(decided_) == i + 1, "two decide");
          v.store(decided_, i + 1, order::relaxed);
        });
      }
      if (!how_.stops_before_it_arrives)
        p.step("arrives too early (Y1)", [this](view& v) {
          if (v.add(left_, -1) == 1) v.exchange(done_, v.exchange(made_, 1) + 1);
        });
      p.step("stops the other", [this, i](view& v) { v.touch(input_[1 - i]); });
      if (!how_.stops_before_it_arrives) {
        p.step("is through", [](view& v) { v.end(); });
      }
    }
    p.label("arrive");
    arrive(p);
  }

  void holder() {
    e_.thread("holder")
        .step("waits for the end (C1)", [this](view& v) { v.await(v.load(done_) == 1); })
        .step("locks (K1)", [this](view& v) { lock(v); })
        .step("takes the inputs out", [this](view& v) { v[released_] = 1; })
        .step("unlocks (K2)", [this](view& v) { v.exchange(lock_, 0); })
        .step("lets go of input 0 (R1)", [this](view& v) { let_go(v, 0); })
        .step("lets go of input 1 (R1)", [this](view& v) { let_go(v, 1); });
  }

  // record_verb::stop; it may come at any time, or never.
  void stopper() {
    auto& p = e_.thread("stopper");
    p.rest("begins", [](view&) {});
    for (int i = 0; i < 2; ++i) {
      if (how_.stop_pins_under_the_lock) {
        p.step("locks (K1)", [this](view& v) { lock(v); })
            .step("pins an input if it is there",
                  [this, i](view& v) {
                    v[pinned_] = v[released_] == 0;
                    if (v[pinned_] != 0) v.add(references_[i], 1);
                  })
            .step("unlocks (K2)",
                  [this](view& v) {
                    v.exchange(lock_, 0);
                    if (v[pinned_] == 0) v.end();
                  })
            .step("stops it", [this, i](view& v) { v.touch(input_[i]); })
            .step("unpins it (R1)", [this, i](view& v) { let_go(v, i); });
      } else {
        p.step("looks whether an input is there", [this](view& v) {
           if (v[released_] != 0) v.end();
         }).step("stops it", [this, i](view& v) { v.touch(input_[i]); });
      }
    }
  }

  void lock(view& v) const {
    v.await(v.load(lock_) == 0);
    v.exchange(lock_, 1);
  }
  void let_go(view& v, int i) const {
    if (v.add(references_[i], -1) == 1) v.free(input_[i]);
  }

  variation how_;
  explorer e_;
  variable input_[2] = {e_.object("input 0"), e_.object("input 1")};
  variable references_[2] = {e_.number("references 0", 1), e_.number("references 1", 1)};
  variable hooked_[2] = {e_.number("hooked 0"), e_.number("hooked 1")};
  variable left_ = e_.number("left", 3), decided_ = e_.number("decided"), made_ = e_.number("made"),
           done_ = e_.number("done"), lock_ = e_.number("lock"), released_ = e_.number("released"),
           pinned_ = e_.number("pinned");
};

verdict explore(variation how) { return composite{how}.explore(); }

TEST(when_model, one_decides_the_result_is_made_once_and_no_input_is_looked_at_when_it_is_gone) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak})
    for (bool const all_decide : {true, false}) {
      auto const result = explore({.kind = kind, .all_decide = all_decide});
      EXPECT_TRUE(result.holds()) << result;
    }
}

TEST(when_model, fails_if_the_decision_is_not_one_step) {
  auto const result = explore({.kind = memory::sequential, .decides_by_exchange = false});
  EXPECT_TRUE(result.fails_with("two decide")) << result;
}

TEST(when_model, fails_if_the_one_that_decides_arrives_before_it_stops_the_others) {
  auto const result = explore({.kind = memory::sequential, .stops_before_it_arrives = false});
  EXPECT_FALSE(result.holds());
}

TEST(when_model, fails_if_a_stop_looks_at_inputs_that_it_has_not_pinned) {
  auto const result = explore({.kind = memory::sequential, .stop_pins_under_the_lock = false});
  EXPECT_TRUE(result.fails_with("freed")) << result;
}

}  // namespace
}  // namespace errand::model
