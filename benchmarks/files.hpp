// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the rows of files share: the text that is written and read, files that are cold, and the proof that all bytes
// arrived.
#pragma once

#include "harness.hpp"
#include "system_state.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace microbench {

inline constexpr std::size_t mib = std::size_t{1} << 20;
inline constexpr double gib = static_cast<double>(std::size_t{1} << 30);

// A MiB of text, of which the large files are made: lines of 60 bytes, the last a little longer, each with a number of ten
// digits at its begin. That of the first line is the block's place in the file, so none can be missing, or be there twice.
class text_block {
 public:
  static constexpr std::size_t line_length = 60;
  static constexpr std::size_t digits = 10;

  text_block();
  [[nodiscard]] std::string const& bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t lines() const { return lines_; }
  // Of the numbers of all lines but the first.
  [[nodiscard]] std::uint64_t sum() const { return sum_; }
  // Makes a copy of it the block at that place.
  static void stamp(char* block, std::uint64_t index);
  // Whether this is the block at that place.
  [[nodiscard]] bool is(char const* block, std::uint64_t index) const;

 private:
  std::string bytes_{};
  std::uint64_t lines_ = 0;
  std::uint64_t sum_ = 0;
};
[[nodiscard]] text_block const& the_text();

// Of the large files, in MiB.
[[nodiscard]] std::uint64_t blocks_of(settings const& s);
[[nodiscard]] std::string scratch_file(settings const& s, std::string const& name);
// What shall a repetition cost: seconds for each GiB of so many blocks.
[[nodiscard]] double seconds_per_gib(std::int64_t nanoseconds, std::uint64_t blocks);

// Throws wrong_result with the path and errno.
[[noreturn]] void throw_file(char const* what, std::string const& path);

// An open file.
class descriptor {
 public:
  // Throws wrong_result.
  descriptor(std::string const& path, int flags);
  ~descriptor();
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// Removes the file, and waits until the disk has nothing left to do for what was before.
void make_way(settings const& s, std::string const& path);
// Waits until a hypervisor that takes back what its guest frees has had the time to (Linux tells it every two seconds), and
// returns the microseconds that it takes to touch a page for the first time: some tenths where memory stays, ten where it
// is cold.
[[nodiscard]] double let_memory_cool(settings const& s);
// Throws wrong_result unless the file is the blocks from `first` on, `count` of them. Read past the page cache.
void verify_text(std::string const& path, std::uint64_t count, std::uint64_t first = 0);
// Throws wrong_result unless the file is that line so many times.
void verify_lines(std::string const& path, std::string_view line, std::size_t count);
// A file of the text, made if it is not there.
[[nodiscard]] std::string text_file(settings const& s, std::uint64_t blocks);
// Puts a file out of the page cache; returns how many % of it are there all the same.
[[nodiscard]] double make_cold(std::string const& path);
// Reads it plainly, so that it is in the page cache.
void read_through_cache(std::string const& path);
// How many % of a file are in the page cache.
[[nodiscard]] double percent_cached(std::string const& path);

}  // namespace microbench
