// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One line on the terminal that says what runs now and how long the rest will take.
// Written to stderr, and only if that is a terminal; a pipe or a file sees nothing.
#pragma once

#include <string>

namespace bench {

class progress {
 public:
  progress(int steps, bool shown);
  ~progress();
  progress(progress const&) = delete;
  progress& operator=(progress const&) = delete;

  // The next step begins.
  void step(std::string const& what);

 private:
  int steps_;
  int begun_ = 0;
  bool shown_;
  double started_;
};

// Whether stderr is a terminal.
bool progress_is_wanted();

}  // namespace bench
