// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Boost.Fiber: a stack for each task. With its default stacks and with pooled ones, which are faster.
#include "allocations.hpp"
#include "alternation.hpp"
#include "chain.hpp"
#include "sleeping.hpp"

#include <boost/fiber/all.hpp>
#include <boost/fiber/pooled_fixedsize_stack.hpp>

#include <thread>
#include <vector>

namespace microbench {

namespace {

namespace fibers = boost::fibers;

// A scheduler belongs to a thread: each repetition has a thread of its own, as an asio chain has.
template <class F>
void on_a_fresh_thread(F f) {
  std::exception_ptr error;
  std::thread{[&] {
    try {
      f();
    } catch (...) {
      error = std::current_exception();
    }
  }}.join();
  if (error) std::rethrow_exception(error);
}

template <class Stacks>
sample spawn_and_join(std::size_t count) {
  Stacks stacks;
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) fibers::fiber{std::allocator_arg, stacks, empty_task}.join();
  auto const end = now_ns();
  return {ns_each(begin, end, count), who.end(count).facts()};
}

template <class Stacks>
repetition one_thread(settings const& s) {
  return [n = s.times(50'000)] {
    sample result;
    on_a_fresh_thread([&] { result = spawn_and_join<Stacks>(n); });
    return result;
  };
}

// Two threads that share their work; the second one's first fiber sleeps until the end.
repetition two_threads(settings const& s) {
  return [n = s.times(50'000)] {
    sample result;
    fibers::mutex guard;
    fibers::condition_variable_any over_changed;
    bool over = false;
    std::thread second{[&] {
      fibers::use_scheduling_algorithm<fibers::algo::shared_work>(true);
      std::unique_lock lock{guard};
      over_changed.wait(lock, [&] { return over; });
    }};
    on_a_fresh_thread([&] {
      fibers::use_scheduling_algorithm<fibers::algo::shared_work>(true);
      result = spawn_and_join<fibers::pooled_fixedsize_stack>(n);
      {
        std::lock_guard const lock{guard};
        over = true;
      }
      over_changed.notify_all();
    });
    second.join();
    return result;
  };
}

add const one_default{"spawn-join-1", role::rival, "Boost.Fiber", &one_thread<fibers::default_stack>};
add const one_pooled{"spawn-join-1", role::rival, "Boost.Fiber, pooled stacks",
                     &one_thread<fibers::pooled_fixedsize_stack>};
add const two{"spawn-join-2", role::rival, "Boost.Fiber, pooled stacks", &two_threads};
add const hop_default{"spawn-join-hop", role::rival, "Boost.Fiber", &one_thread<fibers::default_stack>};
add const hop_pooled{"spawn-join-hop", role::rival, "Boost.Fiber, pooled stacks",
                     &one_thread<fibers::pooled_fixedsize_stack>};

add const yield{"yield", role::rival, "Boost.Fiber", [](settings const& s) -> repetition {
                  return [n = s.times(200'000)] {
                    alternation turns{n};
                    on_a_fresh_thread([&] {
                      auto const run = [&](int me) { turns.take_turns(me, [] { boost::this_fiber::yield(); }); };
                      fibers::fiber first{run, 1};
                      fibers::fiber second{run, 2};
                      first.join();
                      second.join();
                    });
                    return turns.result();
                  };
                }};

template <class Stacks>
void run_chain(std::size_t length, chain& c) {
  Stacks stacks;
  fibers::fiber last{[&c] {
    while (!c.all_wait()) boost::this_fiber::yield();
  }};
  for (std::size_t i = 1; i < length; ++i)
    last = fibers::fiber{std::allocator_arg, stacks, [&c, before = std::move(last)]() mutable {
                           ++c.waiting;
                           before.join();
                           ++c.ended;
                         }};
  last.join();
  require(c.ended == c.expected, "a fiber of the chain never ended");
}

add const suspend{"suspend-once", role::rival, "Boost.Fiber, pooled stacks", [](settings const& s) -> repetition {
                    return [n = s.quick ? std::size_t{100} : std::size_t{1000}] {
                      sample result;
                      on_a_fresh_thread([&] {
                        chain c{n};
                        auto const begin = now_ns();
                        run_chain<fibers::pooled_fixedsize_stack>(n, c);
                        result = {ns_each(begin, now_ns(), n), {{"most waiting", static_cast<double>(c.waiting)}}};
                      });
                      return result;
                    };
                  }};
add const memory{"suspended-memory", role::rival, "Boost.Fiber, 10 000 fibers",
                 [](settings const& s) -> repetition {
                   return [n = s.times(10'000)] {
                     sample result;
                     on_a_fresh_thread([&] {
                       chain c{n};
                       c.weigh = true;
                       auto const before = resident_bytes();
                       auto const begin = now_ns();
                       run_chain<fibers::default_stack>(n, c);
                       auto const end = now_ns();
                       result = {
                           (c.resident - before) / static_cast<double>(n),
                           {{"most waiting", static_cast<double>(c.waiting)}, {"ns each", ns_each(begin, end, n)}}};
                     });
                     return result;
                   };
                 },
                 place::own_process};

add const allocations{"allocations", role::rival, "Boost.Fiber, pooled stacks", [](settings const&) -> repetition {
                        return [] {
                          constexpr std::size_t count = 10'000;
                          double all = 0;
                          on_a_fresh_thread([&] {
                            fibers::pooled_fixedsize_stack stacks;
                            auto const join = [&] { fibers::fiber{std::allocator_arg, stacks, empty_task}.join(); };
                            join();
                            allocation_count const counter;
                            for (std::size_t i = 0; i < count; ++i) join();
                            all = static_cast<double>(counter.so_far());
                          });
                          return sample{all / count, {{"in all", all}}};
                        };
                      }};

repetition many_sleepers(std::size_t count) {
  return [=] {
    sample result;
    on_a_fresh_thread([&] {
      std::vector<fibers::fiber> started;
      started.reserve(count);
      sleepers all;
      for (std::size_t i = 0; i < count; ++i)
        started.emplace_back([&all] {
          auto const begin = now_ns();
          boost::this_fiber::sleep_for(long_sleep);
          all.woke(begin);
        });
      all.all_started();
      for (auto& f : started) f.join();
      result = all.result(count);
    });
    return result;
  };
}
add const ten_thousand{"sleepers-10k", role::rival, "Boost.Fiber, 1 thread",
                       [](settings const& s) { return many_sleepers(s.times(10'000)); }, place::own_process};
add const hundred_thousand{"sleepers-100k", role::rival, "Boost.Fiber, 1 thread",
                           [](settings const& s) { return many_sleepers(s.times(100'000)); }, place::own_process};

}  // namespace

}  // namespace microbench
