// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For a terminal: aligned columns, nothing but text.
#include "bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace bench {
namespace {

constexpr std::string_view between_columns = " ";
constexpr std::string_view between_groups = "   ";
constexpr std::size_t note_width = 100;

std::size_t width_of(std::string_view text) {
  // Continuation bytes of UTF-8 take no room.
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string left(std::string_view text, std::size_t width) {
  return std::string(text) + std::string(width - std::min(width, width_of(text)), ' ');
}

std::string right(std::string_view text, std::size_t width) {
  return std::string(width - std::min(width, width_of(text)), ' ') + std::string(text);
}

struct layout {
  std::size_t name = 0;
  std::vector<std::vector<std::size_t>> columns;  // widths, group by group
};

std::size_t width_of_group(std::vector<std::size_t> const& columns) {
  return std::accumulate(columns.begin(), columns.end(), (columns.size() - 1) * between_columns.size());
}

layout layout_of(table const& t) {
  layout l;
  std::size_t cell = 0;
  for (column_group const& g : t.groups) {
    std::vector<std::size_t> widths;
    for (std::string const& heading : g.columns) {
      std::size_t width = width_of(heading);
      for (table_row const& row : t.rows) {
        if (cell < row.cells.size()) width = std::max(width, width_of(row.cells[cell]));
      }
      widths.push_back(width);
      ++cell;
    }
    std::size_t const together = width_of_group(widths);
    if (width_of(g.title) > together) widths.front() += width_of(g.title) - together;
    l.columns.push_back(std::move(widths));
  }
  for (table_row const& row : t.rows) {
    if (!row.cells.empty()) l.name = std::max(l.name, width_of(row.name) + 2);
  }
  return l;
}

std::string centred(std::string_view text, std::size_t width) {
  std::size_t const spare = width - std::min(width, width_of(text));
  return left(std::string(spare / 2, ' ') + std::string(text), width);
}

std::string without_trailing_blanks(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::string group_titles(table const& t, layout const& l) {
  std::string line = left("", l.name);
  for (std::size_t g = 0; g < t.groups.size(); ++g) {
    line += between_groups;
    line += centred(t.groups[g].title, width_of_group(l.columns[g]));
  }
  return without_trailing_blanks(line);
}

std::string line_of(std::string const& name, std::vector<std::string> const& cells, table const& t, layout const& l) {
  std::string line = left(name, l.name);
  std::size_t cell = 0;
  for (std::size_t g = 0; g < t.groups.size(); ++g) {
    line += between_groups;
    std::vector<std::size_t> const& widths = l.columns[g];
    for (std::size_t c = 0; c < widths.size(); ++c, ++cell) {
      std::string const text = cell < cells.size() ? cells[cell] : "";
      if (c > 0) line += between_columns;
      line += t.groups[g].is_text ? left(text, widths[c]) : right(text, widths[c]);
    }
  }
  return without_trailing_blanks(line);
}

// A paragraph broken between words.
std::string wrapped(std::string const& text) {
  std::string out;
  std::string line;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t const end = std::min(text.find(' ', at), text.size());
    std::string const word = text.substr(at, end - at);
    if (!line.empty() && width_of(line) + 1 + width_of(word) > note_width) {
      out += line + '\n';
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  return out + line + '\n';
}

std::string text_of(table const& t) {
  layout const l = layout_of(t);
  std::string text = t.title.empty() ? "" : t.title + "\n";
  bool const grouped =
      std::any_of(t.groups.begin(), t.groups.end(), [](column_group const& g) { return !g.title.empty(); });
  if (grouped) text += group_titles(t, l);
  std::vector<std::string> headings;
  for (column_group const& g : t.groups) headings.insert(headings.end(), g.columns.begin(), g.columns.end());
  text += line_of("", headings, t, l);
  for (table_row const& row : t.rows) {
    text += row.cells.empty() ? row.name + '\n' : line_of("  " + row.name, row.cells, t, l);
  }
  for (std::string const& note : t.notes) text += wrapped(note);
  return text;
}

}  // namespace

std::string render_table(report const& r) {
  std::string text = r.title + "\n";
  for (auto const& [name, value] : r.facts) text += fmt::format("  {:<10} {}\n", name, value);
  for (table const& t : r.tables) text += "\n" + text_of(t);
  return text;
}

std::string render(report const& r, format f) {
  switch (f) {
    case format::table:
      return render_table(r);
    case format::json:
      return render_json(r);
    case format::csv:
      return render_csv(r);
    case format::markdown:
      return render_markdown(r);
    case format::html:
      return render_html(r);
  }
  return {};
}

}  // namespace bench
