// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The deque of src/sched/deque.hpp, access by access: an owner that pushes, pops and takes the oldest, two thieves. No entry may be taken twice,
// none may be lost. A ring of two slots, so that slots are used again.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace errand::model {
namespace {

struct variation {
  memory kind = memory::weak;
  order publish = order::seq_cst;         // (D1)
  order claim = order::seq_cst;           // (D2) the owner's, by bottom
  bool owner_races_for_the_last = true;   // (D2) by moving top
  bool thief_moves_top_last = true;       // (D2) (D3) the slot is read before
  bool looks_at_top_before_reuse = true;  // (D3)
  bool takes_oldest = false;              // the owner, once, instead of popping: what a yield does
  bool owner_races_for_the_oldest = true;  // (D2)
};

constexpr int capacity = 2;
constexpr int entries = 4;

class deque_model {
 public:
  explicit deque_model(variation how) : how_{how}, e_{how.kind} {}

  verdict explore() {
    owner();
    thief("thief 1");
    thief("thief 2");
    e_.at_the_end([this](view& v) {
      for (auto const taken : taken_) v.check(v[taken] == 1, "an entry is lost");
    });
    return e_.explore();
  }

 private:
  // The last entry is pushed only if a thief has made room for it. Pops until there is nothing.
  void owner() {
    auto& p = e_.thread("owner");
    push(p, 1);
    push(p, 2);
    if (how_.takes_oldest)
      take_oldest(p);
    else
      pop(p, "1");
    push(p, 3);
    push(p, 4);
    p.label("no room for 4");
    pop(p, "2");
    pop(p, "3");
    pop(p, "4");
  }

  void push(program& p, int entry) {
    auto const n = std::to_string(entry);
    p.step("looks whether there is room for " + n,
           [this, entry](view& v) {
             v[bottom_seen_] = static_cast<signed char>(v.load(bottom_));
             if (!how_.looks_at_top_before_reuse || v[bottom_seen_] - v.load(top_) < capacity) return;
             v[taken_[entry - 1]] = 1;  // as good as taken
             v.go_to("no room for 4");
           })
        .step("writes the slot of " + n,
              [this, entry](view& v) { v.store(slots_[v[bottom_seen_] % capacity], entry, order::relaxed); })
        .step("publishes " + n, [this](view& v) { v.store(bottom_, v[bottom_seen_] + 1, how_.publish); });
  }

  void pop(program& p, std::string const& n) {
    auto const done = "after pop " + n;
    p.step("claims the newest",
           [this](view& v) {
             v[bottom_seen_] = static_cast<signed char>(v.load(bottom_) - 1);
             v.store(bottom_, v[bottom_seen_], how_.claim);
           })
        .step("looks at top", [this](view& v) { v[top_seen_] = static_cast<signed char>(v.load(top_)); })
        .step("takes it, or tries to",
              [this, done](view& v) {
                if (v[top_seen_] > v[bottom_seen_]) return;
                int const entry = v.load(slots_[v[bottom_seen_] % capacity]);
                if (v[top_seen_] < v[bottom_seen_]) {
                  take(v, entry);
                  return v.go_to(done.c_str());
                }
                if (!how_.owner_races_for_the_last || v.compare_exchange(top_, v[top_seen_], v[top_seen_] + 1))
                  take(v, entry);
              })
        .step("puts bottom back", [this](view& v) { v.store(bottom_, v[bottom_seen_] + 1, order::relaxed); })
        .label(done);
  }

  void take_oldest(program& p) {
    p.label("oldest")
        .step("looks at top for the oldest",
              [this](view& v) {
                v[top_seen_] = static_cast<signed char>(v.load(top_));
                if (v[top_seen_] >= v.load(bottom_)) v.go_to("after the oldest");
              })
        .step("reads the oldest",
              [this](view& v) { v[oldest_] = static_cast<signed char>(v.load(slots_[v[top_seen_] % capacity])); })
        .step("moves top, or looks again",
              [this](view& v) {
                if (!how_.owner_races_for_the_oldest)
                  v.store(top_, v[top_seen_] + 1, order::seq_cst);
                else if (!v.compare_exchange(top_, v[top_seen_], v[top_seen_] + 1))
                  return v.go_to("oldest");
                take(v, v[oldest_]);
              })
        .label("after the oldest");
  }

  void thief(std::string const& name) {
    auto const top = e_.number(name + "'s top"), entry = e_.number(name + "'s entry");
    auto& p = e_.thread(name);
    p.step("looks at top", [=, this](view& v) {
       v[top] = static_cast<signed char>(v.load(top_));
     }).step("looks at bottom", [=, this](view& v) {
      if (v[top] >= v.load(bottom_)) v.end();
    });
    auto const read = [=, this](view& v) { v[entry] = static_cast<signed char>(v.load(slots_[v[top] % capacity])); };
    if (how_.thief_moves_top_last) p.step("reads the slot", read);
    p.step("moves top", [=, this](view& v) {
      if (!v.compare_exchange(top_, v[top], v[top] + 1)) v.end();
    });
    if (!how_.thief_moves_top_last) p.step("reads the slot", read);
    p.step("has it", [=, this](view& v) { take(v, v[entry]); });
  }

  void take(view& v, int entry) const {
    v.check(entry != 0, "a slot is read that was not written");
    if (entry == 0) return;
    auto& times = v[taken_[entry - 1]];
    v.check(++times == 1, "an entry is taken twice");
  }

  variation how_;
  explorer e_;
  variable top_ = e_.number("top"), bottom_ = e_.number("bottom");
  variable slots_[capacity] = {e_.number("slot 0"), e_.number("slot 1")};
  variable taken_[entries] = {e_.number("entry 1"), e_.number("entry 2"), e_.number("entry 3"), e_.number("entry 4")};
  variable top_seen_ = e_.number("owner's top"), bottom_seen_ = e_.number("owner's bottom");
  variable oldest_ = e_.number("owner's oldest");
};

verdict explore(variation how) { return deque_model{how}.explore(); }

TEST(deque_model, gives_each_entry_to_one_taker) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 1000U);
  }
}

TEST(deque_model, gives_each_entry_to_one_taker_when_the_owner_takes_the_oldest_too) {
  for (auto const kind : {memory::sequential, memory::store_buffers, memory::weak}) {
    auto const result = explore({.kind = kind, .takes_oldest = true});
    EXPECT_TRUE(result.holds()) << result;
    EXPECT_GT(result.states, 1000U);
  }
}

TEST(deque_model, fails_if_the_owner_takes_the_oldest_without_racing_for_it) {
  auto const result = explore({.kind = memory::sequential, .takes_oldest = true, .owner_races_for_the_oldest = false});
  EXPECT_TRUE(result.fails_with("taken twice")) << result;
}

TEST(deque_model, fails_if_the_owner_takes_the_last_entry_without_moving_top) {
  auto const result = explore({.kind = memory::sequential, .owner_races_for_the_last = false});
  EXPECT_TRUE(result.fails_with("taken twice")) << result;
}

TEST(deque_model, fails_if_the_owners_claim_may_be_seen_late) {
  EXPECT_TRUE(explore({.kind = memory::sequential, .claim = order::release}).holds());
  auto const result = explore({.kind = memory::store_buffers, .claim = order::release});
  EXPECT_TRUE(result.fails_with("taken twice")) << result;
}

TEST(deque_model, fails_if_the_bottom_may_be_seen_before_the_slot) {
  EXPECT_TRUE(explore({.kind = memory::store_buffers, .publish = order::relaxed}).holds());
  auto const result = explore({.publish = order::relaxed});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(deque_model, fails_if_a_slot_is_used_again_without_a_look_at_top) {
  auto const result = explore({.kind = memory::sequential, .looks_at_top_before_reuse = false});
  EXPECT_FALSE(result.holds()) << result;
}

TEST(deque_model, fails_if_a_thief_moves_top_before_it_has_read_the_slot) {
  auto const result = explore({.kind = memory::sequential, .thief_moves_top_last = false});
  EXPECT_FALSE(result.holds()) << result;
}

}  // namespace
}  // namespace errand::model
