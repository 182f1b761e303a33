// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/text_analysis.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace bench {
namespace {

constexpr std::string_view no_key = "-";
constexpr std::size_t longest_key = 32;
constexpr std::size_t most_digits = 18;  // fits 64 bits

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (static_cast<unsigned char>(c) & 0x80U) != 0;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view first_word_that_begins_with_a_letter(std::string_view line) {
  for (std::size_t at = 0; at < line.size();) {
    while (at < line.size() && is_blank(line[at])) ++at;
    std::size_t end = at;
    while (end < line.size() && !is_blank(line[end])) ++end;
    if (end > at && is_letter(line[at])) return line.substr(at, std::min(end - at, longest_key));
    at = end;
  }
  return no_key;
}

std::uint64_t last_number_or_length(std::string_view line) {
  std::size_t end = line.size();
  while (end > 0 && !is_digit(line[end - 1])) --end;
  if (end == 0) return line.size();
  std::size_t begin = end;
  while (begin > 0 && is_digit(line[begin - 1]) && end - begin < most_digits) --begin;
  std::uint64_t number = 0;
  for (std::size_t i = begin; i < end; ++i) number = number * 10 + static_cast<std::uint64_t>(line[i] - '0');
  return number;
}

}  // namespace

parsed_line parse_line(std::string_view line) {
  return {first_word_that_begins_with_a_letter(line), last_number_or_length(line)};
}

bool is_selected(parsed_line const& p) { return p.value % 2 == 1; }

totals& totals_by_key::of(std::string_view key) {
  auto const found = by_key_.find(key);
  return found != by_key_.end() ? found->second : by_key_[std::string(key)];
}

void totals_by_key::add(parsed_line const& p) {
  totals& t = of(p.key);
  ++t.lines;
  t.sum += p.value;
  t.least = std::min(t.least, p.value);
  t.greatest = std::max(t.greatest, p.value);
}

void totals_by_key::add(totals_by_key const& other) {
  for (auto const& [key, more] : other.by_key_) {
    totals& t = of(key);
    t.lines += more.lines;
    t.sum += more.sum;
    t.least = std::min(t.least, more.least);
    t.greatest = std::max(t.greatest, more.greatest);
  }
}

std::string totals_by_key::to_text() const {
  std::vector<std::string> lines;
  for (auto const& [key, t] : by_key_) {
    lines.push_back(fmt::format("{}\t{}\t{}\t{}\t{}\n", key, t.lines, t.sum, t.least, t.greatest));
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, ""));
}

}  // namespace bench
