// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/text_bench.hpp"

#include "bench/disk_limits.hpp"
#include "bench/failure.hpp"
#include "bench/input_file.hpp"
#include "bench/interrupt.hpp"
#include "bench/isolate.hpp"
#include "bench/kernel.hpp"
#include "bench/machine.hpp"
#include "bench/progress.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/shell.hpp"
#include "bench/statistics.hpp"
#include "bench/text_input.hpp"
#include "bench/text_programs.hpp"
#include "bench/verify.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <vector>

namespace bench {
namespace {

constexpr double mib = 1 << 20;

// Other languages take minutes for more, and run only if they are asked for.
constexpr std::uint64_t most_for_others = std::uint64_t{1} << 30;

// What a program's outputs have in common with the serial one's.
enum class likeness { same_bytes, same_lines, same_counts };

struct program {
  char const* id;
  char const* title;
  void (*run)(text_job const&);
  likeness output = likeness::same_bytes;
  char const* command = nullptr;  // another language: this must be installed, and it runs once
};

constexpr program all_programs[] = {
    {"serial", "serial: std::ifstream, std::ofstream", analyse_serially},
    {"lines", "errand, one thread: lines, file_writer", analyse_as_lines},
    {"reduce", "errand, all workers: reduce_lines", analyse_by_reducing, likeness::same_lines},
    {"awk", "awk", analyse_by_awk, likeness::same_bytes, "awk"},
    {"python", "Python", analyse_by_python, likeness::same_bytes, "python3"},
    {"sort", "cut | sort | uniq -c: counts only", count_by_sort, likeness::same_counts, "sort"},
};

std::string all_ids() {
  std::vector<std::string> ids;
  for (program const& p : all_programs) ids.emplace_back(p.id);
  return fmt::format("{}", fmt::join(ids, ", "));
}

struct sample {
  double seconds = 0;
  double peak_mib = 0;
};

sample timed(program const& p, text_job const& job) {
  setenv("ERRAND_THREADS", std::to_string(job.workers).c_str(), 1);
  double const begin = now();
  p.run(job);
  sample s;
  s.seconds = now() - begin;
  rusage used{};
  getrusage(p.command == nullptr ? RUSAGE_SELF : RUSAGE_CHILDREN, &used);
  s.peak_mib = static_cast<double>(used.ru_maxrss) / 1024;
  return s;
}

std::string size_text(double bytes) {
  return bytes < 10 * mib ? fmt::format("{:.0f} bytes", bytes) : fmt::format("{:.1f} MiB", bytes / mib);
}

struct program_run {
  program const* what;
  std::vector<double> seconds{};
  std::vector<double> peak_mib{};
};

class text_run {
 public:
  text_run(text_options const& options, scratch_directory const& scratch)
      : options_(options), scratch_(scratch), runs_(chosen()), progress_(steps(), progress_is_wanted()) {}

  report measure_everything() {
    input_ = options_.file.empty() ? generated() : options_.file;
    size_ = input_file(input_).size();
    scratch_.require_space(3 * size_ + std::min(size_, most_of_a_limit));  // two programs' files, and what sort keeps
    if (!options_.cold) {
      progress_.step("reading " + input_);
      read_through(input_, size_);
    }
    for (int run = 1; run <= options_.runs; ++run) {
      for (program_run& p : runs_) {
        if (run > runs_of(p)) continue;
        progress_.step(fmt::format("run {} of {}: {}", run, runs_of(p), p.what->title));
        measure(p);
      }
      progress_.step(fmt::format("run {} of {}: what this machine could do", run, options_.runs));
      limits_.push_back(
          run_isolated_as([&] { return measure_limits(input_, scratch_.file("limit"), !options_.cold); }));
    }
    return to_report();
  }

 private:
  // The serial program first: all others are compared with it.
  std::vector<program_run> chosen() {
    std::set<std::string> unknown(options_.programs.begin(), options_.programs.end());
    std::vector<program_run> runs;
    for (program const& p : all_programs) {
      bool const named = unknown.erase(p.id) != 0;
      bool const is_other = p.command != nullptr;
      if (named && is_other && !is_installed(p.command)) throw failure(fmt::format("{} is not installed", p.command));
      bool wanted = named || options_.programs.empty() || &p == all_programs;
      if (!named && is_other) {
        // They know the generated text, not every text; and not every machine has them.
        wanted = wanted && options_.file.empty();
        if (wanted && (options_.size > most_for_others || !is_installed(p.command))) {
          left_out_.emplace_back(p.title);
          wanted = false;
        }
      }
      if (wanted) runs.push_back({&p});
    }
    if (!unknown.empty())
      throw failure(fmt::format("there is no program '{}'; there are: {}", *unknown.begin(), all_ids()));
    return runs;
  }

  int runs_of(program_run const& p) const { return p.what->command != nullptr ? 1 : options_.runs; }
  int steps() const {
    int n = options_.runs + (options_.cold ? 0 : 1) + (options_.file.empty() ? 1 : 0);
    for (program_run const& p : runs_) n += runs_of(p);
    return n;
  }

  std::string generated() {
    progress_.step(fmt::format("generating {}", size_text(static_cast<double>(options_.size))));
    return generated_text(options_.size, scratch_.path());
  }

  // The serial program's first outputs stay, and all others are compared with them.
  void measure(program_run& p) {
    bool const is_reference = &p == &runs_.front() && p.seconds.empty();
    text_job const job{std::filesystem::absolute(input_), scratch_.file(is_reference ? "reference" : "candidate"),
                       options_.workers};
    std::filesystem::create_directory(job.directory);
    try {
      if (options_.cold) drop_from_cache(input_);
      sample const s = run_isolated_as([&] { return timed(*p.what, job); });
      if (is_reference) {
        reference_ = job;
      } else {
        verify_outputs(job, p.what->output);
      }
      p.seconds.push_back(s.seconds);
      p.peak_mib.push_back(s.peak_mib);
    } catch (failure const& e) {
      check_interrupt();
      throw failure(fmt::format("text, {}: {}", p.what->title, e.what()));
    }
    if (!is_reference) std::filesystem::remove_all(job.directory);
  }

  void verify_outputs(text_job const& job, likeness output) {
    if (output == likeness::same_counts) {
      verify_same_counts(job.directory + "/counts.txt", reference_.totals());
      return;
    }
    verify_same_bytes(job.totals(), reference_.totals());
    if (output == likeness::same_bytes) {
      verify_same_bytes(job.selected(), reference_.selected());
      verify_same_bytes(job.table(), reference_.table());
      return;
    }
    // Sums that any order of the same lines has; the reference's are worth keeping.
    if (!reference_lines_) reference_lines_ = {lines_of(reference_.selected()), lines_of(reference_.table())};
    verify_same_lines(job.selected(), reference_lines_->first);
    verify_same_lines(job.table(), reference_lines_->second);
  }

  // Of all rounds the median, of each limit by itself.
  double limit(double disk_limits::*which) const {
    std::vector<double> rates;
    for (disk_limits const& l : limits_) rates.push_back(l.*which);
    return spread_of(rates).median;
  }

  report to_report() const {
    auto const bytes_of = [](std::string const& path) { return static_cast<double>(std::filesystem::file_size(path)); };
    auto const size = static_cast<double>(size_);
    report r;
    r.title = "errand bench text: an analysis that writes two files on the way";
    r.facts = describe_machine();
    r.facts.emplace_back("workers", std::to_string(options_.workers));
    r.facts.emplace_back(
        "text", fmt::format("{}{}, {}", options_.file.empty() ? "generated log, " : "", input_, size_text(size)));
    r.facts.emplace_back("where", options_.cold ? "on the disk: put out of the page cache before each program"
                                                : "in the page cache, as far as there is room");
    r.facts.emplace_back(
        "written", fmt::format("selected lines {}, table {}, totals {}", size_text(bytes_of(reference_.selected())),
                               size_text(bytes_of(reference_.table())), size_text(bytes_of(reference_.totals()))));
    add_programs(r, size);
    add_limits(r, size);
    return r;
  }

  void add_programs(report& r, double size) const {
    table t;
    t.groups.push_back({"", {"s", "±", "/serial", "MiB/s", "peak MiB"}});
    chart c{"Seconds", {}};
    double const serial = spread_of(runs_.front().seconds).median;
    for (program_run const& p : runs_) {
      spread const seconds = spread_of(p.seconds);
      double const peak = spread_of(p.peak_mib).max;
      double const rate = size / mib / seconds.median;
      bool const once = p.seconds.size() == 1;
      t.rows.push_back(
          {p.what->title,
           {fmt::format("{:.3f}", seconds.median), once ? "" : fmt::format("±{:.0f}%", seconds.relative() * 100),
            fmt::format("{:.2f}", seconds.median / serial), fmt::format("{:.0f}", rate), fmt::format("{:.0f}", peak)}});
      bool const ours = p.what->command == nullptr && &p != &runs_.front();
      c.bars.push_back({p.what->title, seconds.median, fmt::format("{:.3f}", seconds.median), ours});
      r.records.push_back({{"program", std::string(p.what->id)},
                           {"title", std::string(p.what->title)},
                           {"bytes", static_cast<std::int64_t>(size_)},
                           {"cold", std::int64_t{options_.cold ? 1 : 0}},
                           {"workers", std::int64_t{options_.workers}},
                           {"runs", static_cast<std::int64_t>(p.seconds.size())},
                           {"seconds_min", seconds.min},
                           {"seconds_median", seconds.median},
                           {"seconds_max", seconds.max},
                           {"ratio_to_serial", seconds.median / serial},
                           {"mib_per_second", rate},
                           {"peak_mib", peak}});
    }
    t.notes.push_back(
        fmt::format("s: median of {} interleaved runs (other languages: one run). Totals and files were the same in "
                    "all, byte by byte; "
                    "those of reduce_lines have the same lines in another order.",
                    options_.runs));
    if (!left_out_.empty()) {
      t.notes.push_back(fmt::format("Left out, too slow for this size or not installed: {}. --program runs them.",
                                    fmt::join(left_out_, "; ")));
    }
    r.tables.push_back(std::move(t));
    r.charts.push_back(std::move(c));
  }

  void add_limits(report& r, double size) const {
    struct {
      char const* id;
      char const* title;
      double disk_limits::*which;
    } const limits[] = {{"cached-read", "read() from the page cache", &disk_limits::cached_read},
                        {"direct-read", "reading from the disk, O_DIRECT", &disk_limits::direct_read},
                        {"direct-write", "writing to the disk, O_DIRECT", &disk_limits::direct_write}};
    table t;
    t.title = "What this machine can do, in the same run: the bytes alone";
    t.groups.push_back({"", {"MiB/s", "s for this text"}});
    for (auto const& l : limits) {
      double const rate = limit(l.which);
      bool const known = rate > 0;
      t.rows.push_back(
          {l.title,
           {known ? fmt::format("{:.0f}", rate / mib) : "-", known ? fmt::format("{:.3f}", size / rate) : "-"}});
    }
    t.notes.emplace_back(
        "At most 1 GiB: from the page cache by one thread, O_DIRECT by four. -: not to be had here, or not asked for.");
    r.tables.push_back(std::move(t));
  }

  text_options const& options_;
  scratch_directory const& scratch_;
  std::vector<std::string> left_out_{};
  std::vector<program_run> runs_;
  progress progress_;
  std::string input_{};
  std::uint64_t size_ = 0;
  text_job reference_{};
  std::optional<std::pair<file_lines, file_lines>> reference_lines_{};
  std::vector<disk_limits> limits_{};
};

}  // namespace

report run_text(text_options const& options) {
  scratch_directory const scratch(options.directory);
  return text_run(options, scratch).measure_everything();
}

}  // namespace bench
