// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// when_all of futures that are ready already: what standing for many costs by itself.
#include "system_state.hpp"
#include "who_ran.hpp"

#include <errand/group.hpp>

#include <numeric>
#include <vector>

namespace microbench {

namespace {

// The futures are made, and the results added up, outside what is timed.
template <std::size_t Count>
repetition all_ready(settings const& s) {
  return [calls = s.times(2'000'000 / Count)] {
    double spent = 0;
    for (std::size_t i = 0; i < calls; ++i) {
      std::vector<errand::future<std::size_t>> ready;
      ready.reserve(Count);
      for (std::size_t n = 0; n < Count; ++n) ready.push_back(errand::async(errand::inplace, [n] { return n; }));
      auto const begin = now_ns();
      auto const all = errand::when_all(std::move(ready)).get();
      spent += ns_each(begin, now_ns(), Count);
      require(std::accumulate(all.begin(), all.end(), std::size_t{0}) == Count * (Count - 1) / 2,
              "when_all lost a value");
    }
    return sample{spent / static_cast<double>(calls)};
  };
}

add const hundred{"when-all", role::ours, "errand, 100 ready", &all_ready<100>};
add const thousand{"when-all", role::ours, "errand, 1000 ready", &all_ready<1000>};
add const ten_thousand{"when-all", role::ours, "errand, 10 000 ready", &all_ready<10'000>};

}  // namespace

}  // namespace microbench
