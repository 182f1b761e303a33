// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/suite.hpp"

#include "bench/failure.hpp"
#include "bench/interrupt.hpp"
#include "bench/isolate.hpp"
#include "bench/progress.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/verify.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

namespace bench {
namespace {

constexpr double auto_cpu_seconds = 2.0;

// No columns of the table: their programs are others.
constexpr std::string_view behind_id = "behind";
constexpr std::string_view large_id = "large";

// A fine-grained run slower than this is not repeated.
constexpr double slow_seconds = 3.0;

// Python is slower by so much that its rows always have the post's own sizes.
constexpr double most_python_scale = 1.0;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_named(technique const& t, std::string const& name) {
  return name == t.id || name == id_of(t.kin) || (t.kin != family::python && name == lower(t.title));
}

std::vector<technique> choose_techniques(std::vector<technique> all, std::vector<std::string> const& names) {
  if (names.empty()) return all;
  std::set<std::size_t> chosen;
  for (std::string const& name : names) {
    bool found = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (is_named(all[i], lower(name))) {
        chosen.insert(i);
        found = true;
      }
    }
    if (!found) {
      std::vector<std::string> known;
      for (technique const& t : all) known.push_back(t.id);
      for (family const f : all_families) known.emplace_back(id_of(f));
      throw failure(fmt::format("there is no technique '{}' here; there are: {}", name, fmt::join(known, ", ")));
    }
  }
  // Ratios need their denominators: each side's serial row comes along.
  for (std::size_t const i : std::set(chosen)) {
    std::string const reference = all[i].kin == family::python ? "python-serial" : "serial-c++";
    for (std::size_t k = 0; k < all.size(); ++k) {
      if (all[k].id == reference) chosen.insert(k);
    }
  }
  std::vector<technique> rows;
  for (std::size_t const i : chosen) rows.push_back(std::move(all[i]));
  return rows;
}

std::vector<workload> choose_workloads(std::vector<std::string> const& names) {
  if (names.empty()) return {all_workloads.begin(), all_workloads.end()};
  for (std::string const& name : names) {
    auto const is_it = [&](workload w) { return text_of(w).id == lower(name); };
    bool const is_extra = lower(name) == behind_id || lower(name) == large_id;
    if (!is_extra && std::none_of(all_workloads.begin(), all_workloads.end(), is_it)) {
      std::vector<std::string_view> known;
      for (workload const w : all_workloads) known.push_back(text_of(w).id);
      known.push_back(behind_id);
      known.push_back(large_id);
      throw failure(fmt::format("there is no workload '{}'; there are: {}", name, fmt::join(known, ", ")));
    }
  }
  std::vector<workload> chosen;
  std::copy_if(all_workloads.begin(), all_workloads.end(), std::back_inserter(chosen), [&](workload w) {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string const& name) { return text_of(w).id == lower(name); });
  });
  return chosen;
}

// The scale at which this machine's serial CPU workload takes about two seconds.
double calibrated_scale() {
  constexpr std::uint64_t sample_steps = 20'000'000;
  double fastest = 1e9;
  for (int attempt = 0; attempt < 5; ++attempt) {
    double const begin = now();
    inner_loop(sample_steps);
    fastest = std::min(fastest, now() - begin);
  }
  double const at_scale_1 = fastest / sample_steps * static_cast<double>(cpu_steps_at_scale_1());
  // Two digits: the scale is to be read, and repeated by hand.
  double const scale = auto_cpu_seconds / at_scale_1;
  double const unit = std::pow(10, std::floor(std::log10(scale)) - 1);
  return std::max(std::round(scale / unit) * unit, 1.0);
}

bool has_family(suite_result const& result, family f) {
  return std::any_of(result.rows.begin(), result.rows.end(), [&](suite_row const& r) { return r.what.kin == f; });
}

bool writes_files(suite_result const& result) {
  return !result.behind.empty() ||
         std::any_of(result.workloads.begin(), result.workloads.end(), [](workload w) { return w != workload::cpu; });
}

class suite_run {
 public:
  suite_run(suite_result& result, scratch_directory const& scratch)
      : result_(result), scratch_(scratch), progress_(steps(), progress_is_wanted()) {}

  void measure_everything() {
    warm_the_page_cache();
    for (int run = 1; run <= result_.runs; ++run) {
      for (workload const w : result_.workloads) {
        for (suite_row& row : result_.rows) {
          if (run <= runs_of(row.what.kin) && !is_slow(row, w)) measure(row, w, run);
        }
      }
      for (behind_row& row : result_.behind) measure(row, run);
      for (large_row& row : result_.large) {
        if (run <= runs_of(row.what->kin)) measure(row, run);
      }
    }
  }

 private:
  // Python's rows take as long as all the others together, and its factors are far beyond any spread.
  int runs_of(family f) const { return f == family::python ? 1 : result_.runs; }

  // A process or a thread for each of 17 000 dispatches: seconds against milliseconds, once is enough.
  static bool is_slow(suite_row const& row, workload w) {
    auto const c = row.cells.find(w);
    return w == workload::fine && c != row.cells.end() && c->second.runs.front().seconds > slow_seconds;
  }

  int steps() const {
    int n = result_.runs * static_cast<int>(result_.behind.size());
    for (suite_row const& row : result_.rows) n += runs_of(row.what.kin) * static_cast<int>(result_.workloads.size());
    for (large_row const& row : result_.large) n += runs_of(row.what->kin);
    return n;
  }

  // Memory that the machine has never touched makes the first files much slower than all
  // later ones; one round that is not measured pays for it.
  void warm_the_page_cache() {
    if (!writes_files(result_)) return;
    run_isolated([&] {
      for (job const& j : jobs_of(workload::io, result_.scale, scratch_.path())) {
        if (answer const a = run_job(j); a.error != 0) {
          throw os_failure(fmt::format("write {}", j.path), a.error);
        }
      }
      return std::string();
    });
    scratch_.empty();
  }

  void measure(suite_row& row, workload w, int run) {
    std::string const title =
        row.what.kin == family::python ? fmt::format("Python {}", row.what.title) : row.what.title;
    progress_.step(fmt::format("run {} of {}: {}, {}", run, runs_of(row.what.kin), title, text_of(w).title));
    double const scale = row.what.kin == family::python ? result_.python_scale : result_.scale;
    plan const p{w, jobs_of(w, scale, scratch_.path()), result_.workers, scratch_.path()};
    try {
      measurement const m = run_isolated_as([&] { return row.what.measure(p); });
      verify(p.jobs, std::span(m.answers).first(p.jobs.size()));
      cell& c = row.cells[w];
      c.scale = scale_of(w, scale);
      c.runs.push_back(m);
    } catch (failure const& e) {
      check_interrupt();  // then that is what is wrong
      throw failure(fmt::format("{}, {}: {}", title, text_of(w).title, e.what()));
    }
    scratch_.empty();
  }

  void measure(behind_row& row, int run) {
    progress_.step(fmt::format("run {} of {}: write-behind, {}", run, result_.runs, row.what->title));
    behind_plan const p{result_.scale, scratch_.path()};
    try {
      row.runs.push_back(run_isolated_as([&] { return row.what->run(p); }));
      verify_behind(p, *row.what);
    } catch (failure const& e) {
      check_interrupt();
      throw failure(fmt::format("write-behind, {}: {}", row.what->title, e.what()));
    }
    scratch_.empty();
  }

  void measure(large_row& row, int run) {
    progress_.step(fmt::format("run {} of {}: large results, {}", run, runs_of(row.what->kin), row.what->title));
    large_plan const p{large_bytes(result_.scale), result_.workers, scratch_.path()};
    try {
      row.copied.push_back(run_isolated_as([&] { return row.what->copied(p); }));
      row.shared.push_back(run_isolated_as([&] { return row.what->shared(p); }));
    } catch (failure const& e) {
      check_interrupt();
      throw failure(fmt::format("large results, {}: {}", row.what->title, e.what()));
    }
    scratch_.empty();
  }

  suite_result& result_;
  scratch_directory const& scratch_;
  progress progress_;
};

}  // namespace

suite_result run_suite(suite_options const& options) {
  suite_result result;
  technique_list techniques = all_techniques();
  for (technique& t : choose_techniques(std::move(techniques.rows), options.techniques)) {
    result.rows.push_back({std::move(t), {}});
  }
  result.workloads = choose_workloads(options.workloads);
  if (result.workloads.empty()) result.rows.clear();  // only what has programs of its own
  auto const is_wanted = [&](std::string_view id) {
    return options.workloads.empty() || std::any_of(options.workloads.begin(), options.workloads.end(),
                                                    [&](std::string const& name) { return lower(name) == id; });
  };
  if (is_wanted(behind_id)) {
    for (behind_program const& p : behind_programs()) result.behind.push_back({&p});
  }
  if (is_wanted(large_id)) {
    for (large_program const& p : large_programs()) {
      if (p.kin != family::python || !techniques.python_version.empty()) result.large.push_back({&p});
    }
  }
  scratch_directory const scratch(options.directory);
  result.scale = options.scale ? *options.scale : calibrated_scale();
  result.python_scale = std::min(result.scale, most_python_scale);
  result.runs = options.runs;
  result.workers = options.workers;
  result.absent = std::move(techniques.absent);
  if (has_family(result, family::python)) result.python_version = techniques.python_version;

  if (writes_files(result)) scratch.require_space(most_bytes_on_disk(result.scale));
  suite_run(result, scratch).measure_everything();
  return result;
}

}  // namespace bench
