// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Queues in shapes chosen by chance: chains of targets, serial and concurrent, items that park, fail, are stopped, dropped or
// detached, coroutines, links, barriers, syncs from threads and tasks, suspensions, handles that go early. Each serial domain
// counts who is inside.
#include <errand/errand.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "stress/by_chance.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::by_chance;
using errand_test::counted;
using errand_test::generator;
using errand_test::rounds;

struct failure {};

/// Who is inside of what must be alone. A coroutine that suspends is not.
class domain {
 public:
  class visit {
   public:
    explicit visit(domain& d) : domain_{d} {
      if (domain_.inside_.fetch_add(1) != 0) domain_.broken_ = true;
    }
    ~visit() { domain_.inside_.fetch_sub(1); }
    visit(visit const&) = delete;
    visit& operator=(visit const&) = delete;

   private:
    domain& domain_;
  };
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::atomic<int> inside_{0};
  std::atomic<bool> broken_{false};
};

/// A queue with the domain of its serial bottom, if it has one.
struct one_queue {
  errand::queue queue;
  std::shared_ptr<domain> alone;
};

class queues : public by_chance {};

void spend(generator& random, bool may_park) {
  switch (random.below(may_park ? 6 : 2)) {
    case 0:
      errand_test::dither(random);
      break;
    case 2:
      errand::this_task::yield();
      break;
    case 3:
      errand::this_task::sleep_for(std::chrono::microseconds{random.below(30)});
      break;
    case 4:
      errand::async([] {}).get();
      break;
    default:
      break;
  }
}

void run_item(generator random, one_queue const& q, counted const&) {
  std::optional<domain::visit> inside;
  if (q.alone != nullptr) inside.emplace(*q.alone);
  if (!q.queue.is_current()) throw std::logic_error{"an item does not run in its queue"};
  spend(random, true);
  if (random.one_in(30)) throw failure{};
}

errand::task<void> run_coroutine(generator random, one_queue const q, counted const) {
  for (int i = 0; i < 3; ++i) {
    {
      std::optional<domain::visit> inside;
      if (q.alone != nullptr) inside.emplace(*q.alone);
      if (!q.queue.is_current()) throw std::logic_error{"a coroutine does not run in its queue"};
      errand_test::dither(random);
    }
    if (random.one_in(2)) {
      co_await errand::sleep_for(std::chrono::microseconds{random.below(30)});
    } else {
      auto other = errand::async([] {});
      co_await other;
    }
    if (random.one_in(5)) {
      co_await errand::resume_on(errand::threads);
      co_await errand::resume_on(q.queue);
    }
  }
}

std::vector<one_queue> make_queues(generator& random) {
  std::vector<one_queue> all;
  for (unsigned i = 0; i < 6; ++i) {
    bool const serial = !random.one_in(3);
    if (all.empty() || random.one_in(2)) {
      if (serial)
        all.push_back({errand::serial_queue{}, std::make_shared<domain>()});
      else
        all.push_back({errand::concurrent_queue{{.width = random.below(3)}}, nullptr});
    } else {
      auto const& target = all[random.below(static_cast<unsigned>(all.size()))];
      if (serial)
        all.push_back({errand::serial_queue{"", target.queue}, target.alone != nullptr ? target.alone : std::make_shared<domain>()});
      else
        all.push_back({errand::concurrent_queue{{.on = target.queue, .width = random.below(3)}}, target.alone});
    }
  }
  return all;
}

void use(generator random, std::vector<one_queue> all) {
  std::vector<errand::future<void>> items;
  std::optional<errand::queue_suspension> held;
  for (int i = 0; i < 60; ++i) {
    auto const& q = all[random.below(static_cast<unsigned>(all.size()))];
    auto mine = random.split();
    switch (random.below(14)) {
      case 0:
        if (!held) errand::sync(q.queue, [&] { run_item(generator{1}, q, counted{}); });
        break;
      case 1:
        items.push_back(errand::async(q.queue, run_coroutine, mine, q, counted{}));
        break;
      case 2:
        items.push_back(errand::async([] { return 1; }).then(q.queue, [mine, q, c = counted{}](int) { run_item(mine, q, c); }));
        break;
      case 3:
        items.push_back(errand::async(q.queue, run_item, mine, q, counted{}).then([q] {
          if (!q.queue.is_current()) throw std::logic_error{"a link does not run in the queue of its input"};
        }));
        break;
      case 4:
        errand::async(q.queue, run_item, mine, q, counted{}).detach();
        break;
      case 5:
        items.push_back(errand::async(q.queue, run_item, mine, q, counted{}));
        items.back().request_stop();
        break;
      case 6:
        items.push_back(
            errand::async({.on = q.queue, .timeout = std::chrono::microseconds{random.below(200)}}, run_item, mine, q, counted{}));
        break;
      case 7:
        if (!held)
          held.emplace(q.queue.suspend());
        else
          held.reset();
        break;
      case 8:
        if (!items.empty() && !held) {
          static_cast<void>(items.back().result());
          items.pop_back();
        }
        break;
      case 9:
        items.push_back(errand::async(q.queue.at(random.one_in(2) ? errand::priority::high : errand::priority::low), run_item, mine,
                                      q, counted{}));
        break;
      default:
        items.push_back(errand::async(q.queue, run_item, mine, q, counted{}));
        break;
    }
    if (held && random.one_in(4)) held.reset();
  }
  held.reset();
  all.clear();  // handles may go before items
  if (random.one_in(3)) return;
  for (auto& item : items) {
    auto const came = item.result();
    if (came.error() == nullptr) continue;
    try {
      std::rethrow_exception(came.error());
    } catch (failure const&) {
    } catch (errand::timed_out const&) {
    } catch (std::exception const& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

TEST_F(queues, of_all_shapes_under_all_uses_keep_their_domains_and_end) {
  for (rounds r{60}; r.next();) {
    auto const all = make_queues(random);
    std::vector<std::thread> threads;
    std::vector<errand::future<void>> tasks;
    for (int i = 0; i < 2; ++i) threads.emplace_back(use, random.split(), all);
    for (int i = 0; i < 2; ++i) tasks.push_back(errand::async(use, random.split(), all));
    for (auto& t : threads) t.join();
    for (auto& t : tasks) t.get();
    for (auto const& q : all) {
      if (q.alone != nullptr) {
        EXPECT_FALSE(q.alone->broken());
      }
    }
    while (counted::alive() != 0) std::this_thread::yield();  // detached ones
  }
}

TEST_F(queues, that_come_and_go_with_their_items_are_freed_once) {
  for (rounds r{300}; r.next();) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([mine = random.split()]() mutable {
        for (int i = 0; i < 10; ++i) {
          errand::future<void> last;
          {
            errand::serial_queue base;
            errand::serial_queue q{"", base};
            auto const copy = q;
            for (unsigned k = mine.below(3); k > 0; --k) errand::async(q, [c = counted{}] {}).detach();
            last = errand::async(copy, [c = counted{}] {});
            if (mine.one_in(2)) errand::sync(base, [] {});
            if (mine.one_in(3)) last.request_stop();
            if (mine.one_in(3)) static_cast<void>(last.wait_for(0s));
          }
          if (mine.one_in(2)) last = last.then([c = counted{}] {});
        }
      });
    for (auto& t : threads) t.join();
  }
  while (counted::alive() != 0) std::this_thread::yield();
}

}  // namespace
