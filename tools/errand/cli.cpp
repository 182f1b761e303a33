// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "cli.hpp"

#include "bench/failure.hpp"
#include "bench/machine.hpp"
#include "bench/version.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <charconv>
#include <map>

namespace bench {
namespace {

constexpr double greatest_scale = 1e6;
constexpr int most_runs = 1000;
constexpr int most_workers = 1024;

constexpr char const* bench_description =
    "Runs the suite of \"Python 3.5 and multitasking\": five techniques, and their rivals, on work that\n"
    "calculates, work that writes files, and both. Outputs are verified before a time is printed.";

constexpr char const* bench_footer =
    "Techniques and workloads may be given more than once. A technique is a row's id or a whole family:\n"
    "  control   serial-c++\n"
    "  errand    serial threading multiprocess coro-thread coro-multi plain\n"
    "  rivals    std-thread std-async fork asio tbb openmp\n"
    "  python    python-serial python-threading python-multiprocess python-coro-thread python-coro-multi\n"
    "Workloads cpu, io, durable, both and fine are the columns of one table. behind (a file written behind a computation)\n"
    "and large (100 MiB made in another process, copied and in shared memory) have programs and tables of their own.\n"
    "\n"
    "Examples:\n"
    "  errand bench\n"
    "  errand bench --technique errand --workload fine --runs 5\n"
    "  errand bench --format html --output bench.html\n"
    "  errand bench text --help";

constexpr char const* text_description =
    "Analyses a text line by line and writes two files on the way: in serial C++, in the same code with errand's lines "
    "and\n"
    "file_writer, on all workers with reduce_lines, and in awk, Python and sort where they are installed. Any text "
    "will do:\n"
    "a line's key is its first word that begins with a letter, its value the last number in it. Beside them stands "
    "what\n"
    "the machine can do with the bytes alone.";

constexpr char const* text_footer =
    "Programs: serial lines reduce awk python sort. The others are left out, unless named, for a text of your own and "
    "for\n"
    "one of more than 1G.\n"
    "\n"
    "Examples:\n"
    "  errand bench text --size 2G --cold\n"
    "  errand bench text --size 5G --program lines --program reduce\n"
    "  errand bench text server.log";

// What CLI11 fills in before it becomes options.
struct raw_options {
  std::string scale = "auto";
  std::string size = "64M";
  std::string form = "table";
  std::string output;
  std::string directory;
  std::string file;
  int runs = 3;
  int workers = available_cores();
  std::vector<std::string> techniques;
  std::vector<std::string> workloads;
  std::vector<std::string> programs;
  bool cold = false;
};

std::map<std::string, format> const& formats() {
  static std::map<std::string, format> const all{{"table", format::table},
                                                 {"json", format::json},
                                                 {"csv", format::csv},
                                                 {"markdown", format::markdown},
                                                 {"html", format::html}};
  return all;
}

double parse_scale(std::string const& text) {
  double scale = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), scale);
  if (error != std::errc() || end != text.data() + text.size() || !(scale > 0) || scale > greatest_scale) {
    throw failure(fmt::format("errand bench: --scale is 'auto' or a number above 0, not '{}'", text));
  }
  return scale;
}

// 4096, 64K, 256M or 2G.
std::uint64_t parse_size(std::string const& text) {
  std::uint64_t size = 0;
  char const* const end = text.data() + text.size();
  auto const [after, error] = std::from_chars(text.data(), end, size);
  std::string const unit(after, end);
  static std::map<std::string, int> const shifts{{"", 0},   {"K", 10}, {"M", 20}, {"G", 30},
                                                 {"k", 10}, {"m", 20}, {"g", 30}};
  auto const shift = shifts.find(unit);
  constexpr std::uint64_t most = 1ULL << 44;
  if (error != std::errc() || shift == shifts.end() || size == 0 || size > most >> shift->second) {
    throw failure(fmt::format("errand bench: --size is a number of bytes such as 64K, 256M or 2G, not '{}'", text));
  }
  return size << shift->second;
}

void add_common_options(CLI::App& app, raw_options& raw) {
  app.add_option("--runs", raw.runs, "Repetitions, interleaved; the median counts")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, most_runs).description(""))
      ->capture_default_str();
  app.add_option("--workers", raw.workers, "Threads or processes in every row")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, most_workers).description(""))
      ->capture_default_str();
  app.add_option("--dir", raw.directory, "Where files are written, in a fresh directory [$TMPDIR or /tmp]")
      ->type_name("DIRECTORY");
  app.add_option("--format", raw.form, "table, json, csv, markdown or html")
      ->check(CLI::IsMember(formats()).description(""))
      ->type_name("FORMAT")
      ->capture_default_str();
  app.add_option("--output", raw.output, "Where the report goes [stdout]")->type_name("FILE");
}

suite_options suite_options_of(raw_options const& raw) {
  suite_options o;
  if (raw.scale != "auto") o.scale = parse_scale(raw.scale);
  o.runs = raw.runs;
  o.workers = raw.workers;
  o.techniques = raw.techniques;
  o.workloads = raw.workloads;
  o.directory = raw.directory;
  return o;
}

text_options text_options_of(raw_options const& raw) {
  text_options o;
  o.file = raw.file;
  o.size = parse_size(raw.size);
  o.programs = raw.programs;
  o.cold = raw.cold;
  o.runs = raw.runs;
  o.workers = raw.workers;
  o.directory = raw.directory;
  return o;
}

command_line only_saying(std::string text) {
  command_line command;
  command.what = say{std::move(text)};
  return command;
}

// CLI11 may say something over several lines; the user is told one.
std::string first_line(std::string const& text) { return text.substr(0, text.find('\n')); }

}  // namespace

command_line parse_command_line(int argc, char** argv) {
  raw_options raw;
  CLI::App app{"errand: multitasking for humans", "errand"};
  app.set_version_flag("--version", fmt::format("errand {} ({})\n{}", version, commit, compiler_and_build),
                       "Version and build");
  app.set_help_flag("-h,--help", "This text");

  CLI::App& suite = *app.add_subcommand("bench", "Five techniques on real work, beside their rivals");
  suite.add_option("--scale", raw.scale, "Size of the work, 1 being the post's; auto: serial CPU takes two seconds")
      ->type_name("auto|NUMBER")
      ->capture_default_str();
  suite.add_option("--technique", raw.techniques, "Only these rows (and the serial one)")
      ->type_name("NAME")
      ->take_all()
      ->expected(1);
  suite.add_option("--workload", raw.workloads, "Only these: cpu, io, durable, both, fine; behind, large")
      ->type_name("NAME")
      ->take_all()
      ->expected(1);
  add_common_options(suite, raw);
  CLI::App& text = *suite.add_subcommand("text", "The author's real work: an analysis of a text file");
  text.add_option("FILE", raw.file,
                  "The text; without one, a log is generated, and kept in ~/.cache/errand for the next time")
      ->type_name(" ");
  text.add_option("--size", raw.size, "Size of the generated text: 500M, 2G")
      ->type_name("BYTES")
      ->capture_default_str();
  text.add_flag("--cold", raw.cold, "Put the text out of the page cache before each program");
  text.add_option("--program", raw.programs, "Only these programs (and the serial one)")
      ->type_name("NAME")
      ->take_all()
      ->expected(1);
  add_common_options(text, raw);

  text.footer(text_footer);
  suite.footer(bench_footer);  // after `text` was added, which would inherit it

  auto const speaker = [&] { return suite.parsed() ? "errand bench" : "errand"; };
  try {
    app.parse(argc, argv);
  } catch (CLI::CallForHelp const&) {
    // A command says more about itself on its own page than in the list above it.
    if (text.parsed()) return only_saying(text.description(text_description)->help("errand bench"));
    if (suite.parsed()) return only_saying(suite.description(bench_description)->help("errand"));
    return only_saying(app.help());
  } catch (CLI::CallForVersion const& e) {
    return only_saying(std::string(e.what()) + "\n");
  } catch (CLI::ParseError const& e) {
    throw failure(fmt::format("{}: {}", speaker(), first_line(e.what())));
  }
  if (!suite.parsed()) return only_saying(app.help());

  command_line command;
  command.form = formats().at(raw.form);
  command.output = raw.output;
  if (text.parsed()) {
    command.what = text_options_of(raw);
  } else {
    command.what = suite_options_of(raw);
  }
  return command;
}

}  // namespace bench
