// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The analysis of `errand bench text`: any text, line by line. A line's key is its first word that
// begins with a letter (in a log: after the time), its value the last whole number in it, or, if it
// has none, its length. Lines are counted and their values added up per key, and two auxiliary files
// are written on the way: the selected lines, and a table of every line's key and value.
//
// The three programs that are compared share what is here and differ only in who reads and who writes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace bench {

struct parsed_line {
  std::string_view key;
  std::uint64_t value = 0;
};

parsed_line parse_line(std::string_view line);

// Whether a line goes into the file of selected lines.
bool is_selected(parsed_line const& p);

struct totals {
  std::uint64_t lines = 0;
  std::uint64_t sum = 0;  // modulo 2^64, as all unsigned sums
  std::uint64_t least = UINT64_MAX;
  std::uint64_t greatest = 0;
};

// Lines, sum and extremes for each key.
class totals_by_key {
 public:
  void add(parsed_line const& p);
  void add(totals_by_key const& other);

  // One line for each key, sorted: the result of the analysis, in a form that compares.
  std::string to_text() const;

 private:
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  totals& of(std::string_view key);

  std::unordered_map<std::string, totals, hash, std::equal_to<>> by_key_;
};

// What one line adds to the results: `selected` and `table` are anything with append(string_view).
template <class Selected, class Table>
void analyse_line(std::string_view line, totals_by_key& result, Selected& selected, Table& table) {
  parsed_line const p = parse_line(line);
  result.add(p);
  if (is_selected(p)) {
    selected.append(line);
    selected.append("\n");
  }
  std::string const value = std::to_string(p.value);  // short: no allocation
  table.append(p.key);
  table.append("\t");
  table.append(value);
  table.append("\n");
}

}  // namespace bench
