// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The I/O column of the post: five files, to each of which the line "asdf" is written so many times, line by line. What
// errand, its rivals and the bare buffer are all timed by.
#pragma once

#include "files.hpp"

#include <array>
#include <filesystem>

namespace microbench {

inline constexpr std::string_view the_line = "asdf\n";

struct line_file {
  std::string path;
  std::size_t lines;
};
using five_files = std::array<line_file, 5>;

// write_all(files) writes all five. Milliseconds.
template <class WriteAll>
sample write_five_files(settings const& s, WriteAll write_all) {
  five_files files;
  std::size_t const counts[5] = {200'000, 1'500'000, 1'000'000, 100'000, 1'200'000};
  for (std::size_t i = 0; i < 5; ++i) {
    files[i] = {scratch_file(s, "lines-" + std::to_string(i)), s.times(counts[i])};
    std::filesystem::remove(files[i].path);
  }
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  write_all(files);
  auto const end = now_ns();
  auto const cpu_end = cpu_ns();
  for (auto const& f : files) {
    verify_lines(f.path, the_line, f.lines);
    std::filesystem::remove(f.path);
  }
  return {ns_each(begin, end, 1'000'000), {{"CPU ms", ns_each(cpu, cpu_end, 1'000'000)}}};
}

}  // namespace microbench
