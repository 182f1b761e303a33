// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The small things beside queues: making and dropping one, arming after(), a semaphore, once.
#include "allocations.hpp"
#include "queue_turns.hpp"

#include <errand/queue.hpp>
#include <errand/sync.hpp>

#include <memory>
#include <vector>

namespace microbench {

namespace {

// `use` is called with each queue.
template <class Queue, class Use>
sample make_and_drop(errand::pool& pool, std::size_t n, Use use) {
  allocation_count const count;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < n; ++i) {
    Queue const one{"", pool};
    use(one);
  }
  auto const end = now_ns();
  return {ns_each(begin, end, n), {{"allocations each", static_cast<double>(count.so_far()) / static_cast<double>(n)}}};
}

template <class Queue>
repetition made_alone(settings const& s) {
  auto pool = std::make_shared<errand::pool>(s.workers);
  return [pool, n = s.times(500'000)] { return make_and_drop<Queue>(*pool, n, [](Queue const&) {}); };
}
add const serial{"queue-create", role::ours, "errand", &made_alone<errand::serial_queue>};
add const concurrent{"queue-create", role::ours, "errand, concurrent queue", &made_alone<errand::concurrent_queue>};
add const used{"queue-create", role::ours, "errand, and one sync()", [](settings const& s) -> repetition {
                 auto pool = std::make_shared<errand::pool>(s.workers);
                 return [pool, n = s.times(500'000)] {
                   std::size_t current = 0;
                   auto result = make_and_drop<errand::serial_queue>(*pool, n, [&](errand::serial_queue const& q) {
                     errand::sync(q, [&] { current += q.is_current(); });
                   });
                   require(current == n, "a new queue did not run its function");
                   return result;
                 };
               }};

// Whether the clock is right is seen by one that is due soon; the others are due in an hour, and stopped.
repetition arm(settings const& s) {
  auto pool = std::make_shared<errand::pool>(s.workers);
  auto queue = std::make_shared<errand::serial_queue>("after", *pool);
  return [pool, queue, n = s.times(20'000)] {
    constexpr std::chrono::milliseconds soon{1};
    auto const before = now_ns();
    errand::after(*queue, soon, [] {}).get();
    require(now_ns() - before >= std::chrono::nanoseconds{soon}.count(), "after() was early");

    std::vector<errand::future<void>> timers;
    timers.reserve(n);
    roll_call const who;
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i) timers.push_back(errand::after(*queue, std::chrono::hours{1}, empty_task));
    auto const armed = now_ns();
    for (auto& t : timers) {
      require(!t.ready(), "after() ended before its time");
      t.request_stop();
    }
    std::size_t stopped = 0;
    for (auto& t : timers) stopped += t.result().stopped();
    auto const end = now_ns();
    require(stopped == n, "a timer was not stopped");
    static_cast<void>(who.end(0));
    return sample{ns_each(begin, armed, n), {{"disarming", ns_each(armed, end, n)}}};
  };
}
add const armed{"queue-after", role::ours, "errand", &arm};

add const semaphore{"queue-semaphore", role::ours, "errand", [](settings const& s) -> repetition {
                      return [n = s.times(5'000'000)] { return permits_alone<errand::semaphore>(n); };
                    }};
add const once{"queue-once", role::ours, "errand", [](settings const& s) -> repetition {
                 return [n = s.times(50'000'000)] {
                   errand::once done;
                   return done_once(n, [&](auto f) { done.call(f); });
                 };
               }};

}  // namespace

}  // namespace microbench
