// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The contents of errand-microbench: every row with its question, its unit, what would make it cheat and how that is
// counted, and what it shall reach. The subjects add themselves by the row's name.
#pragma once

#include <string>
#include <vector>

namespace microbench {

// What the cost of one of ours, or a fact that is counted beside it, shall not exceed.
struct target {
  enum class kind { gate, aim };  // a gate must be met; an aim is pursued and reported
  kind what;
  std::string ours;
  double limit;
  // The limit is a multiple of the cheapest of these; of 1, in the row's unit, where there are none.
  std::vector<std::string> against = {};
  std::string of = {};  // the fact that is meant, by its name; the cost if empty
};

struct row {
  std::string name;
  std::string title;
  std::string unit;
  std::string cheat;  // what would be cheating, and what shows that it was not done
  std::vector<target> targets = {};
};

[[nodiscard]] std::vector<row> const& all_rows();

}  // namespace microbench
