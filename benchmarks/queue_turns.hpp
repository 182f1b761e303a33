// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions run in their turn on the caller's thread, and items that go back and forth between two queues: what ours and the
// rivals are all timed by.
#pragma once

#include "answer.hpp"
#include "system_state.hpp"
#include "who_ran.hpp"

#include <algorithm>
#include <atomic>

namespace microbench {

// enter(f) calls f alone, here and now.
template <class Enter>
sample turns_alone(std::size_t count, Enter enter) {
  std::size_t entered = 0;
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i)
    enter([&] {
      visit();
      ++entered;
    });
  auto const end = now_ns();
  require(entered == count, "a function was not called in its turn");
  auto const turnout = who.end(count);
  require(turnout.elsewhere == 0, "a function was called on another thread than its caller's");
  return {ns_each(begin, end, count), turnout.facts()};
}

// A semaphore with one permit, taken and given back.
template <class Semaphore>
sample permits_alone(std::size_t count) {
  Semaphore permits{1};
  auto const result = turns_alone(count, [&](auto f) {
    permits.acquire();
    f();
    permits.release();
  });
  require(permits.try_acquire() && !permits.try_acquire(), "a permit was lost");
  return result;
}

// call(f) calls f, but only the first time.
template <class Call>
sample done_once(std::size_t count, Call call) {
  std::size_t calls = 0;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) call([&] { ++calls; });
  auto const end = now_ns();
  require(calls == 1, "what is done once was done again");
  return {ns_each(begin, end, count)};
}

// Two who take turns at the same time: each calls compete() once, on a thread of its own or as a task.
class contended_turns {
 public:
  explicit contended_turns(std::size_t each) : each_{each} {}

  // `me` is 0 or 1; give_way() is called until the other is there.
  template <class Enter, class GiveWay>
  void compete(std::size_t me, Enter enter, GiveWay give_way) {
    present_.fetch_add(1);
    while (present_.load(std::memory_order_relaxed) != 2) give_way();
    began_[me] = now_ns();
    for (std::size_t i = 0; i < each_; ++i)
      enter([&] {
        visit();
        ++entered_;
        alternated_ += last_ != me;
        last_ = me;
      });
    ended_[me] = now_ns();
  }

  // When both have returned. % alternated is how often the one before was the other: 0 if they never met.
  [[nodiscard]] sample result(roll_call const& who) const {
    require(entered_ == 2 * each_, "two were in at the same time");
    auto facts = who.end(2 * each_).facts();
    facts.push_back({"% alternated", 100 * static_cast<double>(alternated_) / static_cast<double>(2 * each_)});
    return {ns_each(std::min(began_[0], began_[1]), std::max(ended_[0], ended_[1]), 2 * each_), std::move(facts)};
  }

 private:
  std::size_t each_;
  std::atomic<int> present_{0};
  std::int64_t began_[2] = {};
  std::int64_t ended_[2] = {};
  // Whoever is in.
  alignas(128) std::size_t entered_ = 0;
  std::size_t alternated_ = 0;
  std::size_t last_ = 2;
};

// An item is given, then a function called in its turn, again and again: microseconds for both. give(f) may return something to
// be finished by finish() when the function has been called.
template <class Give, class Enter, class Finish>
sample turns_behind(std::size_t count, Give give, Enter enter, Finish finish) {
  std::size_t items = 0;
  std::size_t behind = 0;
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) {
    auto item = give([&] {
      visit();
      ++items;
    });
    enter([&] { behind += items == i + 1; });
    finish(item);
  }
  auto const end = now_ns();
  require(behind == count, "a function was called before the item ahead of it");
  return {ns_each(begin, end, 1000 * count), who.end(count).facts()};
}

// Items, each of which gives the next one to the other of two queues.
struct hops {
  std::size_t left = 0;       // whoever runs
  std::size_t misplaced = 0;  // those that ran in the wrong queue; every 1024th is looked at
  answer over{};              // when there is none left

  // By the item; true if there is a next one to be given.
  template <class RightPlace>
  bool go_on(RightPlace right_place) {
    visit();
    if (left % 1024 == 0 && !right_place()) ++misplaced;
    return --left != 0;
  }
};

// start(hops) gives the first item; who runs the last one says so by hops::over. `h` is the subject's from one repetition to
// the next: who has said that all is over may be about to wake us still.
template <class Start>
sample hops_to_and_fro(hops& h, std::size_t count, Start start) {
  h.left = count;
  roll_call const who;
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  start(h);
  h.over.take();
  auto const end = now_ns();
  auto const spent = cpu_ns() - cpu;
  require(h.misplaced == 0, "an item ran in another queue than its own");
  auto facts = who.end(count).facts();
  facts.push_back({"CPU", static_cast<double>(spent) / static_cast<double>(end - begin)});
  return {ns_each(begin, end, count), std::move(facts)};
}

}  // namespace microbench
