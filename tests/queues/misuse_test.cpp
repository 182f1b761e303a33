// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every misuse of queues, run loops, sources, timers, semaphores and once ends in an exception, or, where nothing can be thrown, in the
// program's end, with words that name what was wrong. What they are for users: docs/reference/queue.md, "What ends in an error".
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/queue.hpp>
#include <errand/sync.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand::main_queue;
using errand_test::flag;

struct misuse {
  char const* what;
  std::function<void()> make;
  std::vector<char const*> named;  // words that its message must have
};

/// Each must throw an Exception that names what was wrong.
template <class Exception>
void expect_each_is_told(std::vector<misuse> const& all) {
  for (auto const& m : all) {
    SCOPED_TRACE(m.what);
    try {
      m.make();
      ADD_FAILURE() << "nothing was thrown";
    } catch (Exception const& e) {
      std::string const text = e.what();
      EXPECT_FALSE(text.empty());
      for (auto const* const word : m.named) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
    } catch (std::exception const& e) {
      ADD_FAILURE() << "of another kind: " << e.what();
    }
  }
}

TEST(misuse, arguments_that_make_no_sense_are_named) {
  errand::serial_queue q{"cart"};
  std::vector<int> const three{1, 2, 3};
  auto const plus = [](int a, int b) { return a + b; };
  expect_each_is_told<std::invalid_argument>({
      {"a target inplace", [] { errand::serial_queue{"q", errand::inplace}; }, {"target", "inplace"}},
      {"a target blocking", [] { errand::concurrent_queue{"q", errand::blocking}; }, {"target", "blocking"}},
      {"for_each_index at a queue", [&] { errand::for_each_index(q, 3, [](std::size_t) {}); }, {"loop", "\"cart\""}},
      {"for_each at a queue", [&] { errand::for_each(q, three, [](int) {}); }, {"loop", "\"cart\""}},
      {"map at a queue", [&] { errand::map(q, three, [](int n) { return n; }); }, {"loop", "\"cart\""}},
      {"reduce at a queue", [&] { errand::reduce(q, three, 0, plus); }, {"loop", "\"cart\""}},
      {"after at inplace", [] { errand::after(errand::place{errand::inplace}, 1ms, [] {}).get(); }, {"errand::after()", "inplace"}},
      {"every at inplace", [] { static_cast<void>(errand::every(errand::place{errand::inplace}, 1ms, [] {})); }, {"inplace"}},
      {"on at inplace",
       [] { static_cast<void>(errand::on(errand::place{errand::inplace}, errand::timer_source{1s}, [] {})); },
       {"errand::on()", "inplace"}},
      {"a period of 0", [] { static_cast<void>(errand::every(0s, [] {})); }, {"period", "positive", "0 ns"}},
      {"a negative period", [] { errand::timer_source{-1ms}; }, {"period", "positive", "-1000000 ns"}},
      {"rearming by 0", [] { errand::timer_source{1s}.rearm(0ms); }, {"period", "0 ns"}},
      {"rearming a ticker by less", [] { errand::every(24h, [] {}).rearm(-5ns); }, {"period", "-5 ns"}},
      {"a signal that cannot be caught", [] { errand::signal_source{SIGKILL}; }, {"signal_source", "9"}},
      {"a signal of a fault", [] { errand::signal_source{SIGSEGV}; }, {"signal_source", "11"}},
      {"no signal", [] { errand::signal_source(std::initializer_list<int>{}); }, {"signal_source", "no signal"}},
      {"a signal that is none", [] { errand::signal_source{1000}; }, {"signal_source", "1000"}},
      {"no change of a file", [] { errand::file_source("/tmp", errand::file_change::none); }, {"/tmp", "no change"}},
      {"a negative number of permits", [] { errand::semaphore{-3}; }, {"semaphore", "-3"}},
      {"too many permits", [] { errand::semaphore{PTRDIFF_MAX}; }, {"semaphore", "permits"}},
  });
}

TEST(misuse, what_the_system_refuses_is_named) {
  int const file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  expect_each_is_told<std::system_error>({
      {"no descriptor", [] { errand::readable_source{-1}; }, {"readable_source", "-1"}},
      {"a closed descriptor", [] { errand::writable_source{1 << 20}; }, {"writable_source", "1048576"}},
      {"a regular file", [&] { errand::readable_source{file}; }, {"readable_source", "regular file"}},
      {"no process", [] { errand::child_source{-1}; }, {"child_source", "-1"}},
      {"no child", [] { errand::child_source{1}; }, {"child_source", "1", "no child"}},
      {"no such file", [] { errand::file_source{"/no/such/file"}; }, {"file_source", "/no/such/file"}},
  });
  ::close(file);
}

TEST(misuse, waits_that_could_never_end_are_told) {
  errand::serial_queue base{"base"};
  errand::serial_queue child{"child", base};
  errand::concurrent_queue table{"table"};
  errand::serial_queue full{{.name = "full", .bound = 1}};
  auto const in = [](errand::queue const& q, auto call) { errand::async({.on = q, .name = "caller"}, call).get(); };
  auto const nothing = [] {};
  expect_each_is_told<errand::deadlock>({
      {"sync onto the queue one is on", [&] { in(base, [&] { errand::sync(base, nothing); }); }, {"sync()", "\"base\"", "\"caller\""}},
      {"the same in sync", [&] { errand::sync(base, [&] { errand::sync(base, nothing); }); }, {"sync()", "\"base\""}},
      {"the same of a concurrent one", [&] { in(table, [&] { errand::sync(table, nothing); }); }, {"sync()", "\"table\""}},
      {"sync_barrier", [&] { in(table, [&] { errand::sync_barrier(table, nothing); }); }, {"sync()", "\"table\""}},
      {"child to base", [&] { in(child, [&] { errand::sync(base, nothing); }); }, {"sync()", "\"base\"", "\"caller\""}},
      {"base to child", [&] { in(base, [&] { errand::sync(child, nothing); }); }, {"\"child\"", "\"base\"", "target"}},
      {"a later item of the same queue",
       [&] {
         in(base, [&] {
           auto later = errand::async({.on = base, .name = "later"}, nothing);
           try {
             later.get();
           } catch (...) {
             later.detach();
             throw;
           }
         });
       },
       {"\"later\"", "\"base\"", "\"caller\""}},
      {"room in the own queue",
       [&] {
         in(full, [&] {
           errand::async(full, nothing).detach();
           errand::async(full, nothing).detach();
         });
       },
       {"\"full\"", "room", "1 item"}},
      {"once in itself",
       [] {
         errand::once o;
         o.call([&] { o.call([] {}); });
       },
       {"once", "itself"}},
      {"the main queue by its own thread, in an item",
       [&] { main_queue().run_until(errand::async(main_queue(), [&] { errand::sync(main_queue(), nothing); })); },
       {"sync()", "\"main\""}},
      {"a loop that runs until its own item has ended",
       [] {
         std::optional<errand::shared_future<void>> own;
         auto f = errand::async(main_queue(), [&] { main_queue().run_until(*own); }).share();
         own = f;
         main_queue().run_until(f);
       },
       {"run_until()", "itself", "\"main\""}},
      {"a handler that waits for its own end",
       [] {
         flag made;
         std::string text;  // and not the exception, which would go with the handler's thread
         std::unique_ptr<errand::ticker> t;
         t = std::make_unique<errand::ticker>(errand::every(1ms, [&] {
           made.wait_yielding();
           try {
             t->wait();
           } catch (errand::deadlock const& e) {
             text = e.what();
           }
           throw errand::operation_cancelled{};
         }));
         made.raise();
         t->wait();
         throw errand::deadlock{text};
       },
       {"handler::wait()", "handler"}},
  });
}

TEST(misuse, a_full_queue_that_refuses_is_named_with_its_bound) {
  for (std::size_t const bound : {1U, 2U}) {
    errand::serial_queue q{{.name = "mail", .bound = bound, .full = errand::when_full::refuse}};
    auto held = q.suspend();
    std::vector<errand::future<void>> all;
    for (std::size_t i = 0; i < bound; ++i) all.push_back(errand::async(q, [] {}));
    auto const refused = [&](auto make) { return std::function<void()>{make}; };
    auto const* const how_many = bound == 1 ? "1 item waits" : "2 items wait";
    expect_each_is_told<errand::queue_full>({
        {"async", refused([&] { errand::async(q, [] {}).get(); }), {"\"mail\"", how_many}},
        {"async with options", refused([&] { errand::async({.on = q, .name = "one more"}, [] {}).get(); }), {"\"mail\"", how_many}},
        {"spawn", refused([&] { errand::task_group{q}.spawn([] {}); }), {"\"mail\"", how_many}},
    });
    EXPECT_EQ(q.statistics().waiting, bound) << "nothing of it is left";
    held.resume();
    for (auto& f : all) f.get();
  }
}

TEST(misuse, the_wrong_place_is_named) {
  errand::serial_queue q{"cart"};
  errand::run_loop loop{"own"};
  std::thread serves{[&] { loop.run(); }};
  errand::async(loop, [] {}).get();  // it has its thread now
  auto ready = errand::async([] {});
  ready.wait();
  auto const in_task = [](auto call) { return [=] { errand::async(call).get(); }; };
  auto const on_thread = [](auto call) {
    return [=] {
      std::exception_ptr error;
      std::thread{[&] {
        try {
          call();
        } catch (...) {
          error = std::current_exception();
        }
      }}.join();
      if (error) std::rethrow_exception(error);
    };
  };
  expect_each_is_told<std::logic_error>({
      {"assert_current", [&] { q.assert_current(); }, {"assert_current()", "\"cart\"", "in no queue"}},
      {"assert_current elsewhere", [&] { errand::sync(errand::serial_queue{"other"}, [&] { q.assert_current(); }); },
       {"\"cart\"", "\"other\""}},
      {"run of another thread's loop", [&] { loop.run(); }, {"run()", "\"own\"", "another thread"}},
      {"poll of it", [&] { loop.poll(); }, {"poll()", "\"own\"", "another thread"}},
      {"run_for of it", [&] { loop.run_for(1ms); }, {"run_for()", "\"own\"", "another thread"}},
      {"run_until of it", [&] { loop.run_until(ready); }, {"run_until()", "\"own\"", "another thread"}},
      {"run of the main queue", on_thread([] { main_queue().run(); }), {"run()", "\"main\"", "another thread"}},
      {"run in a task", in_task([] { main_queue().run(); }), {"run()", "\"main\"", "task"}},
      {"poll in a task", in_task([] { main_queue().poll(); }), {"poll()", "\"main\"", "task"}},
      {"run_until in a task", in_task([] { main_queue().run_until(errand::async([] {})); }), {"run_until()", "\"main\"", "task"}},
      {"run_until of no task", [] { main_queue().run_until(errand::future<void>{}); }, {"run_until()"}},
  });
  loop.stop();
  serves.join();
}

TEST(misuse, sources_that_are_somebody_elses_are_named) {
  errand::timer_source ticks{24h};
  auto taken = errand::on(errand::threads, std::move(ticks), [] {});
  errand::timer_source busy{24h};
  std::atomic<int> number{0};
  std::thread waits{[&] {
    number = errand_test::thread_number();
    EXPECT_FALSE(busy.next());
  }};
  while (number == 0) std::this_thread::yield();
  errand_test::wait_until_asleep(number);
  auto moved = std::move(taken);
  errand::ticker other = errand::every(24h, [] {});
  errand::ticker const gone_to = std::move(other);
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tried
  expect_each_is_told<std::logic_error>({
      {"next of one that was taken over", [&] { ticks.next(); }, {"event source", "moved away"}},
      {"try_next", [&] { ticks.try_next(); }, {"event source", "moved away"}},
      {"co_await", [&] { errand::async([&]() -> errand::task<void> { co_await ticks; }).get(); }, {"event source", "moved away"}},
      {"rearm", [&] { ticks.rearm(1s); }, {"event source", "moved away"}},
      {"a handler for one that was taken over", [&] { static_cast<void>(errand::on(errand::threads, std::move(ticks), [] {})); },
       {"event source", "moved away"}},
      {"next beside another one who waits", [&] { busy.next(); }, {"somebody else waits"}},
      {"co_await beside another one", [&] { errand::async([&]() -> errand::task<void> { co_await busy; }).get(); },
       {"somebody else waits"}},
      {"a handler beside one who waits", [&] { static_cast<void>(errand::on(errand::threads, std::move(busy), [] {})); },
       {"somebody else waits"}},
      {"rearm of a ticker that was moved away", [&] { other.rearm(1s); }, {"handler", "moved away"}},
      {"adder of one that was moved away",
       [] {
         errand::data_source<errand::merge::add> d;
         auto const to = std::move(d);
         static_cast<void>(d.adder());
       },
       {"event source", "moved away"}},
      {"put to one that was moved away",
       [] {
         errand::data_source<errand::merge::replace<int>> d;
         auto const to = std::move(d);
         d.put(1);
       },
       {"event source", "moved away"}},
  });
  EXPECT_FALSE(taken.active());
  taken.wait();  // of nothing: it has ended
  // NOLINTEND(bugprone-use-after-move)
  busy.cancel();
  waits.join();
}

TEST(misuse, what_belongs_to_the_parent_process_is_named) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  errand::serial_queue q{"parents"};
  errand::concurrent_queue c{"parents"};
  errand::run_loop loop{"parents"};
  errand::timer_source ticks{24h};
  auto ticker = errand::every(24h, [] {});
  EXPECT_EQ(errand_test::in_child([&] {
              auto const is_told = [](char const* what, auto call) {
                try {
                  call();
                } catch (std::logic_error const& e) {
                  std::string const text = e.what();
                  errand_test::require(text.find("parent") != std::string::npos, std::string{what} + " says: " + text);
                  return;
                }
                errand_test::require(false, std::string{what} + " is refused");
              };
              is_told("async", [&] { errand::async(q, [] {}).get(); });
              is_told("async_barrier", [&] { errand::async_barrier(c, [] {}).get(); });
              is_told("sync", [&] { errand::sync(q, [] {}); });
              is_told("sync_barrier", [&] { errand::sync_barrier(c, [] {}); });
              is_told("a target", [&] { errand::serial_queue{"child", q}; });
              is_told("run", [&] { loop.run(); });
              is_told("poll", [&] { loop.poll(); });
              is_told("next", [&] { ticks.next(); });
              is_told("on", [&] { static_cast<void>(errand::on(errand::threads, std::move(ticks), [] {})); });
              is_told("wait", [&] { ticker.wait(); });
            }),
            0);
}

// ---- where nothing can be thrown -------------------------------------------------------------------------------------------

class misuse_death : public testing::Test {
 protected:
  misuse_death() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(misuse_death, too_many_permits_are_told) {
  EXPECT_DEATH(errand::semaphore{1}.release(-1), "errand::semaphore::release\\(-1\\): the number is negative");
  EXPECT_DEATH(errand::semaphore{1}.release(errand::semaphore::max()), "there would be more permits than semaphore::max\\(\\)");
}

void destroys_a_semaphore_for_which_a_thread_waits() {
  auto s = std::make_unique<errand::semaphore>();
  std::atomic<int> number{0};
  std::thread waits{[&number, it = s.get()] {
    number = errand_test::thread_number();
    it->acquire();
  }};
  while (number == 0) std::this_thread::yield();
  errand_test::wait_until_asleep(number);
  s.reset();
}

TEST_F(misuse_death, a_semaphore_that_is_destroyed_while_somebody_waits_is_told) {
  EXPECT_DEATH(destroys_a_semaphore_for_which_a_thread_waits(), "an errand::semaphore was destroyed while somebody waits for it");
}

// It is suspended, and has to come back to the queue to end.
void drops_what_has_to_come_back() {
  errand::serial_queue q{"cart"};
  flag begun;
  auto f = errand::async({.on = q, .name = "suspended"}, [&]() -> errand::task<void> {
    begun.raise();
    co_await errand::sleep_for(24h);
  });
  begun.wait();
  errand::async(q, [&] { f = {}; }).get();
}

TEST_F(misuse_death, a_future_that_is_dropped_where_its_task_would_have_to_end_is_told) {
  EXPECT_DEATH(drops_what_has_to_come_back(),
               "the future of task \"suspended\" .* is dropped in the serial queue \"cart\"");
}

TEST_F(misuse_death, data_added_to_a_source_that_was_moved_away_are_told) {
  EXPECT_DEATH(
      {
        errand::data_source<errand::merge::add> d;
        auto const to = std::move(d);
        d.add(1);  // NOLINT(bugprone-use-after-move): add() may not throw
      },
      "there is no event source");
}

}  // namespace
