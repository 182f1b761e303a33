// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where lines end: against a reference that looks at byte after byte, for texts of all kinds, and read in pieces of any size.
#include <errand/detail/split.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <support/scratch.hpp>
#include <support/seed.hpp>

#include "io/line_chunks.hpp"

namespace {

using errand::detail::line_chunk;
using errand::detail::line_chunks;
using errand::detail::line_cursor;
using errand_test::generator;

std::vector<std::string> reference(std::string_view text) {
  std::vector<std::string> all;
  std::string line;
  bool open = false;
  for (char const c : text) {
    open = true;
    if (c != '\n') {
      line += c;
      continue;
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    all.push_back(line);
    line.clear();
    open = false;
  }
  if (open) all.push_back(line);
  return all;
}

// The text in memory of exactly its size, so that a sanitizer sees a byte too far.
std::vector<std::string> split(std::string_view text) {
  auto const exact = std::make_unique<char[]>(text.size());
  text.copy(exact.get(), text.size());
  std::vector<std::string> all;
  errand::detail::split_lines(exact.get(), exact.get() + text.size(), [&](std::string_view line) { all.emplace_back(line); });
  return all;
}

// Many ends of lines, among them those that are none.
std::string random_text(generator& random, std::size_t size, unsigned one_newline_in) {
  std::string text(size, '\0');
  for (char& c : text) {
    if (random.one_in(one_newline_in))
      c = '\n';
    else if (random.one_in(one_newline_in))
      c = '\r';
    else
      c = static_cast<char>(random.below(256));
  }
  return text;
}

TEST(split, ends_are_lf_and_crlf_and_the_last_may_lack) {
  using all = std::vector<std::string>;
  EXPECT_EQ(split(""), all{});
  EXPECT_EQ(split("\n"), all{""});
  EXPECT_EQ(split("a"), all{"a"});
  EXPECT_EQ(split("a\n"), all{"a"});
  EXPECT_EQ(split("a\nb"), (all{"a", "b"}));
  EXPECT_EQ(split("a\r\nb\r\n"), (all{"a", "b"}));
  EXPECT_EQ(split("\r\n\r\n"), (all{"", ""}));
  EXPECT_EQ(split("\n\n\nx"), (all{"", "", "", "x"}));
}

TEST(split, a_lone_cr_and_nul_are_ordinary_bytes) {
  using all = std::vector<std::string>;
  using namespace std::string_literals;
  EXPECT_EQ(split("a\rb\n"), all{"a\rb"});
  EXPECT_EQ(split("\r"), all{"\r"});
  EXPECT_EQ(split("a\r"), all{"a\r"});
  EXPECT_EQ(split("\r\r\n"), all{"\r"});
  EXPECT_EQ(split("\n\r"), (all{"", "\r"}));
  EXPECT_EQ(split("a\0b\n\0"s), (all{"a\0b"s, "\0"s}));
}

TEST(split, every_length_around_the_blocks_and_every_place_of_an_end) {
  for (std::size_t size = 0; size <= 200; ++size)
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'x');
      text[at] = '\n';
      ASSERT_EQ(split(text), reference(text)) << size << ' ' << at;
      if (at != 0) text[at - 1] = '\r';
      ASSERT_EQ(split(text), reference(text)) << size << ' ' << at;
    }
}

TEST(split, agrees_with_the_reference_on_any_text) {
  generator random{errand_test::test_seed()};
  for (errand_test::rounds r{3000}; r.next();) {
    auto const text = random_text(random, random.below(700), 1 + random.below(100));
    ASSERT_EQ(split(text), reference(text));
  }
}

TEST(split, the_first_and_the_last_newline) {
  std::string const text = "ab\ncd\nef";
  auto const* const begin = text.data();
  auto const* const end = begin + text.size();
  EXPECT_EQ(errand::detail::after_first_newline(begin, end), begin + 3);
  EXPECT_EQ(errand::detail::after_last_newline(begin, end), begin + 6);
  EXPECT_EQ(errand::detail::after_first_newline(begin, begin + 2), nullptr);
  EXPECT_EQ(errand::detail::after_last_newline(begin, begin), nullptr);
}

// ---- chunks of a file ----------------------------------------------------------------------------------------------------

class chunks : public testing::Test {
 protected:
  chunks() { file = directory / "text"; }
  void write(std::string_view text) const { std::ofstream{file, std::ios::binary} << text; }

  // All that comes, line by line; each chunk must end with a line, the last excepted.
  static std::vector<std::string> lines_of(line_chunks& from) {
    std::vector<std::string> all;
    bool ended = true;
    for (line_chunk c; from.next(c);) {
      EXPECT_TRUE(ended) << "a chunk that ended within a line was not the last";
      EXPECT_LT(c.begin, c.end);
      ended = c.end[-1] == '\n';
      errand::detail::split_lines(c.begin, c.end, [&](std::string_view line) { all.emplace_back(line); });
    }
    return all;
  }
  [[nodiscard]] std::vector<std::string> lines_of_file() const {
    line_chunks all{file, std::source_location::current()};
    return lines_of(all);
  }

  errand_test::scratch directory;
  std::filesystem::path file;
};

TEST_F(chunks, a_file_larger_than_the_read_ahead_in_order) {
  generator random{errand_test::test_seed()};
  auto const text = random_text(random, (std::size_t{9} << 20) + random.below(1 << 20), 2000);
  write(text);
  EXPECT_EQ(lines_of_file(), reference(text));
}

TEST_F(chunks, lines_longer_than_any_buffer) {
  generator random{errand_test::test_seed()};
  std::string text;
  for (std::size_t const size : {3'000'000U, 10U, 1'048'576U, 0U, 1'048'575U, 9'000'000U, 1'048'577U, 2'097'152U}) {
    text.append(size, static_cast<char>('a' + random.below(26)));
    text += random.one_in(2) ? "\n" : "\r\n";
  }
  text.append(2'500'000, 'z');
  write(text);
  EXPECT_EQ(lines_of_file(), reference(text));
}

TEST_F(chunks, an_end_of_two_bytes_across_the_border_of_buffers) {
  for (std::size_t const before : {1'048'574U, 1'048'575U, 1'048'576U, 2'097'151U}) {
    auto const text = std::string(before, 'x') + "\r\ny\r";
    write(text);
    EXPECT_EQ(lines_of_file(), reference(text));
  }
}

TEST_F(chunks, from_an_offset_on_the_lines_behind_the_next_newline) {
  generator random{errand_test::test_seed()};
  for (errand_test::rounds r{60}; r.next();) {
    auto const text = random_text(random, 1 + random.below(3000), 1 + random.below(400));
    write(text);
    auto const offset = 1 + random.below(static_cast<unsigned>(text.size()));
    line_chunks rest{file, std::source_location::current()};
    rest.expect(offset, text.size());
    rest.start();
    auto const newline = text.find('\n', offset);
    ASSERT_EQ(lines_of(rest), newline == std::string::npos ? std::vector<std::string>{} : reference(text.substr(newline + 1)));
  }
}

TEST_F(chunks, a_first_line_to_be_dropped_that_is_longer_than_a_buffer) {
  write(std::string(3'000'000, 'x') + "\nlast");
  line_chunks rest{file, std::source_location::current()};
  rest.expect(5, 3'000'005);
  rest.start();
  EXPECT_EQ(lines_of(rest), std::vector<std::string>{"last"});
}

TEST_F(chunks, no_further_than_the_limit) {
  write("one\ntwo\nthree\n");
  line_chunks part{file, std::source_location::current()};
  part.expect(0, 6);
  part.start();
  EXPECT_EQ(lines_of(part), (std::vector<std::string>{"one", "tw"}));
}

TEST_F(chunks, of_a_pipe_in_pieces_of_any_size) {
  generator random{errand_test::test_seed()};
  auto const text = random_text(random, 3'000'000, 5000) + std::string(1'500'000, 'x') + "\r\nend";
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  std::thread writer{[&] {
    std::ofstream to{file, std::ios::binary};
    for (std::size_t at = 0; at < text.size();) {
      auto const size = std::min<std::size_t>(text.size() - at, 1 + random.below(200'000));
      to.write(text.data() + at, static_cast<std::streamsize>(size)).flush();
      at += size;
    }
  }};
  EXPECT_EQ(lines_of_file(), reference(text));
  writer.join();
}

TEST_F(chunks, several_threads_share_them_and_each_line_comes_once) {
  generator random{errand_test::test_seed()};
  auto const text = random_text(random, std::size_t{6} << 20, 3000);
  write(text);
  line_chunks all{file, std::source_location::current()};
  std::vector<std::vector<std::string>> found(4);
  std::vector<std::thread> threads;
  for (auto& mine : found)
    threads.emplace_back([&mine, &all] {
      for (line_chunk c; all.next(c);)
        errand::detail::split_lines(c.begin, c.end, [&](std::string_view line) { mine.emplace_back(line); });
    });
  for (auto& t : threads) t.join();
  std::vector<std::string> together;
  for (auto& mine : found) together.insert(together.end(), mine.begin(), mine.end());
  auto expected = reference(text);
  std::sort(together.begin(), together.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(together, expected);
}

TEST_F(chunks, can_be_left_at_any_moment) {
  write(std::string(std::size_t{8} << 20, '\n'));
  for (int taken = 0; taken < 8; ++taken) {
    line_chunks some{file, std::source_location::current()};
    line_chunk c;
    for (int i = 0; i < taken; ++i) ASSERT_TRUE(some.next(c));
  }
}

TEST_F(chunks, of_a_pipe_that_nobody_writes_to_can_be_left) {
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  int const held = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::write(held, "one\ntw", 6), 6);
  {
    line_chunks some{file, std::source_location::current()};
    line_chunk c;
    ASSERT_TRUE(some.next(c));
    EXPECT_EQ(std::string_view(c.begin, c.end), "one\n");
  }
  ::close(held);
}

}  // namespace
