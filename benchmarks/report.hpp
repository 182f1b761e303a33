// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What was measured, for people and for programs: tables, markdown, JSON. A ratio is the median of the ratios of the rounds
// of one run.
#pragma once

#include "harness.hpp"
#include "rows.hpp"

#include <string>
#include <vector>

namespace microbench {

struct row_result {
  row const* what;
  std::vector<measured> subjects;

  [[nodiscard]] measured const* find(std::string const& name) const;
};

struct run {
  settings how;
  unsigned repetitions;
  std::vector<row_result> rows{};

  [[nodiscard]] bool anything_wrong() const;
};

// One subject's figures.
struct figures {
  double median, least, most;
  double to_best_rival, to_floor;  // 0 where there is none
};
[[nodiscard]] figures figures_of(row_result const& in, measured const& subject);

// A target of a row, and what came of it.
struct verdict {
  std::string row;
  target const* what;
  std::string wanted;  // in words
  double got = 0;      // in the unit of the limit: a ratio, or the row's
  enum class result { met, missed, unknown } came_out = result::unknown;  // unknown: somebody was not measured
};
[[nodiscard]] std::vector<verdict> verdicts_of(run const& r);

[[nodiscard]] std::string as_table(run const& r);
[[nodiscard]] std::string as_markdown(run const& r);
[[nodiscard]] std::string as_json(run const& r);

}  // namespace microbench
