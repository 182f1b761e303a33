// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For a README or an issue: pipe tables. Markdown has no spanning headings, so a group's title
// stands in its first column.
#include "bench/report.hpp"

namespace bench {
namespace {

std::string escaped(std::string const& text) {
  std::string out;
  for (char const c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string text_of(table const& t) {
  std::string text = t.title.empty() ? "" : "### " + t.title + "\n\n";
  std::string headings = "| |";
  std::string rule = "|---|";
  std::size_t cells = 0;
  for (column_group const& g : t.groups) {
    for (std::size_t c = 0; c < g.columns.size(); ++c, ++cells) {
      std::string const group = c == 0 && !g.title.empty() ? "**" + escaped(g.title) + "** " : "";
      headings += " " + group + escaped(g.columns[c]) + " |";
      rule += g.is_text ? "---|" : "---:|";
    }
  }
  text += headings + "\n" + rule + "\n";
  for (table_row const& row : t.rows) {
    bool const is_heading = row.cells.empty();
    text += is_heading ? "| **" + escaped(row.name) + "** |" : "| " + escaped(row.name) + " |";
    for (std::size_t c = 0; c < cells; ++c) text += c < row.cells.size() ? " " + escaped(row.cells[c]) + " |" : " |";
    text += "\n";
  }
  for (std::string const& note : t.notes) text += "\n" + note + "\n";
  return text;
}

}  // namespace

std::string render_markdown(report const& r) {
  std::string text = "## " + r.title + "\n\n";
  for (auto const& [name, value] : r.facts) text += "- " + name + ": " + value + "\n";
  for (table const& t : r.tables) text += "\n" + text_of(t);
  return text;
}

}  // namespace bench
