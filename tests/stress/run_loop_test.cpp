// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Run loops and event sources in uses chosen by chance: a thread serves in every way there is, loops in loops among them, while threads
// and tasks push, sync, stop and suspend; a toolkit that is told by descriptor or hook; loops that end while others push; handlers that
// are cancelled while their events arrive. A lost wake hangs.
#include <errand/errand.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "stress/by_chance.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::by_chance;
using errand_test::counted;
using errand_test::generator;
using errand_test::rounds;
using errand_test::thread_number;

struct failure {};

class run_loops : public by_chance {
 protected:
  void all_have_gone() const {
    while (counted::alive() != 0) std::this_thread::yield();  // detached ones, and what a worker is just letting go of
  }
};

/// A loop with what its items must find: the thread that serves it.
struct served_loop {
  errand::run_loop loop{"served"};
  errand::serial_queue child{"child", loop};
  std::atomic<int> thread{0};
  std::atomic<bool> elsewhere{false};  // an item ran on another thread
  std::atomic<int> depth{0};           // loops in loops
};

void run_item(generator random, served_loop& s, counted const&) {
  if (thread_number() != s.thread || !s.loop.is_current()) s.elsewhere = true;
  errand_test::dither(random);
  if (s.depth < 3 && random.one_in(8)) {
    ++s.depth;
    switch (random.below(4)) {
      case 0:
        s.loop.poll();
        break;
      case 1:
        s.loop.run_for(std::chrono::microseconds{random.below(40)});
        break;
      case 2:
        s.loop.run_until(errand::async(s.loop, run_item, random.split(), std::ref(s), counted{}));
        break;
      default:
        s.loop.run_until(errand::async([] { return 1; }).then(s.loop, [c = counted{}](int) {}));
        break;
    }
    --s.depth;
  }
  if (random.one_in(6)) errand::async([] {}).get();
  if (random.one_in(40)) throw failure{};
}

errand::task<void> run_coroutine(generator random, served_loop& s, counted const) {
  for (int i = 0; i < 3; ++i) {
    if (thread_number() != s.thread) s.elsewhere = true;
    if (random.one_in(2))
      co_await errand::sleep_for(std::chrono::microseconds{random.below(30)});
    else
      co_await errand::async([] {});
    if (random.one_in(4)) {
      co_await errand::resume_on(errand::threads);
      co_await errand::resume_on(s.loop);
    }
  }
}

// By a thread or a task that does not serve.
void push(generator random, served_loop& s) {
  std::vector<errand::future<void>> items;
  std::optional<errand::queue_suspension> held;
  for (int i = 0; i < 40; ++i) {
    auto mine = random.split();
    errand::queue const& q = random.one_in(3) ? static_cast<errand::queue const&>(s.child) : s.loop;
    switch (random.below(12)) {
      case 0:
        held.reset();  // or it would wait for itself
        try {
          errand::sync(q, run_item, mine, std::ref(s), counted{});
        } catch (failure const&) {
        }
        break;
      case 1:
        items.push_back(errand::async(q, run_coroutine, mine, std::ref(s), counted{}));
        break;
      case 2:
        items.push_back(errand::async([] {}).then(q, [mine, &s, c = counted{}] { run_item(mine, s, c); }));
        break;
      case 3:
        items.push_back(errand::after(q, std::chrono::microseconds{random.below(50)}, run_item, mine, std::ref(s), counted{}));
        break;
      case 4:
        s.loop.stop();
        break;
      case 5:
        items.push_back(errand::async(q, run_item, mine, std::ref(s), counted{}));
        items.back().request_stop();
        break;
      case 6:
        if (!held) held.emplace(q.suspend());
        break;
      case 7:
        items.push_back(errand::async(q.at(random.one_in(2) ? errand::priority::high : errand::priority::low), run_item, mine,
                                      std::ref(s), counted{}));
        break;
      default:
        items.push_back(errand::async(q, run_item, mine, std::ref(s), counted{}));
        break;
    }
    if (held && random.one_in(3)) held.reset();
  }
  held.reset();
  for (auto& item : items) static_cast<void>(item.result());
}

void serve(generator random, served_loop& s, std::atomic<int> const& pushers) {
  s.thread = thread_number();
  s.loop.poll();  // from now on it is this thread's
  while (pushers != 0) {
    switch (random.below(6)) {
      case 0:
        s.loop.run();
        break;
      case 1:
        s.loop.run_for(std::chrono::microseconds{random.below(100)});
        break;
      case 2:
        s.loop.poll();
        break;
      case 3:
        static_cast<void>(s.loop.run_until(errand::async([] { return 1; }).then([](int n) { return n; })));
        break;
      case 4: {  // waits that do not serve: the item is run before others, now or when it comes
        auto item = random.one_in(2) ? errand::async(s.loop, [c = counted{}] {})
                                     : errand::async([] {}).then(s.loop, [c = counted{}] {});
        item.get();
        break;
      }
      default:
        errand::async([] {}).get();
        break;
    }
  }
}

TEST_F(run_loops, lose_nothing_while_they_are_served_in_every_way) {
  for (rounds r{60}; r.next();) {
    served_loop s;
    std::atomic<int> pushers{4};
    std::atomic<bool> served{false};
    std::thread serves{[&, mine = random.split()] {
      serve(mine, s, pushers);
      served = true;
    }};
    std::vector<std::thread> threads;
    std::vector<errand::future<void>> tasks;
    while (s.thread == 0) std::this_thread::yield();
    for (int i = 0; i < 2; ++i)
      threads.emplace_back([&, mine = random.split()] {
        push(mine, s);
        --pushers;
      });
    for (int i = 0; i < 2; ++i)
      tasks.push_back(errand::async([&, mine = random.split()] {
        push(mine, s);
        --pushers;
      }));
    for (auto& t : threads) t.join();
    for (auto& t : tasks) t.get();
    while (!served) {  // a loop in a loop may have taken a stop for itself
      s.loop.stop();
      std::this_thread::yield();
    }
    serves.join();
    EXPECT_FALSE(s.elsewhere);
  }
  all_have_gone();
}

TEST_F(run_loops, tell_a_toolkit_by_descriptor_and_by_hook) {
  constexpr int each = 300;
  for (rounds r{60}; r.next();) {
    errand::run_loop loop;
    bool const by_hook = random.one_in(2);
    std::atomic<int> told{0};
    int ran = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&, mine = random.split()]() mutable {
        for (int i = 0; i < each; ++i) {
          if (mine.one_in(10)) {
            auto held = loop.suspend();
            errand::async(loop, [&, c = counted{}] { ++ran; }).detach();
          } else {
            errand::async(loop, [&, c = counted{}] { ++ran; }).detach();
          }
          if (mine.one_in(4)) errand_test::dither(mine);
        }
      });
    if (random.one_in(2)) errand_test::dither(random);
    auto const hook = [&] {
      told.fetch_add(1);
      told.notify_one();
    };
    if (by_hook) loop.on_wake(hook);
    pollfd readable{.fd = by_hook ? -1 : loop.descriptor(), .events = POLLIN, .revents = 0};
    int seen = 0;
    while (ran < 3 * each) {
      if (by_hook) {
        told.wait(seen);
        seen = told;
        if (random.one_in(20)) loop.on_wake(hook);
      } else {
        EXPECT_EQ(::poll(&readable, 1, -1), 1);
      }
      loop.poll();
    }
    for (auto& t : threads) t.join();
    loop.on_wake(nullptr);
  }
  all_have_gone();
}

TEST_F(run_loops, may_end_while_others_push) {
  for (rounds r{150}; r.next();) {
    auto loop = std::make_unique<errand::run_loop>();
    errand::queue const handle = *loop;
    errand::serial_queue const child{"", handle};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&, mine = random.split(), its = std::optional<errand::queue>{handle}]() mutable {
        std::vector<errand::future<void>> items;
        while (!go) std::this_thread::yield();
        for (int i = 0; i < 15; ++i) {
          switch (mine.below(4)) {
            case 0:
              items.push_back(errand::async([] {}).then(*its, [c = counted{}] {}));
              break;
            case 1:
              items.push_back(errand::async(child, [c = counted{}] {}));
              break;
            case 2: {
              auto held = its->suspend();
              items.push_back(errand::async(*its, [c = counted{}] {}));
              errand_test::dither(mine);
              break;
            }
            default:
              items.push_back(errand::async(*its, [c = counted{}]() -> errand::task<void> {
                co_await errand::sleep_for(10us);
              }));
              break;
          }
        }
        its.reset();
        for (auto& f : items) f.get();
      });
    go = true;
    if (random.one_in(2)) loop->poll();
    if (random.one_in(2)) errand_test::dither(random);
    loop.reset();
    for (auto& t : threads) t.join();
  }
  all_have_gone();
}

struct pipe_of_two {
  pipe_of_two() {
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error{errno, std::generic_category()};
  }
  ~pipe_of_two() {
    for (int const end : ends) ::close(end);
  }
  pipe_of_two(pipe_of_two const&) = delete;
  pipe_of_two& operator=(pipe_of_two const&) = delete;
  std::array<int, 2> ends{};
};

// One handler's life: made, told, cancelled from somewhere.
void use_a_handler(generator random, errand::place where) {
  pipe_of_two p;
  std::atomic<int> calls{0};
  std::atomic<int> inside{0};
  bool const ends_itself = random.one_in(3);
  auto const body = [&, c = counted{}](auto&&...) {
    if (++inside != 1) throw std::logic_error{"two calls at a time"};
    char some[16];
    static_cast<void>(::read(p.ends[0], some, sizeof some));
    ++calls;
    --inside;
    if (ends_itself) throw errand::operation_cancelled{};
  };
  std::optional<errand::handler> h;
  errand::data_source<errand::merge::add> numbers;
  auto const add = numbers.adder();
  errand::data_source<errand::merge::replace<std::unique_ptr<counted>>> values;
  auto const put = values.putter();
  unsigned const kind = random.below(5);
  switch (kind) {
    case 0:
      h.emplace(errand::on(where, errand::readable_source{p.ends[0]}, body));
      break;
    case 1:
      h.emplace(errand::on(where, errand::writable_source{p.ends[1]}, body));
      break;
    case 2:
      h.emplace(errand::every(where, std::chrono::microseconds{1 + random.below(50)}, body));
      break;
    case 3:
      h.emplace(errand::on(where, std::move(numbers), body));
      break;
    default:
      h.emplace(errand::on(where, std::move(values), body));
      break;
  }
  std::thread brings{[&, mine = random.split()]() mutable {
    for (int i = 0; i < 20; ++i) {
      if (kind < 2) static_cast<void>(::write(p.ends[1], "x", 1));
      if (kind == 3) add(1);
      if (kind == 4) put(std::make_unique<counted>());
      errand_test::dither(mine);
    }
  }};
  errand_test::dither(random);
  switch (random.below(3)) {
    case 0:
      h->cancel();
      break;
    case 1:
      errand::async([&] { h->cancel(); }).get();
      break;
    default:
      if (ends_itself) h->wait();
      break;
  }
  int const then = calls;
  if (!h->active() && !ends_itself) {
    errand_test::dither(random);
    EXPECT_EQ(calls, then) << "a call after cancel()";
  }
  brings.join();
}

TEST_F(run_loops, handlers_end_at_any_time_while_their_events_arrive) {
  served_loop s;
  std::atomic<bool> over{false};
  std::thread serves{[&] {
    while (!over) s.loop.run();
  }};
  errand::serial_queue q;
  for (rounds r{40}; r.next();) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&, mine = random.split()]() mutable {
        for (int i = 0; i < 5; ++i) {
          errand::place const where = mine.one_in(3)   ? errand::place{s.loop}
                                      : mine.one_in(2) ? errand::place{q}
                                                       : errand::place{errand::threads};
          use_a_handler(mine.split(), where);
        }
      });
    for (auto& t : threads) t.join();
  }
  over = true;
  s.loop.stop();
  serves.join();
  all_have_gone();
}

}  // namespace
