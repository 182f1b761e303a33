// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For programs: the title, the facts and every record, one record a line.
#include "bench/report.hpp"

#include <fmt/format.h>

#include <cmath>

namespace bench {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char const c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

struct json_value {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(std::string const& text) const { return quoted(text); }
  std::string operator()(double number) const { return std::isfinite(number) ? fmt::format("{}", number) : "null"; }
  std::string operator()(std::int64_t number) const { return fmt::format("{}", number); }
};

std::string object(record const& r) {
  std::string out = "{";
  for (auto const& [name, value] : r) {
    out += (out.size() > 1 ? ", " : "") + quoted(name) + ": " + std::visit(json_value{}, value);
  }
  return out + "}";
}

}  // namespace

std::string render_json(report const& r) {
  record facts;
  for (auto const& [name, value] : r.facts) facts.emplace_back(name, value);
  std::string out = "{\n  \"title\": " + quoted(r.title) + ",\n  \"facts\": " + object(facts) + ",\n  \"results\": [";
  bool first = true;
  for (record const& one : r.records) {
    out += (first ? "\n    " : ",\n    ") + object(one);
    first = false;
  }
  return out + "\n  ]\n}\n";
}

}  // namespace bench
