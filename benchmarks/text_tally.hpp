// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is done with each line of the text, and what comes out if every line was seen once.
#pragma once

#include "files.hpp"

#include <errand/io.hpp>

#include <charconv>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace microbench {

enum class text_work : std::uint8_t {
  count,  // the lines
  split,  // where the first word ends, and how much comes behind it
  parse,  // the number at the begin
};

struct text_tally {
  std::uint64_t lines = 0;
  std::uint64_t result = 0;

  template <text_work What>
  void take(std::string_view line) {
    ++lines;
    if constexpr (What == text_work::split) result += line.size() - line.find(' ');
    if constexpr (What == text_work::parse) {
      std::uint64_t number = 0;
      std::from_chars(line.data(), line.data() + line.size(), number);
      result += number;
    }
  }
  static text_tally merged(text_tally a, text_tally b) { return {a.lines + b.lines, a.result + b.result}; }

  template <text_work What>
  void verify(std::uint64_t blocks) const {
    auto const& text = the_text();
    require(lines == blocks * text.lines(), "not every line was seen once");
    std::uint64_t expected = 0;
    if (What == text_work::split) expected = blocks * (mib - text.lines() * (text_block::digits + 1));
    if (What == text_work::parse) expected = blocks * text.sum() + blocks * (blocks - 1) / 2;
    require(result == expected, "the lines did not say what was written");
  }
};

template <text_work What>
text_tally reduce_text(errand::pool& pool, std::string const& path) {
  return errand::reduce_lines(
      pool, path, [] { return text_tally{}; }, [](text_tally& all, std::string_view line) { all.take<What>(line); },
      &text_tally::merged);
}

// One for each thread that asks. One such object in a process.
class tally_of_threads {
 public:
  text_tally& mine() {
    thread_local constinit text_tally* found = nullptr;
    if (found == nullptr) [[unlikely]]
      found = add();
    return *found;
  }
  // When all have ended.
  [[nodiscard]] text_tally gathered() const {
    text_tally all;
    for (auto const& one : each_) all = text_tally::merged(all, one.tally);
    return all;
  }

 private:
  struct alignas(128) padded {
    text_tally tally;
  };
  text_tally* add() {
    std::lock_guard const lock{guard_};
    return &each_.emplace_back().tally;
  }
  std::mutex guard_{};
  std::deque<padded> each_{};
};

}  // namespace microbench
