// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The time of a loop over so many elements, for each call, or for each element where there are a million.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

namespace microbench {

// run() calls visit() once for each of Length elements.
template <std::size_t Length, class Run>
sample loop_of(settings const& s, Run run) {
  constexpr bool long_loop = Length >= 1'000'000;
  auto const calls = long_loop ? std::size_t{1} : s.times(20'000);
  run();
  roll_call const who;
  auto const begin = now_ns();
  for (std::size_t i = 0; i < calls; ++i) run();
  auto const end = now_ns();
  return {ns_each(begin, end, long_loop ? Length : calls), who.end(calls * Length).facts()};
}

}  // namespace microbench
