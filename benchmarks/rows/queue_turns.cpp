// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// sync() of our queues, alone, contended and behind an item; hops between queues.
#include "queue_turns.hpp"

#include <errand/queue.hpp>

#include <memory>
#include <thread>
#include <utility>

namespace microbench {

namespace {

struct queue_on_pool {
  explicit queue_on_pool(unsigned workers) : pool{workers}, queue{"turns", pool} {}
  errand::pool pool;
  errand::serial_queue queue;
};

sample sync_alone(errand::serial_queue const& q, std::size_t n) {
  errand::sync(q, [&] { require(q.is_current(), "sync() runs its function outside the queue"); });
  return turns_alone(n, [&](auto f) { errand::sync(q, f); });
}
add const alone{"queue-sync-alone", role::ours, "errand, from main", [](settings const& s) -> repetition {
                  auto it = std::make_shared<queue_on_pool>(s.workers);
                  return [it, n = s.times(5'000'000)] { return sync_alone(it->queue, n); };
                }};
add const alone_inside{"queue-sync-alone", role::ours, "errand, inside a task", [](settings const& s) -> repetition {
                         auto it = std::make_shared<queue_on_pool>(s.workers);
                         return [it, n = s.times(5'000'000)] {
                           return errand::async(it->pool, [&] { return sync_alone(it->queue, n); }).get();
                         };
                       }};

sample contended_by_threads(errand::serial_queue const& q, std::size_t n) {
  contended_turns turns{n};
  roll_call const who;
  auto const run = [&](std::size_t me) {
    turns.compete(me, [&](auto f) { errand::sync(q, f); }, &std::this_thread::yield);
  };
  std::thread one{run, 0};
  std::thread two{run, 1};
  one.join();
  two.join();
  return turns.result(who);
}
add const two_threads{"queue-sync-contended", role::ours, "errand, two threads", [](settings const& s) -> repetition {
                        auto q = std::make_shared<errand::serial_queue>("turns");
                        return [q, n = s.times(100'000)] { return contended_by_threads(*q, n); };
                      }};
add const two_threads_own_pool{"queue-sync-contended", role::ours, "errand, two threads, a pool of its own",
                               [](settings const& s) -> repetition {
                                 auto it = std::make_shared<queue_on_pool>(s.workers);
                                 return [it, n = s.times(100'000)] { return contended_by_threads(it->queue, n); };
                               }};
add const two_tasks{"queue-sync-contended", role::ours, "errand, two tasks", [](settings const& s) -> repetition {
                      auto it = std::make_shared<queue_on_pool>(2U);
                      return [it, n = s.times(100'000)] {
                        contended_turns turns{n};
                        roll_call const who;
                        auto const run = [&](std::size_t me) {
                          turns.compete(me, [&](auto f) { errand::sync(it->queue, f); }, &errand::this_task::yield);
                        };
                        auto one = errand::async(it->pool, run, std::size_t{0});
                        auto two = errand::async(it->pool, run, std::size_t{1});
                        one.get();
                        two.get();
                        return turns.result(who);
                      };
                    }};

sample sync_behind(errand::serial_queue const& q, std::size_t n) {
  return turns_behind(
      n, [&](auto f) { return errand::async(q, f); }, [&](auto f) { errand::sync(q, f); },
      [](errand::future<void>& item) { item.get(); });
}
// The thread that drains in the workers' stead is one of the default pool's queues alone; on other pools it waits.
add const behind{"queue-sync-behind", role::ours, "errand, from main", [](settings const& s) -> repetition {
                   auto q = std::make_shared<errand::serial_queue>("behind");
                   return [q, n = s.times(20'000)] { return sync_behind(*q, n); };
                 }};
add const behind_own_pool{"queue-sync-behind", role::ours, "errand, from main, a pool of its own",
                          [](settings const& s) -> repetition {
                            auto it = std::make_shared<queue_on_pool>(s.workers);
                            return [it, n = s.times(20'000)] { return sync_behind(it->queue, n); };
                          }};
add const behind_inside{"queue-sync-behind", role::ours, "errand, inside a task", [](settings const& s) -> repetition {
                          auto it = std::make_shared<queue_on_pool>(s.workers);
                          return [it, n = s.times(20'000)] {
                            return errand::async(it->pool, [&] { return sync_behind(it->queue, n); }).get();
                          };
                        }};

struct two_queues {
  two_queues(unsigned workers, bool on_bottom, bool same)
      : pool{workers},
        bottom{"bottom", pool},
        one{"one", on_bottom ? errand::place{bottom} : errand::place{pool}},
        other{"other", on_bottom ? errand::place{bottom} : errand::place{pool}},
        each{one, same ? one : other} {}
  errand::pool pool;
  errand::serial_queue bottom;
  errand::serial_queue one;
  errand::serial_queue other;
  errand::queue each[2];
  hops hopping{};
};

struct hop {
  two_queues& all;
  int at;
  void operator()() const {
    if (all.hopping.go_on([this] { return all.each[at].is_current(); }))
      errand::async(all.each[1 - at], hop{all, 1 - at}).detach();
    else
      all.hopping.over.give();
  }
};

template <bool OnBottom, bool Same>
repetition hop_between(settings const& s) {
  auto it = std::make_shared<two_queues>(s.workers, OnBottom, Same);
  return [it, n = s.times(200'000)] {
    return hops_to_and_fro(it->hopping, n, [&](hops&) { errand::async(it->each[0], hop{*it, 0}).detach(); });
  };
}
add const separate{"queue-hops", role::ours, "errand, separate queues", &hop_between<false, false>};
add const common{"queue-hops", role::ours, "errand, common target", &hop_between<true, false>};
add const same{"queue-hops", role::ours, "errand, the same queue", &hop_between<false, true>};

}  // namespace

}  // namespace microbench
