// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Other programs, run by the shell and waited for: Python, awk, sort. For child processes, which have nothing else to do.
#pragma once

#include <string>

namespace bench {

struct ended_program {
  std::string output;
  int status = 0;  // as wait() gives it; 0 is success
};

// Throws failure if it cannot be started.
ended_program run_program(std::string const& command);

// Whether the shell finds a program of that name.
bool is_installed(std::string const& name);

std::string quoted_for_shell(std::string const& text);

std::string last_line(std::string text);

}  // namespace bench
