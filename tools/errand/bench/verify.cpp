// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/verify.hpp"

#include "bench/failure.hpp"
#include "bench/input_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <vector>

namespace bench {
namespace {

constexpr std::size_t lines_per_block = 200'000;

std::vector<char> block_of_lines() {
  std::vector<char> block;
  block.reserve(lines_per_block * line_of_the_post.size());
  for (std::size_t i = 0; i < lines_per_block; ++i) {
    block.insert(block.end(), line_of_the_post.begin(), line_of_the_post.end());
  }
  return block;
}

void verify_size(input_file const& file, std::uint64_t expected) {
  if (file.size() != expected) {
    throw failure(fmt::format("{} has {} bytes, not {}", file.path(), file.size(), expected));
  }
}

}  // namespace

void verify_lines(std::string const& path, std::uint64_t lines) {
  // Blocks are whole lines, so every block of the file must equal the same expected one.
  static std::vector<char> const expected = block_of_lines();
  static std::vector<char> found(expected.size());

  input_file const file(path);
  verify_size(file, lines * line_of_the_post.size());
  for (std::uint64_t at = 0; at < file.size();) {
    std::size_t const n = file.read_at(at, found);
    if (std::memcmp(found.data(), expected.data(), n) != 0) {
      throw failure(fmt::format("{} holds wrong bytes after byte {}", path, at));
    }
    at += n;
  }
}

void verify(std::span<job const> jobs, std::span<answer const> answers) {
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    job const& j = jobs[i];
    answer const& a = answers[i];
    if (j.kind == job_kind::count) {
      std::uint64_t const expected = j.n == 0 ? 0 : j.n * (j.n - 1) / 2;
      if (a.value != expected) {
        throw failure(fmt::format("the job n = {} counted {} steps, not {}", j.n, a.value, expected));
      }
      continue;
    }
    if (a.error != 0) throw os_failure(fmt::format("write {}", j.path), a.error);
    verify_lines(j.path, j.n);
  }
}

void verify_same_bytes(std::string const& path, std::string const& expected_path) {
  constexpr std::size_t block = 1 << 20;
  input_file const file(path);
  input_file const expected_file(expected_path);
  verify_size(file, expected_file.size());

  std::vector<char> found(block);
  std::vector<char> expected(block);
  for (std::uint64_t at = 0; at < file.size(); at += block) {
    std::size_t const n = file.read_at(at, found);
    expected_file.read_at(at, expected);
    auto const ends = std::mismatch(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(n), expected.begin());
    if (ends.first != found.begin() + static_cast<std::ptrdiff_t>(n)) {
      throw failure(fmt::format("{} differs from {} at byte {}", path, expected_path,
                                at + static_cast<std::uint64_t>(ends.first - found.begin())));
    }
  }
}

file_lines lines_of(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw os_failure("read " + path, errno);
  file_lines all;
  for (std::string line; std::getline(in, line); ++all.lines) all.sum_of_hashes += std::hash<std::string>()(line);
  return all;
}

void verify_same_lines(std::string const& path, file_lines const& expected) {
  file_lines const found = lines_of(path);
  if (found.lines != expected.lines) {
    throw failure(fmt::format("{} has {} lines, not {}", path, found.lines, expected.lines));
  }
  if (found.sum_of_hashes != expected.sum_of_hashes) throw failure(path + " has other lines than the serial program's");
}

void verify_same_counts(std::string const& path, std::string const& totals_path) {
  std::map<std::string, std::uint64_t> counts;
  std::ifstream in(path);
  std::uint64_t count = 0;
  for (std::string key; in >> count >> key;) counts[key] = count;

  std::size_t keys = 0;
  std::ifstream totals(totals_path);
  for (std::string line; std::getline(totals, line); ++keys) {
    std::istringstream fields(line);
    std::string key;
    fields >> key >> count;
    if (counts[key] != count)
      throw failure(fmt::format("{} counts {} lines of {}, not {}", path, counts[key], key, count));
  }
  if (counts.size() != keys) throw failure(fmt::format("{} has {} keys, not {}", path, counts.size(), keys));
}

}  // namespace bench
