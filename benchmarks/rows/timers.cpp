// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Timers: the cost of a limit that never expires, the lateness of one sleep, ten thousand and more sleepers at once.
#include "sleeping.hpp"

#include <errand/task.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace microbench {

namespace {

// With a limit or without: the difference is what the limit costs.
template <class Start>
repetition start_and_join(settings const& s, Start start) {
  auto pool = std::make_shared<errand::pool>(1U);
  return [=, n = s.times(100'000)] {
    return errand::async(*pool,
                         [&] {
                           std::size_t stoppable = 0;
                           roll_call const who;
                           auto const begin = now_ns();
                           for (std::size_t i = 0; i < n; ++i) start(*pool, stoppable).get();
                           auto const end = now_ns();
                           require(stoppable == n, "a task with a limit cannot be stopped");
                           return sample{ns_each(begin, end, n), who.end(n).facts()};
                         })
        .get();
  };
}

auto limited_task(std::size_t& stoppable) {
  return [&stoppable](std::stop_token stop) {
    stoppable += stop.stop_possible();
    visit();
  };
}

void sleep_as_fiber(sleepers& all) {
  auto const begin = now_ns();
  errand::this_task::sleep_for(long_sleep);
  all.woke(begin);
}
errand::task<void> sleep_as_coroutine(sleepers& all) {
  auto const begin = now_ns();
  co_await errand::sleep_for(long_sleep);
  all.woke(begin);
}

template <class Sleep>
repetition many_sleepers(std::size_t count, unsigned workers, Sleep sleep) {
  return [=] {
    errand::pool pool{workers};
    std::vector<errand::future<void>> futures;
    futures.reserve(count);
    errand::async(pool, empty_task).get();
    sleepers all;
    for (std::size_t i = 0; i < count; ++i)
      futures.push_back(errand::async(pool, sleep, std::ref(all)));
    all.all_started();
    for (auto& f : futures) f.get();
    return all.result(count);
  };
}

add const armed{"timer-arm", role::ours, "errand", [](settings const& s) {
                  return start_and_join(s, [](errand::pool& p, std::size_t& stoppable) {
                    return errand::async({.on = p, .timeout = std::chrono::hours{1}}, limited_task(stoppable));
                  });
                }};
add const unarmed{"timer-arm", role::ours, "errand, no limit", [](settings const& s) {
                    return start_and_join(s, [](errand::pool& p, std::size_t& stoppable) {
                      return errand::async(p, limited_task(stoppable));
                    });
                  }};

add const late{"sleep-lateness", role::ours, "errand", [](settings const& s) -> repetition {
                 auto pool = std::make_shared<errand::pool>(s.workers);
                 return [pool, n = s.times(200)] {
                   return errand::async(
                              *pool, [&] { return lateness_of(n, [] { errand::this_task::sleep_for(short_sleep); }); })
                       .get();
                 };
               }};

add const ten_thousand{"sleepers-10k", role::ours, "errand",
                       [](settings const& s) { return many_sleepers(s.times(10'000), s.workers, &sleep_as_fiber); },
                       place::own_process};
add const hundred_thousand{
    "sleepers-100k", role::ours, "errand",
    [](settings const& s) { return many_sleepers(s.times(100'000), s.workers, &sleep_as_fiber); }, place::own_process};
add const ten_thousand_coroutines{
    "sleepers-10k", role::ours, "errand, coroutines",
    [](settings const& s) { return many_sleepers(s.times(10'000), s.workers, &sleep_as_coroutine); }, place::own_process};
add const hundred_thousand_coroutines{
    "sleepers-100k", role::ours, "errand, coroutines",
    [](settings const& s) { return many_sleepers(s.times(100'000), s.workers, &sleep_as_coroutine); }, place::own_process};

}  // namespace

}  // namespace microbench
