// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Large results: 100 MiB that another process has made, copied over and in memory that both processes see. What counts is how
// long they are on their way: from the moment at which they are ready there to that at which they can be read here.
#pragma once

#include "bench/technique.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace bench {

struct large_plan {
  std::size_t bytes = 0;
  int workers = 1;
  std::string directory;  // for a script
};

// So many bytes at a scale; 100 MiB from 1 on.
std::size_t large_bytes(double scale);

// Travels from the child process as plain bytes.
struct large_sample {
  double seconds = 0;  // on the way, the median of some rounds
};

// Each verifies every byte of every result, off the clock; throws failure.
using large_way = large_sample (*)(large_plan const&);

struct large_program {
  char const* id;
  char const* title;
  family kin;
  char const* note;  // how it is written: copied; shared
  large_way copied;
  large_way shared;
};

// The first is what the others are compared with; Python's is the last.
std::vector<large_program> const& large_programs();

}  // namespace bench
