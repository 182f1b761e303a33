// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// errand-microbench: what each of errand's operations costs, beside its rivals and its floor, measured in one run.
// README.md beside this file says how. Status 0 means that all results were right, whatever the times; 2 that one was
// wrong or that the command line was.
#include "machine.hpp"
#include "own_process.hpp"
#include "report.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <unistd.h>

namespace {

using namespace microbench;

constexpr int status_wrong = 2;

struct options {
  settings how{.workers = processors()};
  unsigned runs = 5;
  std::string format = "table";
  std::string json{};  // a file for the JSON of the same run
  std::vector<std::string> filter{};
  std::vector<std::string> repeat{};  // row and subject: a repetition for the process that started us
  bool list = false;
};

bool chosen(options const& o, row const& r) {
  for (auto const& part : o.filter)
    if (r.name.find(part) != std::string::npos) return true;
  return o.filter.empty();
}

void list_rows(options const& o) {
  for (auto const& r : all_rows()) {
    if (!chosen(o, r)) continue;
    fmt::print("{}: {}, {}\n", r.name, r.title, r.unit);
    for (auto const* s : subjects_of(r.name)) fmt::print("    {}\n", s->name);
  }
}

// One line on a terminal, nothing in a pipe.
void show_progress(std::string const& text) {
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r\033[K{}", text);
}

int measure_rows(options const& o) {
  std::ofstream json;
  if (!o.json.empty()) {
    json.open(o.json);  // before minutes of measuring
    if (!json) {
      fmt::print(stderr, "errand-microbench: cannot write {}: {}\n", o.json, std::strerror(errno));
      return status_wrong;
    }
  }
  run r{.how = o.how, .repetitions = o.runs};
  for (auto const& row : all_rows())
    if (chosen(o, row)) r.rows.push_back({&row, measure(row.name, o.how, o.runs, &show_progress)});
  show_progress("");
  if (r.rows.empty()) {
    fmt::print(stderr, "errand-microbench: no row's name has that in it; --list shows them\n");
    return status_wrong;
  }
  if (json.is_open()) json << as_json(r) << std::flush;
  if (!json) {
    fmt::print(stderr, "errand-microbench: writing {} failed\n", o.json);
    return status_wrong;
  }
  fmt::print("{}", o.format == "json" ? as_json(r) : o.format == "markdown" ? as_markdown(r) : as_table(r));
  return r.anything_wrong() ? status_wrong : 0;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"What errand's operations cost, beside its rivals and the least that is possible.", "errand-microbench"};
  app.add_option("-f,--filter", o.filter, "only rows with one of these in their name");
  app.add_option("-r,--runs", o.runs, "repetitions, after one that is not reported")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("-w,--workers", o.how.workers, "workers of every pool that a row does not fix otherwise")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app.add_option("--format", o.format, "table, json or markdown")
      ->capture_default_str()
      ->check(CLI::IsMember({"table", "json", "markdown"}));
  app.add_option("--json", o.json, "a file to write the JSON of the same run to");
  app.add_flag("-l,--list", o.list, "show the rows and who competes in them");
  app.add_flag("-q,--quick", o.how.quick, "a fiftieth of the work: to see that all works");
  app.add_option("--repeat", o.repeat)->expected(2)->group("");
  app.add_option("--times", o.how.exactly)->group("");  // instructions.sh, with --repeat
  try {
    app.parse(argc, argv);
  } catch (CLI::ParseError const& e) {
    return app.exit(e) == 0 ? 0 : status_wrong;
  }
  if (!o.repeat.empty()) return repeat_for_parent(o.repeat[0], o.repeat[1], o.how);
  if (o.list) {
    list_rows(o);
    return 0;
  }
  return measure_rows(o);
}
