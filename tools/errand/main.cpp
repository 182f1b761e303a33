// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The errand command. `errand bench` measures; `errand --help` tells the rest. Status 0 means a report
// was written; 2 that something went wrong, said in one line on stderr, and that nothing is left behind.
#include "cli.hpp"
#include "output.hpp"

#include "bench/failure.hpp"
#include "bench/interrupt.hpp"
#include "bench/suite_report.hpp"

#include <cstdio>
#include <exception>
#include <string>

namespace {

constexpr int status_failed = 2;

void run(bench::command_line const& command) {
  bench::output out(command.output);
  bench::report report;
  if (auto const* suite = std::get_if<bench::suite_options>(&command.what)) {
    report = bench::report_of(bench::run_suite(*suite));
  } else {
    report = bench::run_text(std::get<bench::text_options>(command.what));
  }
  out.write(bench::render(report, command.form));
}

int tell(std::string const& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return status_failed;
}

}  // namespace

int main(int argc, char** argv) {
  bench::catch_interrupts();
  bench::command_line command;
  try {
    command = bench::parse_command_line(argc, argv);
    if (auto const* said = std::get_if<bench::say>(&command.what)) {
      bench::output("").write(said->text);
      return 0;
    }
  } catch (std::exception const& e) {
    return tell(e.what());
  }
  try {
    run(command);
    return 0;
  } catch (std::exception const& e) {
    return tell(std::string("errand bench: ") + e.what());
  }
}
