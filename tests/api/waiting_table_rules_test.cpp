// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of docs/guide/waiting.md, row by row: what parks a task and what is a point of cancellation (rules of behaviour
// 1 and 6). A call that blocked its worker, where the table says that it parks, would hang.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>
#include <errand/sync.hpp>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

int one() { return 1; }
std::vector<int> const none, single{1}, several{1, 2, 3};

// ---- points of cancellation --------------------------------------------------------------------------------------------

// In a task that has just been asked to stop: does the call throw operation_cancelled?
bool is_point(errand::place on, std::function<void()> const& call) {
  std::stop_source source;
  bool cancelled = false;
  auto f = errand::async({.on = on, .stop = source.get_token()}, [&] {
    source.request_stop();
    try {
      call();
    } catch (errand::operation_cancelled const&) {
      cancelled = true;
    }
  });
  static_cast<void>(f.result());
  return cancelled;
}

TEST(waiting_table, rule_06_what_is_said_to_be_a_point_of_cancellation_is_one_and_nothing_else_is) {
  errand::pool other{2};
  // Not children of the task that will wait, so that they do not end with it.
  auto const sleeping = [&] { return errand::async(other, [] { errand::this_task::sleep_for(24h); }); };
  errand::future<void> pending;
  auto const ready = [] { return errand::async(errand::inplace, one); };
  auto const plus = [](int a, int b) { return a + b; };
  auto const nothing = [](auto&&...) {};
  // Loops whose elements others have done meanwhile end as if nothing had happened; these elements nobody can do.
  auto const sleeps = [](auto&&...) {
    errand::this_task::sleep_for(24h);
    return 1;
  };

  struct row {
    char const* call;
    bool is_point;
    std::function<void()> make;
  };
  std::vector<row> const rows = {
      {"get", true, [&] { pending.get(); }},
      {"wait", true, [&] { pending.wait(); }},
      {"result", true, [&] { static_cast<void>(pending.result()); }},
      {"wait_for", true, [&] { pending.wait_for(24h); }},
      {"wait_for no time", true, [&] { pending.wait_for(0s); }},
      {"wait_until", true, [&] { pending.wait_until(std::chrono::steady_clock::now()); }},
      {"get of a child", true, [&] { errand::async(one).get(); }},
      {"get of what is there", false, [&] { ready().get(); }},
      {"wait_for what is there", false, [&] { ready().wait_for(24h); }},
      {"shared get", true, [&] { pending.share().get(); }},
      {"shared wait_for", true, [&] { pending.share().wait_for(0s); }},
      {"shared get of what is there", false, [&] { ready().share().get(); }},
      {"ready, valid, request_stop", false, [&] { (static_cast<void>(pending.ready()), pending.request_stop()); }},
      {"detach", false, [&] { errand::async(one).detach(); }},
      {"then", false, [&] { auto const f = ready().then(nothing); }},
      {"when_all", false, [&] { auto const f = errand::when_all(ready(), ready()); }},
      {"when_any", false, [&] { auto const f = errand::when_any(errand::async(one), ready()); }},
      {"drop", false, [&] { pending = {}; }},
      {"drop shared", false, [&] { auto const f = pending.share(); }},
      {"co_await", true, [&] { errand::async(errand::inplace, [&]() -> errand::task<> { co_await pending; }).get(); }},
      {"co_await a task", false,
       [&] {
         auto const child = []() -> errand::task<> { co_return; };
         errand::async(errand::inplace, [&]() -> errand::task<> { co_await child(); }).get();
       }},
      {"co_await sleep_for no time", true,
       [&] { errand::async(errand::inplace, []() -> errand::task<> { co_await errand::sleep_for(0s); }).get(); }},
      {"sleep_for no time", true, [] { errand::this_task::sleep_for(0s); }},
      {"sleep_until", true, [] { errand::this_task::sleep_until(std::chrono::steady_clock::now()); }},
      {"yield", true, [] { errand::this_task::yield(); }},
      {"check_stop", true, [] { errand::this_task::check_stop(); }},
      {"stop_token, name", false,
       [] { (static_cast<void>(errand::this_task::stop_token()), static_cast<void>(errand::this_task::name())); }},
      {"async", false, [&] { auto const f = errand::async(one); }},
      {"async in place", false, [&] { auto const f = errand::async(errand::inplace, one); }},
      {"map", true, [&] { errand::map(several, sleeps); }},
      {"for_each", true, [&] { errand::for_each(several, sleeps); }},
      {"for_each_index", true, [&] { errand::for_each_index(3, sleeps); }},
      {"reduce", true, [&] { errand::reduce(several, 0, plus, sleeps); }},
      {"parallel_invoke", true, [&] { errand::parallel_invoke(sleeps, sleeps); }},
      {"a loop of one", false, [&] { errand::reduce(single, 0, plus); }},
      {"a loop of none", false, [&] { errand::for_each(none, nothing); }},
      {"a loop in place", false, [&] { errand::for_each(errand::inplace, several, nothing); }},
      {"spawn", false, [&] { errand::task_group{}.spawn(one); }},
      {"wait of a group", true,
       [&] {
         errand::task_group g;
         g.spawn(one);
         g.wait();
       }},
      {"wait of an empty group", true, [] { errand::task_group{}.wait(); }},
      {"errors, request_stop of a group", false,
       [] {
         errand::task_group g;
         g.request_stop();
         static_cast<void>(g.errors());
       }},
      {"a pool, from its beginning to its end", false, [] { static_cast<void>(errand::pool{1}.statistics()); }},
  };
  for (auto const& r : rows)
    for (errand::place const on : {errand::place{errand::threads}, errand::place{errand::blocking}}) {
      pending = sleeping();
      EXPECT_EQ(is_point(on, r.make), r.is_point) << r.call;
    }
}

TEST(waiting_table, rule_06_so_it_is_with_queues_run_loops_events_semaphores_and_once) {
  errand::serial_queue idle, held;
  errand::concurrent_queue table, held_table;
  errand::serial_queue full{{.bound = 1}};
  errand::run_loop unserved;
  auto const held_back = held.suspend();
  auto const table_held_back = held_table.suspend();
  auto const full_one = full.suspend();
  auto waiting = errand::async(full, [] {});
  auto const nothing = [] {};
  errand::data_source<errand::merge::add> there;
  errand::timer_source never{24h};
  errand::ticker ticks = errand::every(24h, nothing);
  errand::semaphore empty, many{1000};
  errand::once undone, running;
  flag runs, let_go;
  std::thread doing{[&] {
    running.call([&] {
      runs.raise();
      let_go.wait();
    });
  }};
  runs.wait();

  struct row {
    char const* call;
    bool is_point;
    std::function<void()> make;
  };
  std::vector<row> const rows = {
      {"a queue, its members", false,
       [&] {
         errand::serial_queue q{"q"};
         errand::queue_local<int> local;
         local.set(q, 1);
         local.reset(q);
         static_cast<void>(local.get());
         auto const guard = q.suspend();
         static_cast<void>(q.is_current());
         static_cast<void>(q.statistics());
         static_cast<void>(errand::to_string(q));
       }},
      {"main_queue", false, [] { static_cast<void>(errand::main_queue()); }},
      {"async", false, [&] { auto const f = errand::async(idle, one); }},
      {"async_barrier", false, [&] { auto const f = errand::async_barrier(table, one); }},
      {"async, held back", false, [&] { auto const f = errand::async(held, one); }},
      {"async to a full queue", true, [&] { auto const f = errand::async(full, one); }},
      {"sync of an idle queue", false, [&] { errand::sync(errand::serial_queue{}, nothing); }},
      {"sync_barrier of an idle queue", false, [&] { errand::sync_barrier(errand::concurrent_queue{}, nothing); }},
      {"sync", true, [&] { errand::sync(held, nothing); }},
      {"sync of a concurrent queue", true, [&] { errand::sync(held_table, nothing); }},
      {"sync_barrier", true, [&] { errand::sync_barrier(held_table, nothing); }},
      {"sync with another thread's loop", true, [&] { errand::sync(unserved, nothing); }},
      // These throw std::logic_error on a pool; at blocking the loop is the thread's.
      {"run_for of a loop", false, [] { errand::run_loop{}.run_for(0s); }},
      {"poll of a loop", false, [] { errand::run_loop{}.poll(); }},
      {"run of a loop",
       false,
       [] {
         errand::run_loop l;
         l.stop();
         l.run();
       }},
      {"run_until of a loop", false, [&] { errand::run_loop{}.run_until(errand::async(errand::inplace, one)); }},
      {"stop, descriptor, on_wake", false,
       [] {
         errand::run_loop l;
         l.stop();
         static_cast<void>(l.descriptor());
         l.on_wake([] {});
       }},
      {"after", false, [&] { auto const f = errand::after(24h, one); }},
      {"every, rearm, active, and its end", false,
       [&] {
         errand::ticker t = errand::every(24h, nothing);
         t.rearm(48h);
         static_cast<void>(t.active());
         t.cancel();
       }},
      {"on, and its end", false, [&] { auto const h = errand::on(idle, errand::timer_source{24h}, nothing); }},
      {"try_next, rearm, cancel", false,
       [] {
         errand::timer_source t{24h};
         t.try_next();
         t.rearm(48h);
         t.cancel();
       }},
      {"next", true, [&] { never.next(); }},
      {"next of what is there", false,
       [&] {
         there.add(1);
         there.next();
       }},
      {"co_await a source", true,
       [&] { errand::async(errand::inplace, [&]() -> errand::task<> { co_await never; }).get(); }},
      {"wait of a handler", true, [&] { ticks.wait(); }},
      {"wait of one that has ended", false,
       [&] {
         errand::ticker t = errand::every(24h, nothing);
         t.cancel();
         t.wait();
       }},
      {"acquire", true, [&] { empty.acquire(); }},
      {"acquire of what is there", false, [&] { many.acquire(); }},
      {"try_acquire_for", true, [&] { static_cast<void>(empty.try_acquire_for(24h)); }},
      {"try_acquire_until", true, [&] { static_cast<void>(empty.try_acquire_until(std::chrono::steady_clock::now() + 24h)); }},
      {"try_acquire_for what is there", false, [&] { static_cast<void>(many.try_acquire_for(24h)); }},
      {"try_acquire, release", false, [&] { (static_cast<void>(empty.try_acquire()), many.release()); }},
      {"call of a once", false, [&] { undone.call(nothing); }},
      {"call of one that somebody else is at", true, [&] { running.call(nothing); }},
      {"done", false, [&] { static_cast<void>(running.done()); }},
  };
  for (auto const& r : rows)
    for (errand::place const on : {errand::place{errand::threads}, errand::place{errand::blocking}})
      EXPECT_EQ(is_point(on, r.make), r.is_point) << r.call;
  let_go.raise();
  doing.join();
  waiting.request_stop();
}

TEST(waiting_table, rule_06_a_loop_at_blocking_is_one_for_a_single_element_too_if_a_worker_calls) {
  auto const loop = [](auto body) { return [=] { errand::for_each(errand::blocking, single, body); }; };
  EXPECT_TRUE(is_point(errand::threads, loop([](int) { errand::this_task::sleep_for(24h); })));
  EXPECT_FALSE(is_point(errand::blocking, loop([](int) {})));
}

// ---- what parks --------------------------------------------------------------------------------------------------------

TEST(waiting_table, rule_01_what_is_said_to_park_a_task_lets_its_worker_go_on) {
  errand::pool own{1};
  errand::pool other{2};
  flag* went_on = nullptr;  // raised by a second task of the same worker
  auto const until_it_went_on = [&] {
    went_on->wait();
    return 1;
  };
  auto const pending = [&] { return errand::async(other, until_it_went_on); };
  auto const parks = [&](int) {
    pending().get();
    return 1;
  };
  auto const plus = [](int a, int b) { return a + b; };

  struct row {
    char const* call;
    std::function<void()> make;
  };
  std::vector<row> const rows = {
      {"get", [&] { pending().get(); }},
      {"wait", [&] { pending().wait(); }},
      {"result", [&] { static_cast<void>(pending().result()); }},
      {"wait_for", [&] { pending().wait_for(24h); }},
      {"wait_until", [&] { pending().wait_until(std::chrono::steady_clock::time_point::max()); }},
      {"shared get", [&] { pending().share().get(); }},
      {"shared wait_for", [&] { pending().share().wait_for(24h); }},
      {"get of a when_all", [&] { errand::when_all(pending(), pending()).get(); }},
      {"get of a when_any", [&] { errand::when_any(pending(), pending()).get(); }},
      {"get of a task<T>",
       [&] {
         auto const awaits = [&]() -> errand::task<int> {
           auto f = pending();
           co_return co_await f;
         };
         awaits().get();
       }},
      {"drop",
       [&] {
         flag begun;
         auto const f = errand::async(other, [&] {
           begun.raise();
           until_it_went_on();
         });
         begun.wait();
       }},
      {"drop shared",
       [&] {
         flag begun;
         auto const f = errand::async(other, [&] {
           begun.raise();
           until_it_went_on();
         }).share();
         begun.wait();
       }},
      {"sleep_for", [&] { while (!went_on->is_raised()) errand::this_task::sleep_for(1ms); }},
      {"sleep_until",
       [&] {
         while (!went_on->is_raised()) errand::this_task::sleep_until(std::chrono::steady_clock::now() + 1ms);
       }},
      {"yield", [&] { while (!went_on->is_raised()) errand::this_task::yield(); }},
      {"map", [&] { errand::map(other, several, parks); }},
      {"for_each_index", [&] { errand::for_each_index(3, [&](std::size_t) { parks(0); }); }},
      {"reduce", [&] { errand::reduce(own, several, 0, plus, parks); }},
      {"parallel_invoke", [&] { errand::parallel_invoke([&] { parks(0); }, [&] { parks(0); }); }},
      {"map at blocking", [&] { errand::map(errand::blocking, several, [&](int) { return until_it_went_on(); }); }},
      {"a loop of one at blocking",
       [&] { errand::for_each(errand::blocking, single, [&](int) { until_it_went_on(); }); }},
      {"wait of a group",
       [&] {
         errand::task_group g{other};
         g.spawn(until_it_went_on);
         g.wait();
       }},
      {"the end of a group",
       [&] {
         flag begun;
         errand::task_group g{other};
         g.spawn([&] {
           begun.raise();
           until_it_went_on();
         });
         begun.wait();
       }},
  };
  for (auto const& r : rows) {
    SCOPED_TRACE(r.call);
    flag raised;
    went_on = &raised;
    errand::async(own, [&] {
      auto second = errand::async(own, [&] { raised.raise(); });
      r.make();
      second.get();
    }).get();
  }
}

TEST(waiting_table, rule_01_so_do_queues_run_loops_events_semaphores_and_once) {
  errand::pool own{1};
  errand::pool other{2};
  flag* went_on = nullptr;  // raised by a second task of the same worker
  auto const until_it_went_on = [&] { went_on->wait(); };
  auto const nothing = [] {};

  struct row {
    char const* call;
    std::function<void()> make;
  };
  std::vector<row> const rows = {
      {"sync",
       [&] {
         errand::serial_queue q{"q", other};
         auto first = errand::async(q, until_it_went_on);
         errand::sync(q, nothing);
         first.get();
       }},
      {"sync_barrier",
       [&] {
         errand::concurrent_queue q{"q", other};
         auto first = errand::async(q, until_it_went_on);
         errand::sync_barrier(q, nothing);
         first.get();
       }},
      {"sync of a concurrent queue",
       [&] {
         errand::concurrent_queue q{"q", other};
         auto first = errand::async_barrier(q, until_it_went_on);
         errand::sync(q, nothing);
         first.get();
       }},
      {"sync with another thread's loop",
       [&] {
         errand::run_loop loop;
         std::thread serves{[&] {
           went_on->wait();
           loop.run();
         }};
         errand::sync(loop, nothing);
         loop.stop();
         serves.join();
       }},
      {"async to a full queue",
       [&] {
         errand::serial_queue q{{.on = other, .bound = 1}};
         flag begun;
         auto first = errand::async(q, [&] {
           begun.raise();
           until_it_went_on();
         });
         begun.wait();
         auto second = errand::async(q, nothing);
         auto third = errand::async(q, nothing);
         third.get();
         second.get();
         first.get();
       }},
      {"next",
       [&] {
         errand::data_source<errand::merge::add> source;
         auto brings = errand::async(other, [&] {
           until_it_went_on();
           source.add(1);
         });
         source.next();
         brings.get();
       }},
      {"co_await a source",
       [&] {
         errand::data_source<errand::merge::add> source;
         auto brings = errand::async(other, [&] {
           until_it_went_on();
           source.add(1);
         });
         auto const awaits = [&]() -> errand::task<> { co_await source; };
         awaits().get();
         brings.get();
       }},
      {"wait of a handler",
       [&] {
         auto h = errand::on(other, errand::timer_source{1ms}, [&] {
           until_it_went_on();
           throw errand::operation_cancelled{};
         });
         h.wait();
       }},
      {"cancel of a handler whose call runs",
       [&] {
         flag begun;
         auto h = errand::on(other, errand::timer_source{1ms}, [&] {
           begun.raise();
           until_it_went_on();
         });
         begun.wait();
         h.cancel();
       }},
      {"the end of a ticker whose call runs",
       [&] {
         flag begun;
         auto const t = errand::every(other, 1ms, [&] {
           begun.raise();
           until_it_went_on();
         });
         begun.wait();
       }},
      {"acquire",
       [&] {
         errand::semaphore s;
         auto releases = errand::async(other, [&] {
           until_it_went_on();
           s.release();
         });
         s.acquire();
         releases.get();
       }},
      {"try_acquire_for",
       [&] {
         errand::semaphore s;
         auto releases = errand::async(other, [&] {
           until_it_went_on();
           s.release();
         });
         EXPECT_TRUE(s.try_acquire_for(24h));
         releases.get();
       }},
      {"call of a once that somebody else is at",
       [&] {
         errand::once o;
         flag begun;
         auto does = errand::async(other, [&] {
           o.call([&] {
             begun.raise();
             until_it_went_on();
           });
         });
         begun.wait();
         o.call(nothing);
         does.get();
       }},
  };
  for (auto const& r : rows) {
    SCOPED_TRACE(r.call);
    flag raised;
    went_on = &raised;
    errand::async(own, [&] {
      auto second = errand::async(own, [&] { raised.raise(); });
      r.make();
      second.get();
    }).get();
  }
}

TEST(waiting_table, rule_01_the_end_of_a_pool_blocks_the_worker_that_ends_it) {
  errand::pool own{{.workers = 1, .spares = 0}};  // or a spare would stand in
  errand::async(own, [&] {
    bool went_on = false;
    auto second = errand::async(own, [&] { went_on = true; });
    {
      errand::pool ends{1};
      errand::async(ends, [] { errand::this_task::sleep_for(5ms); }).detach();
    }
    EXPECT_FALSE(went_on);
    second.get();
  }).get();
}

}  // namespace
