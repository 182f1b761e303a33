// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/text_bench.hpp"

#include "bench/failure.hpp"
#include "bench/input_file.hpp"
#include "bench/interrupt.hpp"
#include "bench/isolate.hpp"
#include "bench/kernel.hpp"
#include "bench/machine.hpp"
#include "bench/progress.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/statistics.hpp"
#include "bench/text_input.hpp"
#include "bench/text_programs.hpp"
#include "bench/verify.hpp"

#include <fmt/format.h>

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace bench {
namespace {

constexpr double mib = 1 << 20;

struct program {
  char const* id;
  char const* title;
  void (*run)(text_job const&);
};

constexpr std::array programs{
    program{"serial", "serial: std::ifstream, std::ofstream", analyse_serially},
    program{"async", "the same, writes handed to async", analyse_and_hand_off},
    program{"map", "map over pieces of the file", analyse_in_pieces},
};

struct sample {
  double seconds = 0;
  double peak_mib = 0;
};

struct program_samples {
  std::vector<double> seconds;
  std::vector<double> peak_mib;
};

sample timed(program const& p, text_job const& job) {
  setenv("ERRAND_THREADS", std::to_string(job.workers).c_str(), 1);
  double const begin = now();
  p.run(job);
  sample s;
  s.seconds = now() - begin;
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  s.peak_mib = static_cast<double>(used.ru_maxrss) / 1024;
  return s;
}

// Reads the whole file; the seconds it took. Also what brings the file into the page cache.
double read_through(input_file const& file) {
  std::vector<char> block(1 << 20);
  double const begin = now();
  for (std::uint64_t at = 0; at < file.size();) {
    std::size_t const n = file.read_at(at, block);
    if (n == 0) break;
    at += n;
    check_interrupt();
  }
  return now() - begin;
}

void verify_same_outputs(text_job const& job, text_job const& reference) {
  verify_same_bytes(job.totals(), reference.totals());
  verify_same_bytes(job.selected(), reference.selected());
  verify_same_bytes(job.table(), reference.table());
}

std::string size_text(double bytes) {
  return bytes < 10 * mib ? fmt::format("{:.0f} bytes", bytes) : fmt::format("{:.1f} MiB", bytes / mib);
}

class text_run {
 public:
  text_run(text_options const& options, scratch_directory const& scratch)
      : options_(options),
        scratch_(scratch),
        progress_(options.runs * static_cast<int>(programs.size()) + 2, progress_is_wanted()) {}

  report measure_everything() {
    std::string const path = options_.file.empty() ? generated() : options_.file;
    input_file const input(path);
    size_ = static_cast<double>(input.size());
    scratch_.require_space(2 * input.size());
    progress_.step("reading " + path);
    read_through(input);
    double const reading_alone = read_through(input);

    for (int run = 1; run <= options_.runs; ++run) {
      for (std::size_t p = 0; p < programs.size(); ++p) {
        progress_.step(fmt::format("run {} of {}: {}", run, options_.runs, programs[p].title));
        measure(p, path);
      }
    }
    return to_report(reading_alone);
  }

 private:
  std::string generated() {
    std::string const path = scratch_.file("input.txt");
    scratch_.require_space(options_.size + longest_generated_line);
    progress_.step(fmt::format("generating {}", size_text(static_cast<double>(options_.size))));
    generate_text(path, options_.size);
    return path;
  }

  // The serial program's first outputs stay, and all others are compared with them.
  void measure(std::size_t p, std::string const& input) {
    bool const is_reference = p == 0 && samples_[p].seconds.empty();
    text_job const job{input, scratch_.file(is_reference ? "reference" : "candidate"), options_.workers};
    std::filesystem::create_directory(job.directory);
    try {
      sample const s = run_isolated_as([&] { return timed(programs[p], job); });
      if (is_reference) {
        reference_ = job;
      } else {
        verify_same_outputs(job, reference_);
      }
      samples_[p].seconds.push_back(s.seconds);
      samples_[p].peak_mib.push_back(s.peak_mib);
    } catch (failure const& e) {
      check_interrupt();
      throw failure(fmt::format("text, {}: {}", programs[p].title, e.what()));
    }
    if (!is_reference) std::filesystem::remove_all(job.directory);
  }

  report to_report(double reading_alone) const {
    auto const bytes_of = [](std::string const& path) { return static_cast<double>(std::filesystem::file_size(path)); };
    report r;
    r.title = "errand bench text: an analysis that writes two files on the way";
    r.facts = describe_machine();
    r.facts.emplace_back("workers", std::to_string(options_.workers));
    r.facts.emplace_back(
        "text", fmt::format("{}, {}", options_.file.empty() ? "generated log" : options_.file, size_text(size_)));
    r.facts.emplace_back(
        "written", fmt::format("selected lines {}, table {}, totals {}", size_text(bytes_of(reference_.selected())),
                               size_text(bytes_of(reference_.table())), size_text(bytes_of(reference_.totals()))));

    table t;
    t.groups.push_back({"", {"s", "±", "/serial", "MiB/s", "peak MiB"}});
    chart c{"Seconds", {}};
    double const serial = spread_of(samples_.front().seconds).median;
    for (std::size_t p = 0; p < programs.size(); ++p) {
      spread const seconds = spread_of(samples_[p].seconds);
      double const peak = spread_of(samples_[p].peak_mib).max;
      double const rate = size_ / mib / seconds.median;
      t.rows.push_back(
          {programs[p].title,
           {fmt::format("{:.3f}", seconds.median), fmt::format("±{:.0f}%", seconds.relative() * 100),
            fmt::format("{:.2f}", seconds.median / serial), fmt::format("{:.0f}", rate), fmt::format("{:.0f}", peak)}});
      c.bars.push_back({programs[p].title, seconds.median, fmt::format("{:.3f}", seconds.median), p > 0});
      r.records.push_back({{"program", std::string(programs[p].id)},
                           {"title", std::string(programs[p].title)},
                           {"bytes", static_cast<std::int64_t>(size_)},
                           {"workers", std::int64_t{options_.workers}},
                           {"runs", static_cast<std::int64_t>(samples_[p].seconds.size())},
                           {"seconds_min", seconds.min},
                           {"seconds_median", seconds.median},
                           {"seconds_max", seconds.max},
                           {"ratio_to_serial", seconds.median / serial},
                           {"mib_per_second", rate},
                           {"peak_mib", peak}});
    }
    t.notes.push_back(
        fmt::format("s: median of {} interleaved runs from the page cache; the totals and every byte of both files "
                    "were the same in all. "
                    "Reading the text alone: {:.3f} s, {:.0f} MiB/s.",
                    options_.runs, reading_alone, reading_alone > 0 ? size_ / mib / reading_alone : 0));
    r.tables.push_back(std::move(t));
    r.charts.push_back(std::move(c));
    return r;
  }

  text_options const& options_;
  scratch_directory const& scratch_;
  progress progress_;
  double size_ = 0;
  text_job reference_;
  std::array<program_samples, programs.size()> samples_;
};

}  // namespace

report run_text(text_options const& options) {
  scratch_directory const scratch(options.directory);
  return text_run(options, scratch).measure_everything();
}

}  // namespace bench
