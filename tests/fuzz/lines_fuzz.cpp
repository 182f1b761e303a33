// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fuzzing where lines end: any bytes, split as one chunk, and cut anywhere into two chunks of whole lines, give the lines that
// a look at byte after byte gives. Built with ERRAND_BUILD_FUZZERS and clang; `lines_fuzz -max_total_time=60`.
#include <errand/detail/split.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::vector<std::string_view> reference(std::string_view text) {
  std::vector<std::string_view> all;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\n') continue;
    std::size_t const end = i > begin && text[i - 1] == '\r' ? i - 1 : i;
    all.push_back(text.substr(begin, end - begin));
    begin = i + 1;
  }
  if (begin < text.size()) all.push_back(text.substr(begin));
  return all;
}

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  // The first byte says where to cut; the rest lies at the end of its memory, so that a byte too far is seen.
  std::size_t const cut_at = size == 0 ? 0 : data[0];
  std::string_view const text{reinterpret_cast<char const*>(data) + (size != 0), size - (size != 0)};
  auto const expected = reference(text);
  auto const* const begin = text.data();
  auto const* const end = begin + text.size();

  std::vector<std::string_view> found;
  auto const keep = [&](std::string_view line) { found.push_back(line); };
  errand::detail::split_lines(begin, end, keep);
  require(found == expected);

  auto const* const cut = begin + (text.empty() ? 0 : cut_at % (text.size() + 1));
  for (auto const* const border :
       {errand::detail::after_first_newline(cut, end), errand::detail::after_last_newline(begin, cut)}) {
    if (border == nullptr) continue;
    found.clear();
    errand::detail::split_lines(begin, border, keep);
    errand::detail::split_lines(border, end, keep);
    require(found == expected);
  }
  return 0;
}
