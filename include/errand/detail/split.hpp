// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// Where lines end in a chunk of text. "\n" and "\r\n" end a line; a lone "\r" and NUL are ordinary bytes. Used by `lines`, and by
// the templates for_each_line and reduce_lines, on chunks that begin where a line begins.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace errand::detail {

// Tempting: memchr for each line. Fails because most lines are short, and its call costs more than their search: 64 bytes are
// compared at once, and the ends found are kept as bits.
constexpr std::ptrdiff_t split_block = 64;

/// Bit i: whether p[i] is "\n".
[[nodiscard]] inline std::uint64_t newlines_in_block(char const* p) noexcept {
#if defined(__SSE2__)
  using vector = char __attribute__((vector_size(16)));
  vector const newline = {'\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n'};
  std::uint64_t found = 0;
  for (int i = 0; i < 4; ++i) {
    vector bytes;
    std::memcpy(&bytes, p + 16 * i, 16);
    auto const equal = reinterpret_cast<vector>(bytes == newline);
    found |= std::uint64_t{static_cast<std::uint32_t>(__builtin_ia32_pmovmskb128(equal))} << (16 * i);
  }
  return found;
#else
  std::uint64_t found = 0;
  for (unsigned i = 0; i < split_block; ++i) found |= std::uint64_t{p[i] == '\n'} << i;
  return found;
#endif
}

/// The lines of a chunk, one after the other.
class line_cursor {
 public:
  line_cursor() noexcept = default;
  line_cursor(char const* begin, char const* end) noexcept : line_{begin}, block_{begin}, next_{begin}, end_{end} {}

  /// The next line, without its end; what follows the last end is a line if it is not empty. False: there is none.
  [[nodiscard]] bool next(std::string_view& line) noexcept {
    while (newlines_ == 0)
      if (!look_further()) return last_line(line);
    char const* const newline = block_ + __builtin_ctzll(newlines_);
    newlines_ &= newlines_ - 1;
    char const* line_end = newline;
    if (line_end != line_ && line_end[-1] == '\r') --line_end;
    line = {line_, static_cast<std::size_t>(line_end - line_)};
    line_ = newline + 1;
    return true;
  }

 private:
  bool look_further() noexcept {
    block_ = next_;
    if (end_ - block_ >= split_block) {
      newlines_ = newlines_in_block(block_);
      next_ = block_ + split_block;
      return true;
    }
    if (block_ == end_) return false;
    char padded[split_block] = {};
    std::memcpy(padded, block_, static_cast<std::size_t>(end_ - block_));
    newlines_ = newlines_in_block(padded);
    next_ = end_;
    return true;
  }
  bool last_line(std::string_view& line) noexcept {
    if (line_ == end_) return false;
    line = {line_, static_cast<std::size_t>(end_ - line_)};
    line_ = end_;
    return true;
  }

  char const* line_ = nullptr;   // where the next line begins
  char const* block_ = nullptr;  // what newlines_ is about
  char const* next_ = nullptr;   // where nobody has looked yet
  char const* end_ = nullptr;
  std::uint64_t newlines_ = 0;   // those of the block that are still to be used
};

/// f(line) for each line of a chunk, in order.
template <class F>
void split_lines(char const* begin, char const* end, F&& f) {
  line_cursor rest{begin, end};
  for (std::string_view line; rest.next(line);) f(line);
}

/// One past the first, or the last, "\n"; null if there is none.
[[nodiscard]] inline char const* after_first_newline(char const* begin, char const* end) noexcept {
  auto const* const found = begin == end ? nullptr : std::memchr(begin, '\n', static_cast<std::size_t>(end - begin));
  return found == nullptr ? nullptr : static_cast<char const*>(found) + 1;
}
[[nodiscard]] inline char const* after_last_newline(char const* begin, char const* end) noexcept {
  auto const* const found = begin == end ? nullptr : ::memrchr(begin, '\n', static_cast<std::size_t>(end - begin));
  return found == nullptr ? nullptr : static_cast<char const*>(found) + 1;
}

}  // namespace errand::detail
