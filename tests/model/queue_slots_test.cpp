// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Concurrent queues, src/queue/README.md: slots and barriers in `control_`, who stalls for them (Q4), and a caller of sync() that takes
// a slot by itself. Threads push items and barriers, two workers take what lies in the pool. Never is a barrier beside anything, no more
// are under way than the width lets, nothing is left lying, and the queue is freed once, although a slot alone keeps it.
#include "explorer.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace errand::model {
namespace {

struct variation {
  std::string_view pushed = "ib";          // an item or a barrier, by each pusher
  int width = 2;
  bool syncs = false;                      // the pusher of the first takes a slot afterwards, by sync()
  bool slot_before_it_leaves = true;       // the slot is taken under the hold
  bool slot_keeps = true;                  // a reference goes with it
  bool barrier_looks_at_slots = true;
  bool giver_looks_for_the_mark = true;    // (Q4) who gives a slot back
  bool giver_looks_for_barriers = true;    // (Q4) also for that of a barrier
  bool staller_looks_again = true;         // (Q4)
  bool caller_looks_at_the_word = true;    // sync(): a barrier that was pushed shows there
  bool caller_looks_at_barriers = true;    // sync(): one that runs shows in control_
};

constexpr int held = 1, entry = 2, open = 4;
constexpr int slot = 1, barrier = 8, stalled_for_slot = 16, stalled_for_all = 32;
int slots(int control) { return control % barrier; }

// Items in a row, the oldest in the lowest digit.
constexpr int is_item = 1, is_barrier = 2, kinds = 3;
int append(int row, int more) {
  int at = 1;
  while (row / at != 0) at *= kinds;
  return row + more * at;
}

class queue {
 public:
  explicit queue(variation how) : how_{how}, e_{memory::store_buffers} {}

  verdict explore() {
    for (std::size_t i = 0; i < how_.pushed.size(); ++i) pusher(i);
    for (int i = 0; i < 2; ++i) worker(keep("worker " + std::to_string(i)));
    e_.at_the_end([this](view& v) {
      v.check(v.load(ran_) == static_cast<int>(how_.pushed.size()), "an item is left lying");
      v.check(v.load(queue_) == 0, "the queue is not freed");
    });
    return e_.explore();
  }

 private:
  char const* keep(std::string text) {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return kept_.back()->c_str();
  }

  void schedule(view& v) const {
    v.check(v.load(pool_) == 0, "the queue lies in its pool twice");
    v.add(pool_, 1);
  }
  [[nodiscard]] bool forbids(int control, int what) const {
    if (what == is_barrier) return (control & barrier) != 0 || (how_.barrier_looks_at_slots && slots(control) != 0);
    return (control & barrier) != 0 || slots(control) >= how_.width;
  }
  void begins(view& v, int what) const {
    v.check(v.load(alone_) == 0, "something runs beside a barrier");
    v.check(what != is_barrier || v.load(running_) == 0, "a barrier runs beside something");
    v.add(what == is_barrier ? alone_ : running_, 1);
    v.check(v.load(running_) <= how_.width, "more are under way than the width lets");
  }
  void ends(view& v, int what) const { v.add(what == is_barrier ? alone_ : running_, -1); }

  // A reference or a loan: the last takes `open` away.
  void gives_back(program& p) const {
    p.step("gives a reference back", [this](view& v) {
      if (v.add(references_, -1) != 1) return;
      v.touch(queue_);
      int const w = v.load(word_);
      v.exchange(word_, w & ~open);
      if ((w & ~open) == 0) v.free(queue_);
    });
  }

  void gives_slot_back(program& p, variable saw) const {
    p.step("gives its slot back (Q4)", [this, saw](view& v) {
      v.touch(queue_);
      int const c = v.load(control_);
      int after = c - slot;
      bool const for_all = (c & stalled_for_all) != 0 && slots(after) == 0 && how_.giver_looks_for_barriers;
      v[saw] = ((c & stalled_for_slot) != 0 || for_all) && how_.giver_looks_for_the_mark ? 1 : 0;
      if (v[saw] == 1) after &= ~(stalled_for_slot | stalled_for_all);
      v.exchange(control_, after);
    });
    p.step("schedules who stalled for it", [this, saw](view& v) {
      if (v[saw] == 1) schedule(v);
    });
  }

  void pusher(std::size_t number) {
    int const what = how_.pushed[number] == 'b' ? is_barrier : is_item;
    auto const name = keep("pusher " + std::to_string(number));
    auto const saw = e_.number(std::string{"what "} + name + " saw");
    auto& p = e_.thread(name);
    p.step("pushes (Q1)", [this, saw, what](view& v) {
      v.touch(queue_);
      int const w = v.load(word_);
      v[saw] = (w & (held | entry)) == 0 ? 1 : 0;
      v.exchange(word_, v[saw] == 1 ? w | entry : w);
      v.exchange(newest_, append(v.load(newest_), what));
    });
    p.step("schedules", [this, saw](view& v) {
      if (v[saw] == 1) schedule(v);
    });
    if (how_.syncs && number == 0) {
      p.step("looks at the word (Q3)", [this](view& v) {
        v.touch(queue_);
        if (how_.caller_looks_at_the_word && (v.load(word_) != open || v.load(newest_) != 0)) v.go_to("gone");
      });
      p.step("takes a slot", [this](view& v) {
        int const c = v.load(control_);
        if (how_.caller_looks_at_barriers ? forbids(c, is_item) : slots(c) >= how_.width) return v.go_to("gone");
        v.exchange(control_, c + slot);
      });
      p.step("begins", [this, what](view& v) {
        // Who pushes last, a barrier or an item, may come before or after; the one that this thread pushed came before.
        v.check(what != is_barrier || v.load(barriers_) != 0, "sync() overtakes a barrier");
        begins(v, is_item);
      });
      p.step("ends", [this](view& v) { ends(v, is_item); });
      gives_slot_back(p, saw);
    }
    p.label("gone");
    gives_back(p);
  }

  void worker(char const* name) {
    auto const saw = e_.number(std::string{"what "} + name + " saw");
    auto const what = e_.number(std::string{"what "} + name + " has");
    auto& p = e_.thread(name);
    p.label("looks").rest("takes the entry from the pool", [this](view& v) {
      v.await(v.load(pool_) != 0);
      v.add(pool_, -1);
    });
    p.step("takes the queue, if nobody holds it (Q2)", [this](view& v) {
      v.touch(queue_);
      int const w = v.load(word_);
      v.exchange(word_, (w & ~entry) | held);
      if ((w & held) != 0) return v.go_to("looks");
      v.exchange(ready_, append(v.load(ready_), v.exchange(newest_, 0)));
    });
    p.label("chooses").step("looks what is first, or leaves (Q3)", [this, what](view& v) {
      v.touch(queue_);
      v[what] = static_cast<signed char>(v.load(ready_) % kinds);
      if (v[what] != 0) return;
      if (v.load(newest_) != 0) {
        v.exchange(ready_, v.exchange(newest_, 0));
        return v.go_to("chooses");
      }
      int const w = v.load(word_);
      v.exchange(word_, w & ~held);
      if ((w & ~held) == 0) v.free(queue_);
      v.go_to("looks");
    });
    p.step("takes what it needs (Q4)", [this, what](view& v) {
      v.touch(queue_);
      int const c = v.load(control_);
      if (forbids(c, v[what])) return v.go_to("stalls");
      if (v[what] == is_barrier)
        v.exchange(control_, c | barrier);
      else if (how_.slot_before_it_leaves)
        v.exchange(control_, c + slot);
    });
    p.step("takes it out of the list", [this, what](view& v) {
      v.exchange(ready_, v.load(ready_) / kinds);
      if (v[what] == is_item) v.go_to("leaves");
    });
    p.step("begins a barrier, under the hold", [this](view& v) { begins(v, is_barrier); });
    p.step("ends it", [this](view& v) {
      ends(v, is_barrier);
      v.add(ran_, 1);
      v.add(barriers_, 1);
    });
    gives_back(p);  // its loan
    p.step("is no barrier any more", [this](view& v) {
      v.touch(queue_);
      v.clear_bits(control_, barrier);
      v.go_to("chooses");
    });

    p.label("leaves").step("keeps the queue, and leaves it (Q3)", [this, saw](view& v) {
      v.touch(queue_);
      if (how_.slot_keeps) v.add(references_, 1);
      int const w = v.load(word_);
      bool const more = v.load(ready_) != 0 || v.load(newest_) != 0;
      v[saw] = more && (w & entry) == 0 ? 1 : 0;
      v.exchange(word_, (w & ~held) | (v[saw] == 1 ? entry : 0));
    });
    p.step("schedules it, if there is more", [this, saw](view& v) {
      if (v[saw] == 1) schedule(v);
    });
    if (!how_.slot_before_it_leaves) p.step("takes its slot late", [this](view& v) { v.add(control_, slot); });
    p.step("begins an item", [this](view& v) { begins(v, is_item); });
    p.step("ends it", [this](view& v) {
      ends(v, is_item);
      v.add(ran_, 1);
    });
    gives_back(p);  // its loan
    gives_slot_back(p, saw);
    if (how_.slot_keeps) gives_back(p);
    p.step("looks for more", [](view& v) { v.go_to("looks"); });

    p.label("stalls").step("leaves with the promise to come (Q4)", [this](view& v) {
      v.touch(queue_);
      int const w = v.load(word_);
      v.exchange(word_, (w & ~held) | entry);
      if ((w & entry) != 0) v.go_to("looks");
    });
    p.step("marks, if it still is forbidden", [this, what](view& v) {
      v.touch(queue_);
      int const c = v.load(control_);
      if (how_.staller_looks_again && !forbids(c, v[what]))
        schedule(v);
      else
        v.exchange(control_, c | (v[what] == is_barrier ? stalled_for_all : stalled_for_slot));
      v.go_to("looks");
    });
  }

  variation how_;
  explorer e_;
  std::vector<std::unique_ptr<std::string>> kept_{};
  variable queue_ = e_.object("queue");
  variable word_ = e_.number("word", open), newest_ = e_.number("newest"), ready_ = e_.number("ready");
  variable control_ = e_.number("control"), pool_ = e_.number("pool");
  variable running_ = e_.number("running"), alone_ = e_.number("barriers running");
  variable ran_ = e_.number("ran"), barriers_ = e_.number("barriers that ran");
  // Each pusher has a handle, and each item a loan.
  variable references_ = e_.number("references", 2 * static_cast<int>(how_.pushed.size()));
};

verdict explore(variation how) { return queue{how}.explore(); }
constexpr auto lying = "an item is left lying";

TEST(queue_slots, lose_nothing_and_let_barriers_run_alone) {
  for (auto const& how :
       {variation{.pushed = "iib"}, variation{.pushed = "ibb"}, variation{.pushed = "iii", .width = 1}, variation{.syncs = true},
        variation{.pushed = "bi", .syncs = true}, variation{.pushed = "bb", .syncs = true}}) {
    auto const result = explore(how);
    EXPECT_TRUE(result.holds()) << how.pushed << ": " << result;
    EXPECT_GT(result.states, 500U);
  }
}

TEST(queue_slots, fail_if_a_slot_is_taken_after_the_hold_is_left) {
  auto const result = explore({.pushed = "ib", .slot_before_it_leaves = false});
  EXPECT_TRUE(result.fails_with("a barrier")) << result;
}

TEST(queue_slots, fail_if_a_slot_does_not_keep_its_queue) {
  auto const result = explore({.pushed = "i", .slot_keeps = false});
  EXPECT_TRUE(result.fails_with("queue is touched after it was freed")) << result;
}

TEST(queue_slots, fail_if_a_barrier_does_not_look_at_slots) {
  auto const result = explore({.pushed = "ib", .barrier_looks_at_slots = false});
  EXPECT_TRUE(result.fails_with("a barrier")) << result;
}

TEST(queue_slots, fail_if_who_gives_one_back_does_not_look_for_who_stalled) {
  auto const result = explore({.pushed = "ii", .width = 1, .giver_looks_for_the_mark = false});
  EXPECT_TRUE(result.fails_with(lying)) << result;
}

TEST(queue_slots, fail_if_the_last_one_given_back_does_not_wake_a_barrier) {
  auto const result = explore({.pushed = "ib", .giver_looks_for_barriers = false});
  EXPECT_TRUE(result.fails_with(lying)) << result;
}

TEST(queue_slots, fail_if_who_stalls_does_not_look_again) {
  for (auto const& how : {variation{.pushed = "ii", .width = 1, .staller_looks_again = false},
                          variation{.pushed = "ib", .staller_looks_again = false}}) {
    auto const result = explore(how);
    EXPECT_TRUE(result.fails_with(lying)) << result;
  }
}

TEST(queue_slots, fail_if_a_caller_of_sync_does_not_look_at_the_word) {
  auto const result = explore({.pushed = "bi", .syncs = true, .caller_looks_at_the_word = false});
  EXPECT_TRUE(result.fails_with("sync() overtakes a barrier")) << result;
}

TEST(queue_slots, fail_if_a_caller_of_sync_does_not_look_at_barriers) {
  auto const result = explore({.pushed = "ib", .syncs = true, .caller_looks_at_barriers = false});
  EXPECT_TRUE(result.fails_with("beside a barrier") || result.fails_with("a barrier runs beside")) << result;
}

}  // namespace
}  // namespace errand::model
