// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A report as data, and the five forms it can be printed in. The suite and the text analysis
// both describe their results with these few structs; each format is one report_*.cpp that knows
// neither. People's formats (table, markdown, html) show the tables, programs' formats (json, csv)
// the records, with every figure unrounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bench {

enum class format { table, json, csv, markdown, html };

// Columns under one heading, for instance time and ratios of one workload.
struct column_group {
  std::string title;
  std::vector<std::string> columns;
  bool is_text = false;  // words begin at the left, figures end at the right
};

// A row with cells, or, without any, a heading above the rows that follow.
struct table_row {
  std::string name;
  std::vector<std::string> cells;
};

struct table {
  std::string title;
  std::vector<column_group> groups;
  std::vector<table_row> rows;
  std::vector<std::string> notes;  // printed below
};

struct bar {
  std::string label;
  double value = 0;
  std::string text;  // beside the bar
  bool emphasised = false;
};

// A bar chart; only html draws it.
struct chart {
  std::string title;
  std::vector<bar> bars;
};

using field_value = std::variant<std::monostate, std::string, double, std::int64_t>;
using record = std::vector<std::pair<std::string, field_value>>;

struct report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  // machine, sizes, repetitions
  std::vector<table> tables;
  std::vector<chart> charts;
  std::vector<record> records;  // all with the same names in the same order
};

std::string render(report const& r, format f);

std::string render_table(report const& r);
std::string render_json(report const& r);
std::string render_csv(report const& r);
std::string render_markdown(report const& r);
std::string render_html(report const& r);

}  // namespace bench
