// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Boost.Asio in the rows of queues: thread_pool, the same with a mutex in each handler, strands, and an io_context that the main
// thread runs.
#include "busy_queues.hpp"
#include "queue_items.hpp"
#include "queue_turns.hpp"
#include "round_trips.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <mutex>
#include <vector>

#include <unistd.h>

namespace microbench {

namespace {

namespace asio = boost::asio;
using strand = asio::strand<asio::thread_pool::executor_type>;

// What the pool's items have in common: who pushes from where.
class items_of_a_pool {
 public:
  explicit items_of_a_pool(unsigned workers) : pool_{workers} {}
  items_of_a_pool(items_of_a_pool const&) = delete;
  items_of_a_pool& operator=(items_of_a_pool const&) = delete;
  ~items_of_a_pool() { pool_.join(); }

  template <class F>
  auto on_main(F f) {
    return f();
  }
  template <class F>
  void inside(F f) {
    asio::post(pool_, [&] {
      f();
      done_.give();
    });
    done_.take();
  }
  void prepare(std::size_t) {}
  void push() { asio::post(pool_, empty_task); }
  void wait(roll_call const& who, std::size_t count) { who.wait_for(count); }
  void verify(std::size_t) const {}

 protected:
  asio::thread_pool pool_;
  answer done_{};
};

// One at a time, as one writes it without a strand: the handlers block each other.
class items_under_a_mutex : public items_of_a_pool {
 public:
  using items_of_a_pool::items_of_a_pool;
  void prepare(std::size_t) { turns_.reset(); }
  void push() {
    asio::post(pool_, [this] {
      std::lock_guard const lock{guard_};
      turns_.enter();
      visit();
    });
  }
  void verify(std::size_t count) {
    std::lock_guard const lock{guard_};
    turns_.verify(count);
  }

 private:
  std::mutex guard_{};
  one_at_a_time turns_{};
};

class items_of_a_strand : public items_of_a_pool {
 public:
  explicit items_of_a_strand(unsigned workers) : items_of_a_pool{workers}, strand_{pool_.get_executor()} {}
  ~items_of_a_strand() { pool_.join(); }
  void prepare(std::size_t) { turns_.reset(); }
  void push() {
    asio::post(strand_, [this] {
      visit();
      turns_.enter();
    });
  }
  void wait(roll_call const&, std::size_t) {
    asio::post(strand_, [this] { done_.give(); });
    done_.take();
  }
  void verify(std::size_t count) const { turns_.verify(count); }
  void hold() {
    asio::post(strand_, [this] { stopper_.stand(); });
    stopper_.wait_until_it_stands();
  }
  void release() { stopper_.let_go(); }

 private:
  strand strand_;
  one_at_a_time turns_{};
  stopper stopper_{};
};

constexpr auto a_pool = "Asio thread_pool";
constexpr auto with_mutex = "Asio thread_pool, a mutex in each";
constexpr auto a_strand = "Asio strand";

add const main_pool{"queue-from-main", role::rival, a_pool, &items_from_main<items_of_a_pool>, place::own_process};
add const main_mutex{"queue-from-main", role::rival, with_mutex, &items_from_main<items_under_a_mutex>, place::own_process};
add const main_strand{"queue-from-main", role::rival, a_strand, &items_from_main<items_of_a_strand>, place::own_process};
add const inside_pool{"queue-from-inside", role::rival, a_pool, &items_from_inside<items_of_a_pool>, place::own_process};
add const inside_mutex{"queue-from-inside", role::rival, with_mutex, &items_from_inside<items_under_a_mutex>, place::own_process};
add const inside_strand{"queue-from-inside", role::rival, a_strand, &items_from_inside<items_of_a_strand>, place::own_process};
add const apart{"queue-apart", role::rival, a_strand, &items_apart<items_of_a_strand>, place::own_process};
add const loaded{"queue-loaded", role::rival, a_strand, &items_loaded<items_of_a_strand>};

// A pool and two strands; one may be both.
struct strands {
  explicit strands(unsigned workers) : pool{workers}, each{strand{pool.get_executor()}, strand{pool.get_executor()}} {}
  strands(strands const&) = delete;
  strands& operator=(strands const&) = delete;
  ~strands() { pool.join(); }
  asio::thread_pool pool;
  strand each[2];
  answer done{};
  hops hopping{};
};

// Nobody may run in his turn in a strand and wait for it but by a handler that says when it has come.
add const behind{"queue-sync-behind", role::rival, a_strand, [](settings const& s) -> repetition {
                   auto it = std::make_shared<strands>(s.workers);
                   return [it, n = s.times(20'000)] {
                     return turns_behind(
                         n,
                         [&](auto f) {
                           asio::post(it->each[0], f);
                           return 0;
                         },
                         [&](auto f) {
                           asio::post(it->each[0], [&] {
                             f();
                             it->done.give();
                           });
                           it->done.take();
                         },
                         [](int) {});
                   };
                 }};

struct hop {
  strands& all;
  int at;
  void operator()() const {
    if (all.hopping.go_on([this] { return all.each[at].running_in_this_thread(); }))
      asio::post(all.each[1 - at], hop{all, 1 - at});
    else
      all.hopping.over.give();
  }
};
add const hop_between{"queue-hops", role::rival, "Asio, two strands", [](settings const& s) -> repetition {
                        auto it = std::make_shared<strands>(s.workers);
                        return [it, n = s.times(200'000)] {
                          return hops_to_and_fro(it->hopping, n, [&](hops&) { asio::post(it->each[0], hop{*it, 0}); });
                        };
                      }};
add const hop_within{"queue-hops", role::rival, "Asio, the same strand", [](settings const& s) -> repetition {
                       auto it = std::make_shared<strands>(s.workers);
                       it->each[1] = it->each[0];
                       return [it, n = s.times(200'000)] {
                         return hops_to_and_fro(it->hopping, n, [&](hops&) { asio::post(it->each[0], hop{*it, 0}); });
                       };
                     }};

add const busy{"queue-400-busy", role::rival, "Asio, 400 strands",
               [](settings const& s) -> repetition {
                 return [s] {
                   asio::thread_pool pool{s.workers};
                   std::vector<strand> all;
                   for (std::size_t i = 0; i < busy_queues; ++i) all.emplace_back(pool.get_executor());
                   auto result = keep_queues_busy(s, [&](std::size_t q, auto f) { asio::post(all[q], f); });
                   pool.join();
                   return result;
                 };
               },
               place::own_process};

// The main thread runs a context; the pool's handler posts to it.
struct main_asker {
  explicit main_asker(unsigned workers) : pool{workers} {}
  main_asker(main_asker const&) = delete;
  main_asker& operator=(main_asker const&) = delete;
  ~main_asker() { pool.join(); }
  template <class F>
  void ask(F f) {
    bool on_main = false;
    asio::post(pool, [&, f] {
      f();
      asio::post(io, [&] { on_main = this_thread_id() == ::getpid(); });
    });
    auto const ran = io.run_one();
    require(ran == 1 && on_main, "what was posted to the main thread did not run there");
  }
  asio::io_context io{};
  asio::executor_work_guard<asio::io_context::executor_type> stays{io.get_executor()};
  asio::thread_pool pool;
};
constexpr auto a_context = "Asio io_context";
add const back_to_main{"queue-main", role::rival, a_context, &cold_asker<main_asker, true>, place::own_process};
add const cold_to_main{"queue-main-cold", role::rival, a_context, &cold_asker<main_asker, false>, place::own_process};

add const made{"queue-create", role::rival, a_strand, [](settings const& s) -> repetition {
                 auto pool = std::make_shared<asio::thread_pool>(s.workers);
                 return [pool, n = s.times(500'000)] {
                   allocation_count const count;
                   auto const begin = now_ns();
                   for (std::size_t i = 0; i < n; ++i) strand const one{pool->get_executor()};
                   auto const end = now_ns();
                   return sample{ns_each(begin, end, n),
                                 {{"allocations each", static_cast<double>(count.so_far()) / static_cast<double>(n)}}};
                 };
               }};

add const armed{"queue-after", role::rival, "Asio, timer with a handler", [](settings const& s) -> repetition {
                  return [n = s.times(20'000)] {
                    asio::io_context io;
                    std::vector<std::unique_ptr<asio::steady_timer>> timers;
                    timers.reserve(n);
                    std::size_t cancelled = 0;
                    auto const begin = now_ns();
                    for (std::size_t i = 0; i < n; ++i) {
                      timers.push_back(std::make_unique<asio::steady_timer>(io, std::chrono::hours{1}));
                      timers.back()->async_wait([&](boost::system::error_code const& e) { cancelled += !!e; });
                    }
                    auto const set = now_ns();
                    timers.clear();
                    io.run();
                    auto const end = now_ns();
                    require(cancelled == n, "a timer was not cancelled");
                    return sample{ns_each(begin, set, n), {{"disarming", ns_each(set, end, n)}}};
                  };
                }};

}  // namespace

}  // namespace microbench
