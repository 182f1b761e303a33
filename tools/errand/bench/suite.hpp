// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `errand bench`: runs every chosen technique on every chosen workload, round after round so that
// a drift of the machine meets all rows alike, verifies each run, and keeps what was measured.
// suite_report turns the result into tables.
#pragma once

#include "bench/behind.hpp"
#include "bench/large.hpp"
#include "bench/technique.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bench {

struct suite_options {
  std::optional<double> scale;  // none: the serial CPU workload takes about two seconds
  int runs = 3;
  int workers = 1;
  std::vector<std::string> techniques;  // ids, titles or families; empty: all
  std::vector<std::string> workloads;   // ids; empty: all
  std::string directory;                // empty: $TMPDIR or /tmp
};

// All repetitions of one technique on one workload.
struct cell {
  double scale = 1;
  std::vector<measurement> runs;
};

struct suite_row {
  technique what;
  std::map<workload, cell> cells;
};

// The same of one program that writes behind.
struct behind_row {
  behind_program const* what;
  std::vector<behind_sample> runs{};
};

// The same of one program's large results.
struct large_row {
  large_program const* what;
  std::vector<large_sample> copied{};
  std::vector<large_sample> shared{};
};

struct suite_result {
  double scale = 1;
  double python_scale = 1;
  int runs = 0;
  int workers = 0;
  std::vector<workload> workloads;
  std::vector<suite_row> rows;     // in the table's order
  std::vector<behind_row> behind;  // empty unless asked for
  std::vector<large_row> large;    // likewise
  std::vector<std::string> absent;
  std::string python_version;
};

// Throws failure: an unknown name, a row that failed, an output that was wrong, an interrupt.
suite_result run_suite(suite_options const& options);

}  // namespace bench
