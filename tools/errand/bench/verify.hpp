// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// No time is believed before the work is checked: every count, every file's size and all of
// its bytes. The suite calls this after each run, outside the clock; a difference is a
// failure that names the job, and no table is printed.
#pragma once

#include "bench/kernel.hpp"

#include <span>
#include <string>

namespace bench {

// Checks every job's answer and file. Throws failure.
void verify(std::span<job const> jobs, std::span<answer const> answers);

// Checks that a file is the post's line so many times.
void verify_lines(std::string const& path, std::uint64_t lines);

// Checks that two files hold the same bytes. Throws failure naming the first difference.
void verify_same_bytes(std::string const& path, std::string const& expected_path);

// What any order of the same lines has in common.
struct file_lines {
  std::uint64_t lines = 0;
  std::uint64_t sum_of_hashes = 0;
};
file_lines lines_of(std::string const& path);
void verify_same_lines(std::string const& path, file_lines const& expected);

// That a file of "count key" lines, as uniq -c writes them, counts for each key what the totals say.
void verify_same_counts(std::string const& path, std::string const& totals_path);

}  // namespace bench
