// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A million empty tasks at once, from outside and from inside the pool.
#include "system_state.hpp"
#include "who_ran.hpp"

#include <errand/task.hpp>

#include <memory>
#include <vector>

namespace microbench {

namespace {

// The futures' vector is reserved outside what is timed; its pages are warm from the repetition before.
sample start_and_join_all(errand::pool& pool, std::vector<errand::future<void>>& futures, std::size_t count) {
  futures.clear();
  futures.reserve(count);
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < count; ++i) futures.push_back(errand::async(pool, empty_task));
  for (auto& f : futures) f.get();
  auto const end = now_ns();
  return {ns_each(begin, end, count), who.end(count).facts()};
}

struct state {
  explicit state(unsigned workers) : pool{workers} {}
  errand::pool pool;
  std::vector<errand::future<void>> futures{};
};

add const from_main{"million-from-main", role::ours, "errand", [](settings const& s) -> repetition {
                      auto it = std::make_shared<state>(s.workers);
                      return [it, n = s.times(1'000'000)] { return start_and_join_all(it->pool, it->futures, n); };
                    }};

add const from_inside{
    "million-from-inside", role::ours, "errand", [](settings const& s) -> repetition {
      auto it = std::make_shared<state>(s.workers);
      return [it, n = s.times(1'000'000)] {
        return errand::async(it->pool, [&] { return start_and_join_all(it->pool, it->futures, n); }).get();
      };
    }};

}  // namespace

}  // namespace microbench
