// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command line of errand: what was asked for, as data. main does it.
#pragma once

#include "bench/report.hpp"
#include "bench/suite.hpp"
#include "bench/text_bench.hpp"

#include <string>
#include <variant>

namespace bench {

// Nothing to run, only something to say on stdout: help or the version.
struct say {
  std::string text;
};

struct command_line {
  std::variant<say, suite_options, text_options> what;
  format form = format::table;
  std::string output;  // empty: stdout
};

// Throws failure for anything that cannot be understood; the text begins with the command's name.
command_line parse_command_line(int argc, char** argv);

}  // namespace bench
