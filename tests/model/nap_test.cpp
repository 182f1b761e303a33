// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The nap of src/sched/README.md ("Napping"): a worker that naps wakes by itself at the moment in which somebody chooses it.
// The wake that is still on its way must not meet the worker's next sleep: it would run while it is counted asleep, and
// stand in the list of sleepers twice.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::weak;
  bool waits_for_its_wake = true;  // a napper that finds that it was chosen
};

class napping {
 public:
  explicit napping(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    worker();
    auto& first = e_.thread("chooser of a napper");
    first.step("chooses the napper", [this](view& v) {
      if (v.exchange(napper_, 0) == 0) v.end();
    });
    first.step("wakes it", [this](view& v) { v.store(woken_, 1, order::release); });
    auto& second = e_.thread("chooser of a sleeper");
    second.step("chooses the sleeper", [this](view& v) {
      if (v.exchange(listed_, 0) == 0) v.end();
    });
    second.step("wakes it", [this](view& v) { v.store(woken_, 1, order::release); });
    e_.at_the_end([this](view& v) { v.check(v.load(listed_) == 1 || v[runs_] == 1, "a worker was chosen and sleeps"); });
    return e_.explore();
  }

 private:
  // What stands under sleep_guard_ is one step.
  void worker() {
    auto& p = e_.thread("worker");
    p.step("naps", [this](view& v) {
      v.exchange(woken_, 0);
      v.exchange(napper_, 1);
    });
    p.step("wakes, and looks whether it was chosen", [this](view& v) {
      if (v.exchange(napper_, 0) == 1) v.go_to("finds nothing");
    });
    p.step("waits for its wake", [this](view& v) { v.await(!how_.waits_for_its_wake || v.load(woken_) == 1); });
    p.label("finds nothing").step("is counted asleep", [this](view& v) {
      v.exchange(woken_, 0);
      v.exchange(listed_, 1);
    });
    p.rest("sleeps until woken", [this](view& v) { v.await(v.load(woken_) == 1); });
    p.step("runs", [this](view& v) {
      v.check(v.load(listed_) == 0, "a worker runs that is counted asleep");
      v[runs_] = 1;
    });
  }

  variation how_;
  explorer e_;
  variable napper_ = e_.number("napper"), woken_ = e_.number("woken"), listed_ = e_.number("listed");
  variable runs_ = e_.number("runs");
};

verdict explore(variation how) { return napping{how}.explore(); }

TEST(nap, ends_by_itself_or_by_who_chose_it) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
  }
}

TEST(nap, fails_if_a_napper_that_was_chosen_does_not_wait_for_its_wake) {
  auto const result = explore({.kind = memory::sequential, .waits_for_its_wake = false});
  EXPECT_TRUE(result.fails_with("runs that is counted asleep")) << result;
}

}  // namespace
}  // namespace errand::model
