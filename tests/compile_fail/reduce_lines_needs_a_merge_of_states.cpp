// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two states are merged to one: a function of a state and a line is not that.
// expect: merge is called as merge(State, State), for a State, or merge(State&, State&&)
#include <errand/detail/lines.hpp>

#include <string>

int main() {
  auto const make = [] { return std::string{}; };
  auto const longest = [](std::string& most, std::string_view line) {
    if (line.size() > most.size()) most = line;
  };
#ifdef MUST_NOT_COMPILE
  auto const merge = [](std::string& most, int line) { most.append(static_cast<std::size_t>(line), ' '); };
#else
  auto const merge = [&](std::string& most, std::string&& other) { longest(most, other); };
#endif
  return static_cast<int>(errand::reduce_lines("/dev/null", make, longest, merge).size());
}
