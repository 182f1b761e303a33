// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parallel loops with empty bodies: what for_each_index and map cost by themselves.
#include "loop_of.hpp"

#include <errand/group.hpp>

#include <memory>
#include <numeric>

namespace microbench {

namespace {

template <std::size_t Length>
repetition for_each_index(settings const& s) {
  auto pool = std::make_shared<errand::pool>(s.workers);
  return
      [=] { return loop_of<Length>(s, [&] { errand::for_each_index(*pool, Length, [](std::size_t) { visit(); }); }); };
}

template <std::size_t Length>
repetition map(settings const& s) {
  auto pool = std::make_shared<errand::pool>(s.workers);
  auto indices = std::make_shared<std::vector<std::size_t>>(Length);
  std::iota(indices->begin(), indices->end(), std::size_t{0});
  return [=] {
    return loop_of<Length>(s, [&] {
      auto const same = errand::map(*pool, *indices, [](std::size_t i) {
        visit();
        return i;
      });
      require(same.size() == Length && same.back() == Length - 1, "map lost a result");
    });
  };
}

add const loop_1{"loop-1", role::ours, "errand::for_each_index", &for_each_index<1>};
add const map_1{"loop-1", role::ours, "errand::map", &map<1>};
add const loop_1000{"loop-1000", role::ours, "errand::for_each_index", &for_each_index<1000>};
add const map_1000{"loop-1000", role::ours, "errand::map", &map<1000>};
add const loop_million{"loop-million", role::ours, "errand::for_each_index", &for_each_index<1'000'000>};
add const map_million{"loop-million", role::ours, "errand::map", &map<1'000'000>};

}  // namespace

}  // namespace microbench
