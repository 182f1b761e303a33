// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// 100 MiB that one process has and another wants, however they come over: made, stamped with the time and verified alike.
#pragma once

#include "harness.hpp"
#include "system_state.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace microbench {

using number = std::uint64_t;

inline std::size_t large_count(settings const& s) { return (std::size_t{100} << 20U) / sizeof(number) / (s.quick ? 20 : 1); }

// Every element is written, and depends on the round.
template <class Container>
void fill(Container& numbers, number round) {
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = round * 0x9e3779b97f4a7c15U + i;
}
template <class Container>
void require_filled(Container const& numbers, std::size_t count, number round) {
  require(numbers.size() == count, "a large result has another size");
  bool right = true;
  for (std::size_t i = 0; i < count; ++i) right = right && numbers[i] == round * 0x9e3779b97f4a7c15U + i;
  require(right, "a large result is not what was sent");
}

// Rounds of `get(round)`, which returns how long the result was on its way, in ns; their median after those that touch
// the memory.
template <class Get>
sample median_on_its_way(settings const& s, Get get) {
  constexpr number warming = 3;
  number const rounds = s.quick ? 3 : 9;
  std::vector<double> each;
  for (number round = 0; round < warming + rounds; ++round) {
    double const ms = static_cast<double>(get(round)) / 1e6;
    if (round >= warming) each.push_back(ms);
  }
  return {median(each)};
}

}  // namespace microbench
