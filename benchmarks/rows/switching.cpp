// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Leaving a task and coming back to it: yield, and a wait that really waits.
#include "alternation.hpp"
#include "chain.hpp"

#include "fiber/stack.hpp"

#include <errand/task.hpp>

#include <memory>
#include <vector>

namespace microbench {

namespace {

using future = errand::future<void>;

repetition yield_to_each_other(settings const& s) {
  auto pool = std::make_shared<errand::pool>(1U);
  return [pool, n = s.times(500'000)] {
    alternation turns{n};
    auto one = errand::async(*pool, [&] { turns.take_turns(1, [] { errand::this_task::yield(); }); });
    auto two = errand::async(*pool, [&] { turns.take_turns(2, [] { errand::this_task::yield(); }); });
    one.get();
    two.get();
    return turns.result();
  };
}

// Something to wait for that ends when it is told to and can be used again: what is behind a future, without a task.
class reusable_end : public errand::detail::record {
 public:
  reusable_end() : record{&nothing, std::source_location::current()} { renew(); }

  void renew() { state_.store(running, std::memory_order_relaxed); }
  [[nodiscard]] bool awaited() const {
    return (state_.load(std::memory_order_relaxed) & errand::detail::record_state::hooked) != 0;
  }

 private:
  static constexpr auto running = errand::detail::record_state::handle | errand::detail::record_state::begun;
  static bool nothing(record*, errand::detail::record_verb) noexcept { return true; }
};

repetition park_and_resume(settings const& s) {
  auto pool = std::make_shared<errand::pool>(1U);
  return [pool, n = s.times(200'000)] {
    reusable_end first, second;
    std::size_t parked = 0;
    // Each way once: the other is let go on, then it is waited for.
    auto const turn = [&parked](reusable_end& own, reusable_end& others) {
      if (others.awaited()) ++parked;
      complete(others);
      wait(own);
      own.renew();
    };
    auto answers = errand::async(*pool, [&] {
      wait(second);
      second.renew();
      for (std::size_t i = 1; i < n; ++i) turn(second, first);
      complete(first);
    });
    auto asks = errand::async(*pool, [&] {
      auto const begin = now_ns();
      for (std::size_t i = 0; i < n; ++i) turn(first, second);
      return ns_each(begin, now_ns(), 2 * n);
    });
    auto const cost = asks.get();
    answers.get();
    // Of the answering side's n - 1 wakings and the asking side's n.
    return sample{cost, {{"% parked", 100 * static_cast<double>(parked) / static_cast<double>(2 * n - 1)}}};
  };
}

void wait_as_fiber(chain& c, future before) {
  ++c.waiting;
  before.get();
  ++c.ended;
}
errand::task<void> wait_as_coroutine(chain& c, future before) {
  ++c.waiting;
  co_await before;
  ++c.ended;
}

// Starts the chain with its first task, joins it with its last.
template <class Wait>
void run_chain(errand::pool& pool, std::size_t length, chain& c, Wait wait) {
  future last = errand::async(pool, [&c] {
    while (!c.all_wait()) errand::this_task::yield();
  });
  for (std::size_t i = 1; i < length; ++i) last = errand::async(pool, wait, std::ref(c), std::move(last));
  last.get();
  require(c.ended == c.expected, "a task of the chain never ended");
}

// A fiftieth of the row's thousand would be no chain.
std::size_t chain_length(settings const& s) { return s.quick ? 100 : s.times(1000); }

// All tasks of a length are started from the main thread, so that the time of their start is part of the cost.
template <class Wait>
repetition suspend_once(
    settings const& s, Wait wait, void (*before)() = [] {}) {
  auto pool = std::make_shared<errand::pool>(1U);
  return [=, n = chain_length(s)] {
    before();
    chain c{n};
    auto const begin = now_ns();
    run_chain(*pool, n, c, wait);
    return sample{ns_each(begin, now_ns(), n), {{"most waiting", static_cast<double>(c.waiting)}}};
  };
}

// The same without the main thread: the chain is started, and joined, by a task on the worker.
repetition suspend_once_inside(settings const& s) {
  auto pool = std::make_shared<errand::pool>(1U);
  return [pool, n = chain_length(s)] {
    chain c{n};
    auto const cost = errand::async(*pool, [&] {
                        auto const begin = now_ns();
                        run_chain(*pool, n, c, &wait_as_fiber);
                        return ns_each(begin, now_ns(), n);
                      }).get();
    return sample{cost, {{"most waiting", static_cast<double>(c.waiting)}}};
  };
}

// In a process of its own, whose memory nobody else has used and given back. `frame`: bytes that are the user's own.
template <class Wait>
repetition weigh(std::size_t length, Wait wait, std::size_t frame = 0) {
  return [=] {
    errand::pool pool{1};
    errand::async(pool, empty_task).get();
    chain c{length};
    c.weigh = true;
    auto const before = resident_bytes();
    auto const begin = now_ns();
    run_chain(pool, length, c, wait);
    auto const end = now_ns();
    sample result{(c.resident - before) / static_cast<double>(length) - static_cast<double>(frame),
                  {{"most waiting", static_cast<double>(c.waiting)}, {"ns each", ns_each(begin, end, length)}}};
    if (frame != 0) result.facts.push_back({"bytes of the frame beside", static_cast<double>(frame)});
    return result;
  };
}

add const yield{"yield", role::ours, "errand", &yield_to_each_other};

add const parking{"park-resume", role::ours, "errand", &park_and_resume};

add const fibers{"suspend-once", role::ours, "errand, fibers",
                 [](settings const& s) { return suspend_once(s, &wait_as_fiber); }};
add const inside{"suspend-once", role::ours, "errand, fibers, started inside", &suspend_once_inside};
add const cold_fibers{"suspend-once", role::ours, "errand, fibers on cold stacks", [](settings const& s) {
                        return suspend_once(s, &wait_as_fiber, [] { errand::detail::trim_stacks(); });
                      }};
add const coroutines{"suspend-once", role::ours, "errand, coroutines",
                     [](settings const& s) { return suspend_once(s, &wait_as_coroutine); }};

add const coroutine_memory{"suspended-memory", role::ours, "errand, 1 000 000 coroutines, beyond the frame",
                           [](settings const& s) {
                             return weigh(s.times(1'000'000), &wait_as_coroutine, bare_frame_of_a_chain());
                           },
                           place::own_process};
add const fiber_memory{"suspended-memory", role::ours, "errand, 10 000 fibers",
                       [](settings const& s) { return weigh(s.times(10'000), &wait_as_fiber); }, place::own_process};

}  // namespace

}  // namespace microbench
