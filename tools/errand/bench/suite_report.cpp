// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/suite_report.hpp"

#include "bench/machine.hpp"
#include "bench/schedule.hpp"
#include "bench/statistics.hpp"
#include "bench/the_post.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace bench {
namespace {

// One cell of the result with everything that is computed from its runs and its reference row.
struct figures {
  spread seconds;
  double per_serial = 0;
  double per_ideal = 0;
  std::int64_t places = 0;  // threads or processes seen running the jobs; the fewest of all runs
  std::int64_t dispatches = 0;
  std::int64_t elsewhere = 0;
  std::optional<double> added_ns;
};

template <class Get>
spread spread_over(cell const& c, Get const& get) {
  std::vector<double> samples;
  for (measurement const& m : c.runs) samples.push_back(get(m));
  return spread_of(samples);
}

spread seconds_of(cell const& c) {
  return spread_over(c, [](measurement const& m) { return m.seconds; });
}

std::uint64_t sum(measurement const& m, std::uint64_t answer::*member) {
  std::uint64_t total = 0;
  for (answer const& a : m.answers) total += a.*member;
  return total;
}

std::size_t places_of(measurement const& m, std::size_t jobs) {
  std::set<std::uint64_t> places;
  for (std::size_t i = 0; i < jobs; ++i) places.insert(m.answers.at(i).place);
  return places.size();
}

// The view of a whole result that the tables share.
class analysis {
 public:
  explicit analysis(suite_result const& result) : result_(result) {}

  suite_result const& result() const { return result_; }

  bool has(suite_row const& row, workload w) const { return row.cells.contains(w); }

  figures of(suite_row const& row, workload w) const {
    cell const& c = row.cells.at(w);
    std::size_t const jobs = jobs_of(w, 1, "").size();
    figures f;
    f.seconds = seconds_of(c);
    cell const& reference = reference_of(row).cells.at(w);
    f.per_serial = f.seconds.median / seconds_of(reference).median;
    f.per_ideal = f.seconds.median / ideal_of(reference, jobs);
    f.places = static_cast<std::int64_t>(std::llround(
        spread_over(c, [&](measurement const& m) { return static_cast<double>(places_of(m, jobs)); }).min));
    f.dispatches = static_cast<std::int64_t>(sum(c.runs.front(), &answer::dispatches));
    f.elsewhere = static_cast<std::int64_t>(std::llround(
        spread_over(c, [](measurement const& m) { return static_cast<double>(sum(m, &answer::elsewhere)); }).median));
    f.added_ns = added_ns(row, w, f);
    return f;
  }

  // How often the reference of one family does another's work in the same time.
  std::optional<double> factor(family slow, family fast, workload w) const {
    suite_row const* s = reference_row(slow);
    suite_row const* f = reference_row(fast);
    if (s == nullptr || f == nullptr || !has(*s, w) || !has(*f, w)) return std::nullopt;
    cell const& slow_cell = s->cells.at(w);
    cell const& fast_cell = f->cells.at(w);
    return (seconds_of(slow_cell).median / slow_cell.scale) / (seconds_of(fast_cell).median / fast_cell.scale);
  }

 private:
  suite_row const* reference_row(family f) const {
    std::string const id = f == family::python ? "python-serial" : "serial-c++";
    auto const found =
        std::find_if(result_.rows.begin(), result_.rows.end(), [&](suite_row const& r) { return r.what.id == id; });
    return found != result_.rows.end() ? &*found : nullptr;
  }

  suite_row const& reference_of(suite_row const& row) const { return *reference_row(row.what.kin); }

  double ideal_of(cell const& reference, std::size_t jobs) const {
    std::vector<double> job_seconds;
    for (std::size_t i = 0; i < jobs; ++i) {
      job_seconds.push_back(
          spread_over(reference, [&](measurement const& m) { return m.answers.at(i).seconds; }).median);
    }
    return ideal_time(job_seconds, result_.workers);
  }

  // C++ rows measured it in pairs; for Python it is the difference of its two columns.
  std::optional<double> added_ns(suite_row const& row, workload w, figures const& f) const {
    if (w != workload::fine || f.dispatches == 0) return std::nullopt;
    cell const& c = row.cells.at(w);
    if (c.runs.front().added_ns_known) {
      return spread_over(c, [](measurement const& m) { return m.added_ns; }).median;
    }
    auto const both = row.cells.find(workload::both);
    if (both == row.cells.end() || both->second.scale != c.scale) return std::nullopt;
    double const difference = f.seconds.median - seconds_of(both->second).median;
    return difference / static_cast<double>(f.dispatches) * 1e9;
  }

  suite_result const& result_;
};

std::string seconds_text(double s) { return s < 10 ? fmt::format("{:.3f}", s) : fmt::format("{:.2f}", s); }

std::string with_thousands(std::int64_t n) {
  std::string digits = fmt::format("{}", std::abs(n));
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), " ");
  }
  return n < 0 ? "-" + digits : digits;
}

std::string heading_of(family f) {
  switch (f) {
    case family::control:
      return "Control";
    case family::errand:
      return "errand";
    case family::rival:
      return "Rivals";
    case family::python:
      return "Python";
  }
  return {};
}

// Adds the rows of one family under its heading, each made by `cells`.
template <class Cells>
void add_family(table& t, suite_result const& result, family f, std::string const& heading, Cells const& cells) {
  bool first = true;
  for (suite_row const& row : result.rows) {
    if (row.what.kin != f) continue;
    if (first && !heading.empty()) t.rows.push_back({heading, {}});
    first = false;
    t.rows.push_back({row.what.title, cells(row)});
  }
}

std::vector<std::string> time_cells(analysis const& a, suite_row const& row) {
  std::vector<std::string> cells;
  for (workload const w : a.result().workloads) {
    figures const f = a.of(row, w);
    cells.push_back(seconds_text(f.seconds.median));
    if (row.what.kin != family::python) cells.push_back(fmt::format("±{:.0f}%", f.seconds.relative() * 100));
    cells.push_back(fmt::format("{:.2f}", f.per_serial));
    cells.push_back(fmt::format("{:.2f}", f.per_ideal));
  }
  return cells;
}

std::string scale_text(double scale) {
  return scale == 1 ? "the post's sizes" : fmt::format("{:.4g} × the post's sizes", scale);
}

table main_table(analysis const& a) {
  suite_result const& result = a.result();
  table t;
  for (workload const w : result.workloads) {
    t.groups.push_back({std::string(text_of(w).title), {"s", "±", "/serial", "/ideal"}});
  }
  for (family const f : {family::control, family::errand, family::rival}) {
    add_family(t, result, f, heading_of(f), [&](suite_row const& row) { return time_cells(a, row); });
  }
  t.notes.push_back(
      fmt::format("s: median of {} interleaved runs, outputs verified. ±: half of the way from fastest to slowest. "
                  "/serial: ratio to "
                  "serial C++. /ideal: ratio to the best schedule of whole jobs on {} workers, from serial C++'s time "
                  "for each job.",
                  result.runs, result.workers));
  if (std::count(result.workloads.begin(), result.workloads.end(), workload::fine) != 0 && result.scale > 1) {
    t.notes.emplace_back("Fine-grained has the post's own sizes at any scale: it is there to count dispatches.");
  }
  if (std::any_of(result.rows.begin(), result.rows.end(), [](suite_row const& r) { return r.what.id == "plain"; })) {
    t.notes.emplace_back(
        "\"what he wanted\" writes its files by errand::file_writer, all other rows by std::ofstream.");
  }
  if (!result.absent.empty()) t.notes.push_back(fmt::format("Not found here: {}.", fmt::join(result.absent, ", ")));
  return t;
}

table python_table(analysis const& a) {
  suite_result const& result = a.result();
  table t;
  t.title = fmt::format("Python {}, the same techniques at {}; ratios are to its own serial row", result.python_version,
                        scale_text(result.python_scale));
  for (workload const w : result.workloads) {
    t.groups.push_back({std::string(text_of(w).title), {"s", "/serial", "/ideal"}});
  }
  add_family(t, result, family::python, "", [&](suite_row const& row) { return time_cells(a, row); });
  std::vector<std::string> factors;
  for (workload const w : {workload::cpu, workload::io}) {
    if (auto const factor = a.factor(family::python, family::control, w)) {
      factors.push_back(fmt::format("{} {:.1f}", text_of(w).title, *factor));
    }
  }
  std::string note = "One run.";
  if (!factors.empty())
    note +=
        fmt::format(" Its serial time for the same work as a multiple of serial C++'s: {}.", fmt::join(factors, ", "));
  t.notes.push_back(std::move(note));
  return t;
}

std::vector<std::string> dispatch_cells(analysis const& a, suite_row const& row) {
  figures const f = a.of(row, workload::fine);
  return {f.added_ns ? with_thousands(std::llround(*f.added_ns)) : "", with_thousands(f.dispatches),
          with_thousands(f.elsewhere), row.what.note};
}

table dispatch_table(analysis const& a) {
  suite_result const& result = a.result();
  table t;
  t.title = "What one dispatch costs (Both, fine-grained: each inner loop handed out and awaited before the next)";
  t.groups.push_back({"", {"ns added", "dispatches", "ran elsewhere"}});
  t.groups.push_back({"", {"how"}, true});
  for (family const f : all_families) {
    add_family(t, result, f, heading_of(f), [&](suite_row const& row) { return dispatch_cells(a, row); });
  }
  t.notes.emplace_back(
      "ns added: the two counting jobs fine-grained less the same two jobs whole, divided by the dispatches; the files "
      "are "
      "left out, they would hide it (Python's: Both, fine-grained less Both). ran elsewhere: on another thread or "
      "process "
      "than the one that dispatched.");
  return t;
}

// Each round's ratio to the round's run with nothing written, and of these the median.
double slowed(suite_result const& result, behind_row const& row, double behind_sample::*seconds) {
  std::vector<double> ratios;
  std::vector<behind_sample> const& alone = result.behind.front().runs;
  for (std::size_t i = 0; i < row.runs.size(); ++i) ratios.push_back(row.runs[i].*seconds / alone[i].*seconds);
  return spread_of(ratios).median;
}

spread seconds_of(behind_row const& row, double behind_sample::*seconds) {
  std::vector<double> samples;
  for (behind_sample const& s : row.runs) samples.push_back(s.*seconds);
  return spread_of(samples);
}

table behind_table(suite_result const& result) {
  table t;
  t.title = "Write-behind: a computation hands over 64 pieces of a file; how much longer does it take?";
  t.groups.push_back({"", {"s", "±", "slower", "s until written"}});
  for (behind_row const& row : result.behind) {
    spread const main = seconds_of(row, &behind_sample::main_seconds);
    bool const is_alone = &row == &result.behind.front();
    t.rows.push_back(
        {row.what->title,
         {seconds_text(main.median), fmt::format("±{:.0f}%", main.relative() * 100),
          is_alone ? "" : fmt::format("{:+.1f} %", 100 * (slowed(result, row, &behind_sample::main_seconds) - 1)),
          is_alone ? "" : seconds_text(seconds_of(row, &behind_sample::all_seconds).median)}});
  }
  t.notes.emplace_back(
      "s: until the counting job n = 15 000 (scaled) is done and the bytes of the I/O column are handed over, in one "
      "file. "
      "slower: than with nothing written, median of the rounds' ratios.");
  return t;
}

spread seconds_of(std::vector<large_sample> const& runs) {
  std::vector<double> samples;
  for (large_sample const& s : runs) samples.push_back(s.seconds);
  return spread_of(samples);
}

// To the first program's copy, through a pipe.
double per_pipe(suite_result const& result, std::vector<large_sample> const& runs) {
  return seconds_of(runs).median / seconds_of(result.large.front().copied).median;
}

table large_table(suite_result const& result) {
  table t;
  t.title = fmt::format("Large results: {:.4g} MiB made in another process; how long on the way?",
                        static_cast<double>(large_bytes(result.scale)) / (1 << 20));
  t.groups.push_back({"copied", {"ms", "±", "/pipe"}});
  t.groups.push_back({"shared memory", {"ms", "±", "/pipe"}});
  t.groups.push_back({"", {"how"}, true});
  for (large_row const& row : result.large) {
    table_row out{row.what->title, {}};
    for (auto const* const runs : {&row.copied, &row.shared}) {
      spread const seconds = seconds_of(*runs);
      out.cells.push_back(fmt::format("{:.3f}", seconds.median * 1e3));
      out.cells.push_back(row.what->kin == family::python ? "" : fmt::format("±{:.0f}%", seconds.relative() * 100));
      out.cells.push_back(fmt::format("{:.4f}", per_pipe(result, *runs)));
    }
    out.cells.emplace_back(row.what->note);
    t.rows.push_back(std::move(out));
  }
  t.notes.emplace_back(
      "ms: from the moment at which the numbers are ready there to that at which they can be read here, every one "
      "verified; the median of three results after a first one, which touches the memory. /pipe: ratio to fork's copy. "
      "Python's: "
      "one run.");
  return t;
}

table post_table() {
  table t;
  t.title = "The post, 2015: Python 3.5 on a laptop of 2014. Another machine and another language";
  for (std::string_view const title : {"CPU bound", "I/O bound", "Both"}) {
    t.groups.push_back({std::string(title), {"s", "/serial"}});
  }
  for (row_of_the_post const& row : rows_of_the_post) {
    table_row out{std::string(row.title), {}};
    for (std::size_t c = 0; c < row.seconds.size(); ++c) {
      out.cells.push_back(seconds_text(row.seconds.at(c)));
      out.cells.push_back(fmt::format("{:.2f}", row.seconds.at(c) / rows_of_the_post.front().seconds.at(c)));
    }
    t.rows.push_back(std::move(out));
  }
  t.notes.emplace_back(
      "Its Both dispatched 17 000 times in the coroutine rows and five times in the others; its coroutine files were "
      "shorter.");
  return t;
}

chart chart_of(analysis const& a, workload w) {
  chart c{fmt::format("{}, seconds", text_of(w).title), {}};
  for (suite_row const& row : a.result().rows) {
    if (row.what.kin == family::python) continue;
    figures const f = a.of(row, w);
    c.bars.push_back(
        {row.what.title, f.seconds.median, seconds_text(f.seconds.median), row.what.kin == family::errand});
  }
  return c;
}

record record_of(analysis const& a, suite_row const& row, workload w) {
  figures const f = a.of(row, w);
  cell const& c = row.cells.at(w);
  bool const is_fine = w == workload::fine;
  return {
      {"technique", row.what.id},
      {"title", row.what.title},
      {"family", std::string(id_of(row.what.kin))},
      {"workload", std::string(text_of(w).id)},
      {"scale", c.scale},
      {"workers", std::int64_t{a.result().workers}},
      {"runs", static_cast<std::int64_t>(c.runs.size())},
      {"seconds_min", f.seconds.min},
      {"seconds_median", f.seconds.median},
      {"seconds_max", f.seconds.max},
      {"ratio_to_serial", f.per_serial},
      {"ratio_to_ideal", f.per_ideal},
      {"places", f.places},
      {"dispatches", is_fine ? field_value(f.dispatches) : field_value()},
      {"ran_elsewhere", is_fine ? field_value(f.elsewhere) : field_value()},
      {"ns_added_per_dispatch", f.added_ns ? field_value(*f.added_ns) : field_value()},
  };
}

// Of a program that is no row of the table, under the same names.
record extra_record(suite_result const& result, std::string id, std::string title, family kin, std::string what,
                    std::int64_t workers, std::size_t runs, spread const& seconds, double ratio) {
  return {
      {"technique", std::move(id)},
      {"title", std::move(title)},
      {"family", std::string(id_of(kin))},
      {"workload", std::move(what)},
      {"scale", result.scale},
      {"workers", workers},
      {"runs", static_cast<std::int64_t>(runs)},
      {"seconds_min", seconds.min},
      {"seconds_median", seconds.median},
      {"seconds_max", seconds.max},
      {"ratio_to_serial", ratio},
      {"ratio_to_ideal", field_value()},
      {"places", field_value()},
      {"dispatches", field_value()},
      {"ran_elsewhere", field_value()},
      {"ns_added_per_dispatch", field_value()},
  };
}

// Its ratios are to the computation with nothing written.
record record_of(suite_result const& result, behind_row const& row) {
  return extra_record(result, row.what->id, row.what->title, row.what->is_ours ? family::errand : family::control,
                      "behind", 1, row.runs.size(), seconds_of(row, &behind_sample::main_seconds),
                      slowed(result, row, &behind_sample::main_seconds));
}

// Its ratios are to the copy through a pipe.
record record_of(suite_result const& result, large_program const& program, std::string what,
                 std::vector<large_sample> const& runs) {
  return extra_record(result, program.id, program.title, program.kin, std::move(what), result.workers, runs.size(),
                      seconds_of(runs), per_pipe(result, runs));
}

}  // namespace

report report_of(suite_result const& result) {
  analysis const a(result);
  report r;
  r.title = "errand bench: five techniques on real work";
  r.facts = describe_machine();
  r.facts.emplace_back("workers", fmt::format("{}, in every row", result.workers));
  r.facts.emplace_back("scale", scale_text(result.scale));

  auto const has_family = [&](family f) {
    return std::any_of(result.rows.begin(), result.rows.end(), [&](suite_row const& row) { return row.what.kin == f; });
  };
  bool const has_fine = std::count(result.workloads.begin(), result.workloads.end(), workload::fine) != 0;
  if (has_family(family::control) && !result.workloads.empty()) r.tables.push_back(main_table(a));
  if (!result.behind.empty()) r.tables.push_back(behind_table(result));
  if (has_fine) r.tables.push_back(dispatch_table(a));
  if (!result.large.empty()) r.tables.push_back(large_table(result));
  if (has_family(family::python)) r.tables.push_back(python_table(a));
  r.tables.push_back(post_table());

  for (workload const w : result.workloads) {
    if (has_family(family::control)) r.charts.push_back(chart_of(a, w));
    for (suite_row const& row : result.rows) r.records.push_back(record_of(a, row, w));
  }
  for (behind_row const& row : result.behind) r.records.push_back(record_of(result, row));
  for (large_row const& row : result.large) {
    r.records.push_back(record_of(result, *row.what, "large-copied", row.copied));
    r.records.push_back(record_of(result, *row.what, "large-shared", row.shared));
  }
  return r;
}

}  // namespace bench
