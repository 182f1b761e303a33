// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/report.hpp"

#include <gtest/gtest.h>

namespace bench {
namespace {

report small_report() {
  report r;
  r.title = "A <title>";
  r.facts = {{"processor", "one \"fast\" chip"}};
  table t;
  t.groups = {{"CPU", {"s", "±"}}, {"", {"how"}, true}};
  t.rows = {{"Rivals", {}}, {"a|b", {"1.5", "±2%", "a loop"}}, {"longer name", {"10.25", "±0%", "x"}}};
  t.notes = {"A note."};
  r.tables.push_back(t);
  r.charts.push_back({"CPU", {{"first", 1.0, "1.0", true}, {"second", 2.0, "2.0", false}}});
  r.records = {{{"name", "a,b"}, {"seconds", 0.5}, {"count", std::int64_t{3}}, {"missing", std::monostate{}}},
               {{"name", "say \"x\"\n"}, {"seconds", 2.0}, {"count", std::int64_t{-1}}, {"missing", 1.0}}};
  return r;
}

TEST(report_formats, table_aligns_figures_right_and_words_left) {
  EXPECT_EQ(render_table(small_report()),
            "A <title>\n"
            "  processor  one \"fast\" chip\n"
            "\n"
            "                   CPU\n"
            "                    s   ±   how\n"
            "Rivals\n"
            "  a|b             1.5 ±2%   a loop\n"
            "  longer name   10.25 ±0%   x\n"
            "A note.\n");
}

TEST(report_formats, json_escapes_text_and_keeps_numbers_unrounded) {
  EXPECT_EQ(render_json(small_report()),
            "{\n"
            "  \"title\": \"A <title>\",\n"
            "  \"facts\": {\"processor\": \"one \\\"fast\\\" chip\"},\n"
            "  \"results\": [\n"
            "    {\"name\": \"a,b\", \"seconds\": 0.5, \"count\": 3, \"missing\": null},\n"
            "    {\"name\": \"say \\\"x\\\"\\n\", \"seconds\": 2, \"count\": -1, \"missing\": 1}\n"
            "  ]\n"
            "}\n");
}

TEST(report_formats, csv_quotes_what_would_break_a_line) {
  EXPECT_EQ(render_csv(small_report()),
            "name,seconds,count,missing\n"
            "\"a,b\",0.5,3,\n"
            "\"say \"\"x\"\"\n\",2,-1,1\n");
}

TEST(report_formats, markdown_escapes_pipes_and_gives_each_column_an_alignment) {
  std::string const text = render_markdown(small_report());
  EXPECT_NE(text.find("| | **CPU** s | ± | how |\n|---|---:|---:|---|\n"), std::string::npos) << text;
  EXPECT_NE(text.find("| a\\|b | 1.5 | ±2% | a loop |\n"), std::string::npos) << text;
  EXPECT_NE(text.find("| **Rivals** | | | |\n"), std::string::npos) << text;
}

TEST(report_formats, html_is_one_page_with_nothing_loaded_and_bars_in_proportion) {
  std::string const page = render_html(small_report());
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_NE(page.find("<h1>A &lt;title&gt;</h1>"), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
  EXPECT_NE(page.find("<div class=\"bar ours\"><span>first</span><span class=\"track\"><span class=\"fill\" "
                      "style=\"width:37.50%\">"),
            std::string::npos);
  EXPECT_NE(page.find("width:75.00%"), std::string::npos);
}

}  // namespace
}  // namespace bench
