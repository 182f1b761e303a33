// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `errand bench text`: runs the programs of text_programs.hpp on one text, each in a process of
// its own, in turn, compares everything they wrote, and reports time, throughput and memory.
#pragma once

#include "bench/report.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

struct text_options {
  std::string file;                  // empty: a generated one
  std::uint64_t size = 64ULL << 20;  // of the generated one
  int runs = 3;
  int workers = 1;
  bool cold = false;                  // the text is put out of the page cache before each program
  std::vector<std::string> programs;  // ids; empty: all that fit
  std::string directory;              // empty: $TMPDIR or /tmp
};

// Throws failure.
report run_text(text_options const& options);

}  // namespace bench
