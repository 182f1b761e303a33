// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For a browser: one self-contained page, bar charts above the tables, no script and nothing
// loaded from elsewhere; light or dark as the reader prefers.
#include "bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bench {
namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1d1d1f; --paper: #fff; --soft: #8883; --bar: #9bb4cf; --ours: #d9663a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ea; --paper: #17181a; --bar: #4d6a8a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dt { opacity: .7; } dd { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem 2rem; }
.bar { display: grid; grid-template-columns: 9rem 1fr; gap: .5rem; align-items: center; font-size: .85rem; }
.bar span:first-child { text-align: right; }
.track { display: flex; align-items: center; gap: .4rem; }
.fill { height: .9rem; background: var(--bar); border-radius: 2px; min-width: 2px; } .ours .fill { background: var(--ours); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap; } th:first-child, td:first-child, .text { text-align: left; }
thead tr:last-child th { border-bottom: 1px solid var(--ink); }
tr.heading td { padding-top: .8rem; font-weight: 600; text-align: left; } tbody tr:hover { background: var(--soft); }
p.note { font-size: .85rem; opacity: .8; max-width: 60rem; }
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (char const c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_of(chart const& c) {
  double longest = 0;
  for (bar const& b : c.bars) longest = std::max(longest, b.value);
  std::string html = fmt::format("<section><h2>{}</h2>\n", escaped(c.title));
  for (bar const& b : c.bars) {
    double const percent = longest > 0 ? std::max(b.value, 0.0) / longest * 75 : 0;
    html += fmt::format(
        "<div class=\"bar{}\"><span>{}</span><span class=\"track\"><span class=\"fill\" style=\"width:{:.2f}%\">"
        "</span>{}</span></div>\n",
        b.emphasised ? " ours" : "", escaped(b.label), percent, escaped(b.text));
  }
  return html + "</section>\n";
}

std::string html_of(table const& t) {
  std::string html = t.title.empty() ? "" : fmt::format("<h2>{}</h2>\n", escaped(t.title));
  html += "<div class=\"scroll\"><table>\n<thead>";
  std::string titles = "<tr><th></th>";
  std::string headings = "<tr><th></th>";
  std::vector<std::string> classes;  // of each column
  for (column_group const& g : t.groups) {
    titles += fmt::format("<th colspan=\"{}\">{}</th>", g.columns.size(), escaped(g.title));
    for (std::string const& heading : g.columns) {
      classes.emplace_back(g.is_text ? " class=\"text\"" : "");
      headings += fmt::format("<th{}>{}</th>", classes.back(), escaped(heading));
    }
  }
  html += titles + "</tr>\n" + headings + "</tr></thead>\n<tbody>\n";
  for (table_row const& row : t.rows) {
    if (row.cells.empty()) {
      html +=
          fmt::format("<tr class=\"heading\"><td colspan=\"{}\">{}</td></tr>\n", classes.size() + 1, escaped(row.name));
      continue;
    }
    html += fmt::format("<tr><td>{}</td>", escaped(row.name));
    for (std::size_t c = 0; c < classes.size(); ++c) {
      html += fmt::format("<td{}>{}</td>", classes[c], c < row.cells.size() ? escaped(row.cells[c]) : "");
    }
    html += "</tr>\n";
  }
  html += "</tbody></table></div>\n";
  for (std::string const& note : t.notes) html += fmt::format("<p class=\"note\">{}</p>\n", escaped(note));
  return html;
}

}  // namespace

std::string render_html(report const& r) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n<style>{1}</style></head>\n"
      "<body><h1>{0}</h1>\n<dl>",
      escaped(r.title), style);
  for (auto const& [name, value] : r.facts) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
  }
  html += "</dl>\n<div class=\"charts\">\n";
  for (chart const& c : r.charts) html += html_of(c);
  html += "</div>\n";
  for (table const& t : r.tables) html += html_of(t);
  return html + "</body></html>\n";
}

}  // namespace bench
