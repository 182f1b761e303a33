// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Many empty items given to a queue or a pool: what ours and the rivals are all timed by. A Queue is made for so many workers and
// brings
//   on_main(f)      what f returns, called by the main thread, where it may push
//   inside(f)       returns when f was called by one of the threads that run the items
//   prepare(n)      room for so many; not timed
//   push()          an item
//   wait(who, n)    returns when all n have run
//   verify(n)       throws wrong_result if they were not one at a time, where that was asked for
// and for those that can be held back
//   hold()          returns when no item begins any more
//   release()
#pragma once

#include "allocations.hpp"
#include "answer.hpp"
#include "system_state.hpp"
#include "who_ran.hpp"

#include <memory>
#include <optional>

namespace microbench {

// What an item of a serial queue does beside its visit: an increment that is lost if two run at a time.
class one_at_a_time {
 public:
  void enter() noexcept { ++entered_; }
  void reset() noexcept { entered_ = 0; }
  void verify(std::size_t count) const { require(entered_ == count, "items of a serial queue ran at the same time"); }

 private:
  std::size_t entered_ = 0;
};

// Holds a queue back by an item that does not return.
class stopper {
 public:
  void stand() {
    there_.give();
    go_.take();
  }
  void wait_until_it_stands() { there_.take(); }
  void let_go() { go_.give(); }

 private:
  answer there_{};
  answer go_{};
};

// Once for the memory, which is the first of its process, and once for the time.
template <class Round>
repetition warmed_up(Round round) {
  return [round] {
    static_cast<void>(round());
    return round();
  };
}

template <class Queue>
repetition items_from_main(settings const& s) {
  auto q = std::make_shared<Queue>(s.workers);
  return warmed_up([q, n = s.times(1'000'000)] {
    return q->on_main([&] {
      q->prepare(n);
      roll_call const who;
      auto const begin = now_ns();
      for (std::size_t i = 0; i < n; ++i) q->push();
      q->wait(who, n);
      auto const end = now_ns();
      q->verify(n);
      return sample{ns_each(begin, end, n), who.end(n).facts()};
    });
  });
}

// % elsewhere is what others ran than the thread that pushed.
template <class Queue>
repetition items_from_inside(settings const& s) {
  auto q = std::make_shared<Queue>(s.workers);
  return warmed_up([q, n = s.times(1'000'000)] {
    return q->on_main([&] {
      q->prepare(n);
      std::optional<roll_call> who;
      std::int64_t begin = 0;
      q->inside([&] {
        who.emplace();
        begin = now_ns();
        for (std::size_t i = 0; i < n; ++i) q->push();
      });
      q->wait(*who, n);
      auto const end = now_ns();
      q->verify(n);
      return sample{ns_each(begin, end, n), who->end(n).facts()};
    });
  });
}

// The same million in two parts: pushed while nothing begins, then drained.
template <class Queue>
repetition items_apart(settings const& s) {
  auto q = std::make_shared<Queue>(s.workers);
  return warmed_up([q, n = s.times(1'000'000)] {
    return q->on_main([&] {
      q->prepare(n);
      q->hold();
      roll_call const who;
      auto const begin = now_ns();
      for (std::size_t i = 0; i < n; ++i) q->push();
      auto const pushed = now_ns();
      auto const early = who.end().visits;
      auto const released = now_ns();
      q->release();
      q->wait(who, n);
      auto const end = now_ns();
      require(early == 0, "an item began while its queue was held back");
      q->verify(n);
      auto facts = who.end(n).facts();
      facts.push_back({"pushing", ns_each(begin, pushed, n)});
      facts.push_back({"draining", ns_each(released, end, n)});
      return sample{ns_each(begin, pushed, n) + ns_each(released, end, n), std::move(facts)};
    });
  });
}

inline constexpr std::size_t items_at_once = 10'000;
inline constexpr int rounds_to_warm_up = 20;

// A queue that is loaded all the time, where no more than items_at_once wait: what is recycled is recycled.
template <class Queue>
repetition items_loaded(settings const& s) {
  auto q = std::make_shared<Queue>(s.workers);
  return [q, rounds = s.times(100)] {
    return q->on_main([&] {
      q->prepare(items_at_once);
      auto const load = [&] {
        roll_call const who;
        for (std::size_t i = 0; i < items_at_once; ++i) q->push();
        q->wait(who, items_at_once);
      };
      for (int i = 0; i < rounds_to_warm_up; ++i) load();
      // How many wait at once differs from round to round: all must have.
      if constexpr (requires { q->hold(); }) {
        roll_call const who;
        q->hold();
        for (std::size_t i = 0; i < items_at_once; ++i) q->push();
        q->release();
        q->wait(who, items_at_once);
      }
      auto const n = rounds * items_at_once;
      q->prepare(items_at_once);
      roll_call const who;
      allocation_count const count;
      auto const begin = now_ns();
      for (std::size_t round = 1; round <= rounds; ++round) {
        for (std::size_t i = 0; i < items_at_once; ++i) q->push();
        q->wait(who, round * items_at_once);
      }
      auto const end = now_ns();
      auto const allocations = static_cast<double>(count.so_far());
      q->verify(n);
      auto facts = who.end(n).facts();
      facts.push_back({"allocations", allocations});
      return sample{ns_each(begin, end, n), std::move(facts)};
    });
  };
}

}  // namespace microbench
