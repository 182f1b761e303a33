// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Boost.Asio: handlers posted to an io_context or a thread_pool, and its timers.
#include "allocations.hpp"
#include "answer.hpp"
#include "fine_grained.hpp"
#include "idle_window.hpp"
#include "round_trips.hpp"
#include "sleeping.hpp"

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace microbench {

namespace {

namespace asio = boost::asio;

// A handler that posts the next one, and what it counts down.
struct chain_of_posts {
  asio::io_context& io;
  std::size_t left;
  std::int64_t end = 0;
};
struct next_post {
  chain_of_posts& chain;
  void operator()() const {
    visit();
    if (--chain.left != 0)
      asio::post(chain.io, next_post{chain});
    else
      chain.end = now_ns();
  }
};

// By default the context locks as for any number of threads; a hint of 1 lets it know that there is one.
repetition post_and_run(std::size_t count, unsigned threads, int hint) {
  return [=] {
    asio::io_context io{hint};
    chain_of_posts chain{io, count};
    std::optional<roll_call> who;
    std::int64_t begin = 0;
    asio::post(io, [&] {
      who.emplace();
      begin = now_ns();
      asio::post(io, next_post{chain});
    });
    std::vector<std::thread> runners;
    for (unsigned i = 0; i < threads; ++i) runners.emplace_back([&io] { io.run(); });
    for (auto& r : runners) r.join();
    return sample{ns_each(begin, chain.end, count), who->end(count).facts()};
  };
}

constexpr int any_number = BOOST_ASIO_CONCURRENCY_HINT_DEFAULT;

add const chain_1{"spawn-join-1", role::rival, "Asio",
                  [](settings const& s) { return post_and_run(s.times(1'000'000), 1, any_number); }};
add const chain_hint{"spawn-join-1", role::rival, "Asio, concurrency hint 1",
                     [](settings const& s) { return post_and_run(s.times(1'000'000), 1, 1); }};
add const chain_2{"spawn-join-2", role::rival, "Asio",
                  [](settings const& s) { return post_and_run(s.times(200'000), 2, any_number); }};

repetition million_from_main(settings const& s) {
  return [s, n = s.times(1'000'000)] {
    asio::thread_pool pool{s.workers};
    roll_call const who;
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i) asio::post(pool, empty_task);
    pool.join();
    auto const end = now_ns();
    return sample{ns_each(begin, end, n), who.end(n).facts()};
  };
}
repetition million_from_inside(settings const& s) {
  return [s, n = s.times(1'000'000)] {
    asio::thread_pool pool{s.workers};
    std::optional<roll_call> who;
    std::int64_t begin = 0;
    asio::post(pool, [&] {
      who.emplace();
      begin = now_ns();
      for (std::size_t i = 0; i < n; ++i) asio::post(pool, empty_task);
    });
    pool.join();
    auto const end = now_ns();
    return sample{ns_each(begin, end, n), who->end(n).facts()};
  };
}
add const from_main{"million-from-main", role::rival, "Asio", &million_from_main};
add const from_inside{"million-from-inside", role::rival, "Asio", &million_from_inside};

// A pool, and one task on it waited for.
struct asker {
  explicit asker(unsigned workers) : pool{workers} {}
  ~asker() { pool.join(); }
  template <class F>
  void ask(F f) {
    asio::post(pool, [this, f] {
      f();
      done.give();
    });
    done.take();
  }
  asio::thread_pool pool;
  answer done{};
};

add const cold{"wake-cold", role::rival, "Asio", &cold_asker<asker, false>, place::own_process};
add const both_asleep{"wake-both-asleep", role::rival, "Asio", &cold_asker<asker, true>, place::own_process};
add const hot{"wake-hot", role::rival, "Asio", &hot_asker<asker, 20'000>};

add const fine_grained{"fine-grained", role::rival, "Asio, from main", [](settings const& s) -> repetition {
                         auto it = std::make_shared<asker>(s.workers);
                         return [=] {
                           return added_by_dispatch(s, [&](std::size_t i, seat const* here) {
                             std::size_t count = 0;
                             it->ask([&count, i, here] { count = counted_task(i, here); });
                             return count;
                           });
                         };
                       }};

add const idle{"idle-cpu", role::rival, "Asio",
               [](settings const& s) -> repetition {
                 return [s] {
                   asker it{idle_workers};
                   return idle_window(s, [&] {
                     for (int i = 0; i < 10'000; ++i) asio::post(it.pool, empty_task);
                     it.ask(empty_task);
                   });
                 };
               },
               place::own_process};

add const allocations{"allocations", role::rival, "Asio, inside a handler", [](settings const&) -> repetition {
                        return [] {
                          constexpr std::size_t count = 10'000;
                          asio::io_context io;
                          chain_of_posts chain{io, count};
                          next_post{chain}();  // the first block that the chain recycles
                          allocation_count const counter;
                          io.run();
                          require(chain.left == 0, "the chain of posts broke");
                          auto const all = static_cast<double>(counter.so_far());
                          return sample{all / count, {{"in all", all}}};
                        };
                      }};

// A timer that is armed and cancelled, again and again, inside its own handler.
struct cancelled_timer {
  asio::steady_timer timer;
  std::size_t left;
  std::size_t expired = 0;
  void again() {
    timer.expires_after(std::chrono::hours{1});
    timer.async_wait([this](boost::system::error_code const& e) {
      expired += !e;
      if (--left != 0) again();
    });
    timer.cancel();
  }
};
add const arm{"timer-arm", role::rival, "Asio", [](settings const& s) -> repetition {
                return [n = s.times(100'000)] {
                  asio::io_context io;
                  cancelled_timer timer{.timer = asio::steady_timer{io}, .left = n};
                  auto const begin = now_ns();
                  timer.again();
                  io.run();
                  auto const end = now_ns();
                  require(timer.left == 0 && timer.expired == 0, "a timer was not cancelled");
                  return sample{ns_each(begin, end, n)};
                };
              }};

// One timer again and again.
struct alarm_clock {
  asio::steady_timer timer;
  lateness late{};
  std::size_t count;
  std::int64_t begin = 0;
  void again() {
    begin = now_ns();
    timer.expires_after(short_sleep);
    timer.async_wait([this](boost::system::error_code const&) {
      late.woke(begin);
      if (!late.enough(count)) again();
    });
  }
};
add const late{"sleep-lateness", role::rival, "Asio", [](settings const& s) -> repetition {
                 return [n = s.times(200)] {
                   asio::io_context io;
                   alarm_clock alarm{.timer = asio::steady_timer{io}, .count = n};
                   alarm.again();
                   io.run();
                   return alarm.late.result();
                 };
               }};

repetition many_sleepers(std::size_t count, unsigned workers) {
  return [=] {
    asio::thread_pool pool{workers};
    std::vector<std::unique_ptr<asio::steady_timer>> timers;
    timers.reserve(count);
    sleepers all;
    for (std::size_t i = 0; i < count; ++i) {
      auto const begin = now_ns();
      timers.push_back(std::make_unique<asio::steady_timer>(pool, long_sleep));
      timers.back()->async_wait([&all, begin](boost::system::error_code const&) { all.woke(begin); });
    }
    all.all_started();
    pool.join();
    return all.result(count);
  };
}
add const ten_thousand{"sleepers-10k", role::rival, "Asio, timers without tasks",
                       [](settings const& s) { return many_sleepers(s.times(10'000), s.workers); }, place::own_process};
add const hundred_thousand{"sleepers-100k", role::rival, "Asio, timers without tasks",
                           [](settings const& s) { return many_sleepers(s.times(100'000), s.workers); },
                           place::own_process};

}  // namespace

}  // namespace microbench
