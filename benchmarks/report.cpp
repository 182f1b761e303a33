// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "report.hpp"

#include "machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace microbench {

namespace {

void prefer_cheaper(measured const*& best, measured const& m) {
  if (!m.costs.empty() && (best == nullptr || median(m.costs) < median(best->costs))) best = &m;
}

// The one of least median; null if there is none.
measured const* best_of(row_result const& in, role plays) {
  measured const* best = nullptr;
  for (auto const& m : in.subjects)
    if (m.who->plays == plays) prefer_cheaper(best, m);
  return best;
}

// Round by round, and of these the median: a machine whose speed changes between rounds changes both alike. Nothing is a
// ratio to a cost of nothing: 0 if it always was that, or if there is nobody.
double ratio_of(measured const& m, measured const* to) {
  std::vector<double> ratios;
  if (to != nullptr)
    for (std::size_t i = 0; i < std::min(m.costs.size(), to->costs.size()); ++i)
      if (to->costs[i] > 0) ratios.push_back(m.costs[i] / to->costs[i]);
  return ratios.empty() ? 0 : median(std::move(ratios));
}

// Three digits that matter, and no more.
std::string number(double v) {
  double const size = std::abs(v);
  if (size == 0) return "0";
  if (size < 0.001) return fmt::format("{:.1e}", v);
  if (size < 1) return fmt::format("{:.3f}", v);
  if (size < 10) return fmt::format("{:.2f}", v);
  if (size < 100) return fmt::format("{:.1f}", v);
  return fmt::format("{:.0f}", v);
}
std::string ratio(double v) { return v == 0 ? "" : number(v); }

std::string facts_text(measured const& m) {
  std::string text;
  for (auto const& f : m.facts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", f.name, number(f.value));
  return text;
}

char const* text(role plays) { return plays == role::ours ? "ours" : plays == role::rival ? "rival" : "floor"; }
char const* text(target::kind what) { return what == target::kind::gate ? "gate" : "aim"; }
char const* text(verdict::result r) {
  return r == verdict::result::met ? "pass" : r == verdict::result::missed ? "MISS" : "not measured";
}

verdict judge(row_result const& in, target const& t) {
  verdict v{.row = in.what->name, .what = &t, .wanted = {}};
  std::string names;
  measured const* reference = nullptr;
  for (auto const& name : t.against) {
    names += (names.empty() ? "" : ", ") + name;
    if (auto const* const m = in.find(name); m != nullptr) prefer_cheaper(reference, *m);
  }
  v.wanted = !t.of.empty()           ? number(t.limit) + " " + t.of
             : t.against.empty()     ? number(t.limit) + " " + in.what->unit
             : t.against.size() == 1 ? number(t.limit) + " x " + names
                                     : number(t.limit) + " x the least of " + names;
  auto const* const ours = in.find(t.ours);
  if (ours == nullptr || ours->costs.empty()) return v;
  if (!t.of.empty()) {
    auto const same = [&](fact const& f) { return f.name == t.of; };
    auto const found = std::find_if(ours->facts.begin(), ours->facts.end(), same);
    if (found == ours->facts.end()) return v;
    v.got = found->value;
  } else {
    v.got = t.against.empty() ? median(ours->costs) : ratio_of(*ours, reference);
  }
  if (!t.against.empty() && v.got == 0) return v;  // no ratio: not measured, and not met
  v.came_out = v.got <= t.limit ? verdict::result::met : verdict::result::missed;
  return v;
}

std::string heading(run const& r) {
  return fmt::format("{}\n{} workers, {} repetitions, interleaved{}", machine_text(), r.how.workers, r.repetitions,
                     r.how.quick ? "; QUICK: a check that all works, the figures mean nothing" : "");
}

constexpr auto table_line = "  {:36}{:>10}  {:>19}{:>9}{:>9}   {}\n";

}  // namespace

measured const* row_result::find(std::string const& name) const {
  for (auto const& m : subjects)
    if (m.who->name == name) return &m;
  return nullptr;
}

bool run::anything_wrong() const {
  for (auto const& row : rows)
    for (auto const& m : row.subjects)
      if (!m.error.empty()) return true;
  return false;
}

figures figures_of(row_result const& in, measured const& subject) {
  auto const [least, most] = std::minmax_element(subject.costs.begin(), subject.costs.end());
  return {median(subject.costs), *least, *most, ratio_of(subject, best_of(in, role::rival)),
          ratio_of(subject, best_of(in, role::floor))};
}

std::vector<verdict> verdicts_of(run const& r) {
  std::vector<verdict> all;
  for (auto const what : {target::kind::gate, target::kind::aim})
    for (auto const& row : r.rows)
      for (auto const& t : row.what->targets)
        if (t.what == what) all.push_back(judge(row, t));
  return all;
}

std::string as_table(run const& r) {
  std::string out = heading(r) + "\n";
  for (auto const& row : r.rows) {
    out += fmt::format("\n{}: {}\n  cheating would be {}\n", row.what->name, row.what->title, row.what->cheat);
    out += fmt::format(table_line, row.what->unit, "median", "min .. max", "x rival", "x floor", "counted");
    for (auto const& m : row.subjects) {
      if (m.costs.empty()) {
        out += fmt::format("  {:36}WRONG: {}\n", m.who->name, m.error);
        continue;
      }
      auto const f = figures_of(row, m);
      out += fmt::format(table_line, m.who->name, number(f.median), number(f.least) + " .. " + number(f.most),
                         ratio(f.to_best_rival), ratio(f.to_floor), facts_text(m));
    }
  }
  out += fmt::format("\n{:6}{:21}{:34}{:>10}   {:14}{}\n", "", "row", "ours", "got", "", "wanted at most");
  for (auto const& v : verdicts_of(r))
    out += fmt::format("{:6}{:21}{:34}{:>10}   {:14}{}\n", text(v.what->what), v.row, v.what->ours,
                       v.came_out == verdict::result::unknown ? "" : number(v.got), text(v.came_out), v.wanted);
  return out;
}

std::string as_markdown(run const& r) {
  std::string out = heading(r) + "\n";
  for (auto const& row : r.rows) {
    out += fmt::format("\n### {}\n{}. Cheating would be {}.\n\n", row.what->name, row.what->title, row.what->cheat);
    out += fmt::format(
        "| {} | median | min | max | to the best rival | to the floor | counted |\n"
        "|---|---:|---:|---:|---:|---:|---|\n",
        row.what->unit);
    for (auto const& m : row.subjects) {
      if (m.costs.empty()) {
        out += fmt::format("| {} | wrong: {} | | | | | |\n", m.who->name, m.error);
        continue;
      }
      auto const f = figures_of(row, m);
      out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", m.who->name, number(f.median), number(f.least),
                         number(f.most), ratio(f.to_best_rival), ratio(f.to_floor), facts_text(m));
    }
  }
  out += "\n### Gates and aims\n\n| | row | ours | got | | wanted at most |\n|---|---|---|---:|---|---|\n";
  for (auto const& v : verdicts_of(r))
    out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", text(v.what->what), v.row, v.what->ours,
                       v.came_out == verdict::result::unknown ? "" : number(v.got), text(v.came_out), v.wanted);
  return out;
}

namespace {

std::string quoted(std::string const& s) {
  std::string out = "\"";
  for (char const c : s) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + '"';
}

// Members of an object or elements of an array, with commas between.
template <class Items, class Write>
std::string listed(Items const& items, Write write) {
  std::string out;
  for (auto const& item : items) {
    if (!out.empty()) out += ", ";
    out += write(item);
  }
  return out;
}

std::string json_of(row_result const& row, measured const& m) {
  auto const head = fmt::format(R"({{"name": {}, "role": "{}", )", quoted(m.who->name), text(m.who->plays));
  if (m.costs.empty()) return head + fmt::format(R"("error": {}}})", quoted(m.error));
  auto const f = figures_of(row, m);
  auto const or_null = [](double v) { return v == 0 ? std::string{"null"} : fmt::format("{:.6g}", v); };
  return head +
         fmt::format(R"("median": {:.6g}, "min": {:.6g}, "max": {:.6g}, "to_best_rival": {}, "to_floor": {}, )"
                     R"("costs": [{}], "counted": {{{}}}}})",
                     f.median, f.least, f.most, or_null(f.to_best_rival), or_null(f.to_floor),
                     listed(m.costs, [](double c) { return fmt::format("{:.6g}", c); }),
                     listed(m.facts, [](fact const& x) { return fmt::format("{}: {:.6g}", quoted(x.name), x.value); }));
}

}  // namespace

std::string as_json(run const& r) {
  auto const rows = listed(r.rows, [](row_result const& row) {
    return fmt::format("\n  {{\"row\": {}, \"title\": {}, \"unit\": {}, \"subjects\": [{}]}}", quoted(row.what->name),
                       quoted(row.what->title), quoted(row.what->unit),
                       listed(row.subjects, [&](measured const& m) { return "\n    " + json_of(row, m); }));
  });
  auto const verdicts = listed(verdicts_of(r), [](verdict const& v) {
    return fmt::format(
        "\n  {{\"kind\": \"{}\", \"row\": {}, \"ours\": {}, \"wanted\": {}, \"limit\": {:.6g}, \"got\": {:.6g}, "
        "\"result\": \"{}\"}}",
        text(v.what->what), quoted(v.row), quoted(v.what->ours), quoted(v.wanted), v.what->limit, v.got,
        text(v.came_out));
  });
  return fmt::format(
      "{{\"machine\": {}, \"workers\": {}, \"repetitions\": {}, \"quick\": {},\n\"rows\": [{}],\n\"targets\": [{}]}}\n",
      quoted(machine_text()), r.how.workers, r.repetitions, r.how.quick, rows, verdicts);
}

}  // namespace microbench
