// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For spreadsheets: one line of names, then one line for each record (RFC 4180 quoting).
#include "bench/report.hpp"

#include <fmt/format.h>

namespace bench {
namespace {

std::string quoted(std::string const& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char const c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

struct csv_value {
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(std::string const& text) const { return quoted(text); }
  std::string operator()(double number) const { return fmt::format("{}", number); }
  std::string operator()(std::int64_t number) const { return fmt::format("{}", number); }
};

}  // namespace

std::string render_csv(report const& r) {
  if (r.records.empty()) return "";
  std::string out;
  for (auto const& [name, value] : r.records.front()) out += (out.empty() ? "" : ",") + quoted(name);
  out += '\n';
  for (record const& one : r.records) {
    std::string line;
    bool first = true;
    for (auto const& [name, value] : one) {
      line += (first ? "" : ",") + std::visit(csv_value{}, value);
      first = false;
    }
    out += line + '\n';
  }
  return out;
}

}  // namespace bench
