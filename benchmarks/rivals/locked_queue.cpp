// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What one writes without a library: a thread with a queue under a mutex, and the mutex alone.
#include "queue_items.hpp"
#include "queue_turns.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <semaphore>
#include <thread>
#include <vector>

namespace microbench {

namespace {

// It takes all that waits at once, so it locks seldom; it is woken only if it sleeps.
class thread_with_queue {
 public:
  thread_with_queue() : thread_{[this] { run(); }} {}
  thread_with_queue(thread_with_queue const&) = delete;
  thread_with_queue& operator=(thread_with_queue const&) = delete;
  ~thread_with_queue() {
    give({});
    thread_.join();
  }

  // An empty function ends the thread.
  void give(std::function<void()> item) {
    bool asleep;
    {
      std::lock_guard const lock{guard_};
      waiting_.push_back(std::move(item));
      asleep = asleep_;
    }
    if (asleep) something_.notify_one();
  }
  template <class F>
  void ask(F f) {
    give([&] {
      f();
      done_.give();
    });
    done_.take();
  }

 private:
  void run() {
    std::vector<std::function<void()>> mine;
    for (;;) {
      {
        std::unique_lock lock{guard_};
        asleep_ = true;
        something_.wait(lock, [this] { return !waiting_.empty(); });
        asleep_ = false;
        mine.swap(waiting_);
      }
      for (auto& item : mine) {
        if (!item) return;
        item();
      }
      mine.clear();
    }
  }

  std::mutex guard_{};
  std::condition_variable something_{};
  std::vector<std::function<void()>> waiting_{};
  bool asleep_ = false;
  answer done_{};
  std::thread thread_;
};

class items_of_a_thread {
 public:
  explicit items_of_a_thread(unsigned) {}

  template <class F>
  auto on_main(F f) {
    return f();
  }
  template <class F>
  void inside(F f) {
    queue_.ask(std::move(f));
  }
  void prepare(std::size_t) { turns_.reset(); }
  void push() {
    queue_.give([this] {
      visit();
      turns_.enter();
    });
  }
  void wait(roll_call const&, std::size_t) {
    queue_.ask([] {});
  }
  void verify(std::size_t count) const { turns_.verify(count); }
  void hold() {
    queue_.give([this] { stopper_.stand(); });
    stopper_.wait_until_it_stands();
  }
  void release() { stopper_.let_go(); }

 private:
  one_at_a_time turns_{};
  stopper stopper_{};
  thread_with_queue queue_{};  // its thread uses the others
};

constexpr auto bare = "thread with a locked queue";
add const from_main{"queue-from-main", role::rival, bare, &items_from_main<items_of_a_thread>, place::own_process};
add const from_inside{"queue-from-inside", role::rival, bare, &items_from_inside<items_of_a_thread>, place::own_process};
add const apart{"queue-apart", role::rival, bare, &items_apart<items_of_a_thread>, place::own_process};
add const loaded{"queue-loaded", role::rival, bare, &items_loaded<items_of_a_thread>};

add const behind{"queue-sync-behind", role::rival, bare, [](settings const& s) -> repetition {
                   auto queue = std::make_shared<thread_with_queue>();
                   return [queue, n = s.times(20'000)] {
                     return turns_behind(
                         n,
                         [&](auto f) {
                           queue->give(f);
                           return 0;
                         },
                         [&](auto f) { queue->ask(f); }, [](int) {});
                   };
                 }};

// A library may do without locked instructions as long as there is one thread: there are two.
struct mutex_among_threads {
  mutex_among_threads() : other{[this] { over.take(); }} {}
  mutex_among_threads(mutex_among_threads const&) = delete;
  mutex_among_threads& operator=(mutex_among_threads const&) = delete;
  ~mutex_among_threads() {
    over.give();
    other.join();
  }
  template <class F>
  void enter(F f) {
    std::lock_guard const lock{guard};
    f();
  }
  std::mutex guard{};
  answer over{};
  std::thread other;
};

constexpr auto a_mutex = "std::mutex";
add const alone{"queue-sync-alone", role::rival, a_mutex, [](settings const& s) -> repetition {
                  auto m = std::make_shared<mutex_among_threads>();
                  return [m, n = s.times(5'000'000)] {
                    return turns_alone(n, [&](auto f) { m->enter(f); });
                  };
                }};
add const contended{"queue-sync-contended", role::rival, a_mutex, [](settings const& s) -> repetition {
                      return [n = s.times(100'000)] {
                        mutex_among_threads m;
                        contended_turns turns{n};
                        roll_call const who;
                        auto const run = [&](std::size_t me) {
                          turns.compete(me, [&](auto f) { m.enter(f); }, &std::this_thread::yield);
                        };
                        std::thread one{run, 0};
                        std::thread two{run, 1};
                        one.join();
                        two.join();
                        return turns.result(who);
                      };
                    }};

add const semaphore{"queue-semaphore", role::rival, "std::counting_semaphore", [](settings const& s) -> repetition {
                      return [n = s.times(5'000'000)] { return permits_alone<std::counting_semaphore<>>(n); };
                    }};
add const once{"queue-once", role::rival, "std::call_once", [](settings const& s) -> repetition {
                 return [n = s.times(50'000'000)] {
                   std::once_flag flag;
                   return done_once(n, [&](auto f) { std::call_once(flag, f); });
                 };
               }};

}  // namespace

}  // namespace microbench
