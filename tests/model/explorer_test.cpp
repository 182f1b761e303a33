// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The explorer itself: it must know what each kind of memory allows, or the models beside it prove nothing.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

// Two threads, each stores to its own variable and then loads the other's: Dekker's question.
verdict store_then_load(memory kind, order how) {
  explorer e{kind};
  auto const x = e.number("x"), y = e.number("y"), a = e.number("a"), b = e.number("b");
  e.thread("one").step("x = 1", [=](view& v) { v.store(x, 1, how); }).step("a = y", [=](view& v) {
    v[a] = static_cast<signed char>(v.load(y));
  });
  e.thread("two").step("y = 1", [=](view& v) { v.store(y, 1, how); }).step("b = x", [=](view& v) {
    v[b] = static_cast<signed char>(v.load(x));
  });
  e.at_the_end([=](view& v) { v.check(v[a] + v[b] != 0, "neither saw the other"); });
  return e.explore();
}

// One thread stores data and then a flag, the other sees the flag and loads the data.
verdict publish(memory kind, order how) {
  explorer e{kind};
  auto const data = e.number("data"), flag = e.number("flag");
  e.thread("writer").step("data", [=](view& v) { v.store(data, 1, order::relaxed); }).step("flag", [=](view& v) {
    v.store(flag, 1, how);
  });
  e.thread("reader")
      .step("sees the flag", [=](view& v) { v.await(v.load(flag) == 1); })
      .step("loads the data", [=](view& v) { v.check(v.load(data) == 1, "the data is not there"); });
  return e.explore();
}

TEST(explorer, of_two_seq_cst_stores_and_loads_one_sees_the_other) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak})
    EXPECT_TRUE(store_then_load(kind, order::seq_cst).holds());
}

TEST(explorer, release_stores_may_be_delayed_past_later_loads) {
  EXPECT_TRUE(store_then_load(memory::sequential, order::release).holds());
  EXPECT_TRUE(store_then_load(memory::store_buffers, order::release).fails_with("neither"));
  EXPECT_TRUE(store_then_load(memory::weak, order::release).fails_with("neither"));
}

TEST(explorer, only_weak_memory_lets_a_relaxed_store_overtake_another) {
  EXPECT_TRUE(publish(memory::store_buffers, order::relaxed).holds());
  EXPECT_TRUE(publish(memory::weak, order::relaxed).fails_with("not there"));
  EXPECT_TRUE(publish(memory::weak, order::release).holds());
}

TEST(explorer, a_thread_sees_its_own_stores_at_once_and_in_order) {
  explorer e{memory::weak};
  auto const x = e.number("x");
  e.thread("one")
      .step("x = 1", [=](view& v) { v.store(x, 1, order::relaxed); })
      .step("x = 2", [=](view& v) { v.store(x, 2, order::relaxed); })
      .step("looks", [=](view& v) { v.check(v.load(x) == 2, "not its own newest"); });
  e.at_the_end([=](view& v) { v.check(v.load(x) == 2, "the older store came last"); });
  EXPECT_TRUE(e.explore().holds());
}

TEST(explorer, a_thread_that_waits_for_what_nobody_does_is_found) {
  explorer e{memory::sequential};
  auto const x = e.number("x");
  e.thread("one").step("hopes", [=](view& v) { v.await(v.load(x) == 1); });
  EXPECT_TRUE(e.explore().fails_with("one waits for ever: hopes"));
}

TEST(explorer, the_shortest_way_to_a_violation_is_told) {
  explorer e{memory::sequential};
  auto const o = e.object("the frame");
  e.thread("owner").step("frees", [=](view& v) { v.free(o); });
  e.thread("other").step("looks twice", [=](view& v) { v.touch(o); }).step("looks again", [=](view& v) { v.touch(o); });
  auto const result = e.explore();
  EXPECT_TRUE(result.fails_with("the frame is touched after it was freed")) << result;
  EXPECT_EQ(result.way.size(), 2U) << result;
}

}  // namespace
}  // namespace errand::model
