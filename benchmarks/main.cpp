// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// errand-microbench: what each of errand's operations costs, beside its rivals and its floor, measured in one run.
// README.md beside this file says how. Status 0 means that all results were right, whatever the times; 2 that one was
// wrong or that the command line was.
#include "machine.hpp"
#include "own_process.hpp"
#include "report.hpp"

#include "bench/failure.hpp"
#include "bench/interrupt.hpp"
#include "bench/scratch_directory.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

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
  std::string directory{};            // of which a new one inside is for the files
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
void show_line(std::string const& text) {
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r\033[K{}", text);
}
void show_progress(std::string const& text) {
  bench::check_interrupt();
  show_line(text);
}

bool has_files(row const& r) { return r.name.starts_with("file-"); }

// A directory for the rows of files, if one of them is chosen. At most there are the text, a quarter of it again and a file
// that is written; or half a GiB in smaller ones.
std::unique_ptr<bench::scratch_directory> directory_for_files(options const& o) {
  std::unique_ptr<bench::scratch_directory> made;
  auto const& rows = all_rows();
  if (std::none_of(rows.begin(), rows.end(), [&](row const& r) { return chosen(o, r) && has_files(r); })) return made;
  made = std::make_unique<bench::scratch_directory>(o.directory);
  made->require_space(o.how.quick ? o.how.file_bytes / 16 : o.how.file_bytes / 4 * 9 + (std::uint64_t{1} << 29));
  return made;
}

int measure_rows(options o) {
  std::ofstream json;
  if (!o.json.empty()) {
    json.open(o.json);  // before minutes of measuring
    if (!json) {
      fmt::print(stderr, "errand-microbench: cannot write {}: {}\n", o.json, std::strerror(errno));
      return status_wrong;
    }
  }
  auto const directory = directory_for_files(o);
  if (directory) {
    o.how.scratch = directory->path();
    bench::catch_interrupts();
  }
  run r{.how = o.how, .repetitions = o.runs};
  for (auto const& row : all_rows())
    if (chosen(o, row)) r.rows.push_back({&row, measure(row.name, o.how, o.runs, &show_progress)});
  show_line("");
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
  app.add_option("-s,--size", o.how.file_bytes, "of a large file in the rows file-*: 2G, 500M")
      ->default_str("2G")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{64} << 20, std::uint64_t{1} << 40));
  app.add_option("--directory", o.directory,
                 "where their files are, in a new directory that is removed; else TMPDIR or /tmp")
      ->check(CLI::ExistingDirectory);
  app.add_option("--scratch", o.how.scratch)->group("");
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
  try {
    return measure_rows(o);
  } catch (bench::failure const& e) {
    show_line("");
    fmt::print(stderr, "errand-microbench: {}\n", e.what());
    return status_wrong;
  }
}
