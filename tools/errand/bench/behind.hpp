// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Write-behind: a main computation that hands over a piece of a file again and again. What counts is how much longer the
// computation takes than with nothing written; a disk that is still busy afterwards is nobody's loss.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct behind_plan {
  double scale = 1;       // of the post's counting job n = 15 000, and of the lines of its I/O column
  std::string directory;  // for the file
};

// Travels from the child process as plain bytes.
struct behind_sample {
  double main_seconds = 0;  // until the computation is done, and everything handed over
  double all_seconds = 0;   // until everything is written
};

struct behind_program {
  char const* id;
  char const* title;
  bool is_ours;
  behind_sample (*run)(behind_plan const&);  // verifies what it counted; throws failure
};

// The first writes nothing: what the others are compared with.
std::vector<behind_program> const& behind_programs();

// Checks the file that a program has left. Throws failure.
void verify_behind(behind_plan const& p, behind_program const& program);

}  // namespace bench
