// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/shell.hpp"

#include "bench/failure.hpp"

#include <cstdio>

namespace bench {

ended_program run_program(std::string const& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw failure("cannot start " + command);
  ended_program p;
  char buffer[4096];
  for (std::size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) p.output.append(buffer, n);
  p.status = pclose(pipe);
  return p;
}

std::string quoted_for_shell(std::string const& text) {
  std::string quoted = "'";
  for (char const c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

bool is_installed(std::string const& name) {
  return run_program("command -v " + name + " >/dev/null 2>&1 </dev/null").status == 0;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace bench
