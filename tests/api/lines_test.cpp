// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// lines, for_each_line and reduce_lines: each line once, from files of all kinds, at all places; errors, stops, forks.
#include <errand/detail/lines.hpp>
#include <errand/group.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <mutex>
#include <ranges>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/in_child.hpp"
#include "support/scratch.hpp"
#include "support/seed.hpp"
#include "support/sequencer.hpp"

namespace {

using errand_test::flag;
using errand_test::generator;
using errand_test::thread_number;
using all = std::vector<std::string>;

static_assert(std::ranges::input_range<errand::lines>);
static_assert(std::ranges::viewable_range<errand::lines>);
static_assert(!std::is_copy_constructible_v<errand::lines> && std::is_nothrow_move_constructible_v<errand::lines>);

class lines : public testing::Test {
 protected:
  lines() {
    file = directory / "text";
  }

  void write(std::string_view text) const { std::ofstream{file, std::ios::binary} << text; }
  // What was written is on the disk afterwards, and from `offset` on not in the system's cache.
  void forget_from(off_t offset) const {
    int const fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    ::fsync(fd);
    ::posix_fadvise(fd, offset, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
  void make_pipe() const { ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0); }

  [[nodiscard]] all in_order() const {
    all found;
    for (std::string_view const line : errand::lines{file}) found.emplace_back(line);
    return found;
  }
  template <class Where>
  [[nodiscard]] all shared_at(Where&& where) const {
    return errand::reduce_lines(
        where, file, [] { return all{}; }, [](all& mine, std::string_view line) { mine.emplace_back(line); },
        [](all& into, all&& from) { std::ranges::move(from, std::back_inserter(into)); });
  }
  template <class Where>
  [[nodiscard]] all sorted_at(Where&& where) const {
    auto found = shared_at(where);
    std::ranges::sort(found);
    return found;
  }

  errand_test::scratch directory;
  std::filesystem::path file;
};
using for_each_line = lines;
using reduce_lines = lines;

// Numbered lines, some of them long, with ends of both kinds; what they are, and the text.
struct text_with_lines {
  explicit text_with_lines(generator& random, std::size_t size, unsigned longest) {
    for (int i = 0; text.size() < size; ++i) {
      expected.push_back(std::to_string(i) + std::string(random.below(longest), static_cast<char>(random.one_in(9) ? 0 : '\r')));
      expected.back() += 'x';
      text += expected.back() + (random.one_in(3) ? "\r\n" : "\n");
    }
    if (random.one_in(2)) {
      expected.emplace_back("the last\r");
      text += expected.back();
    }
  }
  [[nodiscard]] all sorted() const {
    auto copy = expected;
    std::ranges::sort(copy);
    return copy;
  }
  all expected;
  std::string text;
};

// The error of the system that a call throws, after a look at its path.
template <class F>
std::error_code error_of(F&& f, std::filesystem::path const& path) {
  try {
    f();
  } catch (std::filesystem::filesystem_error const& e) {
    EXPECT_EQ(e.path1(), path);
    return e.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

// ---- lines -------------------------------------------------------------------------------------------------------------

TEST_F(lines, of_small_files) {
  write("");
  EXPECT_EQ(in_order(), all{});
  write("one");
  EXPECT_EQ(in_order(), all{"one"});
  write("one\r\n\ntwo\n");
  EXPECT_EQ(in_order(), (all{"one", "", "two"}));
}

TEST_F(lines, of_a_large_file_whoever_reads_it) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 7'000'000, 300};
  write(t.text);
  EXPECT_EQ(in_order(), t.expected);
  EXPECT_EQ(errand::async([&] { return in_order(); }).get(), t.expected);
  EXPECT_EQ(errand::async(errand::blocking, [&] { return in_order(); }).get(), t.expected);
}

TEST_F(lines, of_a_file_that_is_not_in_the_cache) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 7'000'000, 300};
  write(t.text);
  forget_from(2'000'000);
  EXPECT_EQ(in_order(), t.expected);
}

// It would take all memory there is.
TEST_F(lines, a_line_without_end_is_read_no_further_when_nobody_wants_it) {
  auto reading = errand::async([] {
    for (auto const line : errand::lines{"/dev/zero"}) static_cast<void>(line);
  });
  static_cast<void>(reading.wait_for(std::chrono::milliseconds{20}));
  reading.request_stop();
  EXPECT_TRUE(reading.result().stopped());
}

TEST_F(lines, many_files_at_a_time) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 2'500'000, 200};
  write(t.text);
  errand::for_each_index(errand::blocking, 20, [&](std::size_t) { EXPECT_EQ(in_order(), t.expected); });
}

TEST_F(lines, are_a_range_like_others) {
  write("a\nbb\nccc\ndddd\n");
  std::size_t sum = 0;
  for (auto const size : errand::lines{file} | std::views::transform(&std::string_view::size) | std::views::take(3)) sum += size;
  EXPECT_EQ(sum, 6U);
}

TEST_F(lines, may_be_moved_while_they_are_read_and_go_on) {
  write("a\nb\nc\nd");
  errand::lines first{file};
  auto i = first.begin();
  EXPECT_EQ(*i, "a");
  errand::lines second{std::move(first)};
  ++i;
  EXPECT_EQ(*i, "b");
  errand::lines third{"nowhere"};
  third = std::move(second);
  EXPECT_EQ(*third.begin(), "c");
  EXPECT_EQ(*++i, "d");
  ++i;
  EXPECT_TRUE(i == third.end());
  EXPECT_TRUE(third.begin() == third.end());
}

TEST_F(lines, touch_nothing_before_begin_and_say_what_is_wrong_then) {
  errand::lines missing{file};
  EXPECT_EQ(error_of([&] { (void)missing.begin(); }, file), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of([&] { (void)errand::lines{directory.path()}.begin(); }, directory.path()), std::errc::is_a_directory);
  write("there now");
  errand::lines made_before{file};
  EXPECT_EQ(*made_before.begin(), "there now");
}

TEST_F(lines, an_error_of_reading_names_the_path) {
  std::filesystem::path const unreadable = "/proc/self/mem";  // at its beginning
  EXPECT_EQ(error_of([&] { (void)errand::lines{unreadable}.begin(); }, unreadable), std::errc::io_error);
  EXPECT_EQ(error_of([&] { errand::for_each_line(unreadable, [](std::string_view) {}); }, unreadable), std::errc::io_error);
}

TEST_F(lines, of_proc_whose_files_say_that_they_are_empty) {
  std::ifstream plain{"/proc/filesystems"};
  all expected;
  for (std::string line; std::getline(plain, line);) expected.push_back(line);
  ASSERT_FALSE(expected.empty());
  all found;
  for (auto const line : errand::lines{"/proc/filesystems"}) found.emplace_back(line);
  EXPECT_EQ(found, expected);
}

TEST_F(lines, of_a_device_without_any) {
  EXPECT_TRUE(errand::lines{"/dev/null"}.begin() == std::default_sentinel);
}

TEST_F(lines, of_a_pipe_as_they_come_and_a_wait_lets_the_worker_go_on) {
  make_pipe();
  errand::pool one{1};
  flag has_one;  // from then on the pipe has a reader, and keeps what is written
  auto reader = errand::async(one, [&] {
    all found;
    for (auto const line : errand::lines{file}) {
      found.emplace_back(line);
      has_one.raise();
    }
    return found;
  });
  // The pool's only worker, which the reader would keep if it blocked.
  int const fd = errand::async(one, [&] { return ::open(file.c_str(), O_RDWR | O_CLOEXEC); }).get();
  ASSERT_EQ(::write(fd, "one\ntwo\r\nth", 11), 11);
  errand::async(one, [] {}).get();
  has_one.wait();
  ASSERT_EQ(::write(fd, "ree", 3), 3);
  ::close(fd);
  EXPECT_EQ(reader.get(), (all{"one", "two", "three"}));
}

TEST_F(lines, of_a_pipe_are_given_out_before_its_end) {
  make_pipe();
  int const fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  errand::lines some{file};
  ASSERT_EQ(::write(fd, "a\nb\nc", 5), 5);
  auto i = some.begin();
  EXPECT_EQ(*i, "a");
  EXPECT_EQ(*++i, "b");
  ASSERT_EQ(::write(fd, "c\n", 2), 2);
  EXPECT_EQ(*++i, "cc");
  ::close(fd);
}

TEST_F(lines, a_stop_ends_the_wait_for_a_pipe_that_nobody_writes_to) {
  make_pipe();
  int const fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  flag waits;
  auto reader = errand::async([&] {
    waits.raise();
    (void)errand::lines{file}.begin();
  });
  waits.wait();
  reader.request_stop();
  EXPECT_TRUE(reader.result().stopped());
  ::close(fd);
}

TEST_F(lines, a_stopped_wait_may_be_taken_up_again) {
  make_pipe();
  int const fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  errand::lines some{file};
  flag waits;
  auto reader = errand::async([&] {
    waits.raise();
    (void)some.begin();
  });
  waits.wait();
  reader.request_stop();
  EXPECT_TRUE(reader.result().stopped());
  ASSERT_EQ(::write(fd, "later\n", 6), 6);
  EXPECT_EQ(*some.begin(), "later");
  ::close(fd);
}

TEST_F(lines, one_longer_than_the_read_ahead_and_left_in_the_midst) {
  std::string const giant(7'000'000, 'g');
  write(giant + "\nsmall\n" + giant);
  EXPECT_EQ(in_order(), (all{giant, "small", giant}));
  errand::lines left{file};
  EXPECT_EQ((*left.begin()).size(), giant.size());
}

TEST_F(lines, of_a_file_that_grows_up_to_what_was_read) {
  write("one\n");
  std::size_t count = 0;
  for (auto const line : errand::lines{file}) {
    EXPECT_FALSE(line.empty());
    if (count++ == 0) std::ofstream{file, std::ios::app} << "two\n";
  }
  EXPECT_GE(count, 1U);
  EXPECT_LE(count, 2U);
}

TEST_F(lines, of_a_file_that_shrinks_up_to_what_was_read) {
  std::string const text(std::size_t{16} << 20, '\n');
  write(text);
  std::size_t count = 0;
  for (auto const line : errand::lines{file}) {
    EXPECT_TRUE(line.empty());
    if (count++ == 0) std::filesystem::resize_file(file, 10);
  }
  EXPECT_LT(count, text.size());
}

TEST_F(lines, rule_20_in_the_child_of_a_fork_what_was_begun_is_a_picture) {
  write(std::string(3'000'000, '\n'));
  errand::lines begun{file};
  (void)begun.begin();
  EXPECT_EQ(errand_test::in_child([&] {
              errand::lines const dropped{std::move(begun)};
              errand::lines mine{std::move(const_cast<errand::lines&>(dropped))};
              bool thrown = false;
              try {
                for (auto i = mine.begin(); i != mine.end();) ++i;
              } catch (std::logic_error const&) {
                thrown = true;
              }
              errand_test::require(thrown, "the next chunk throws");
            }),
            0);
}

TEST_F(lines, rule_20_a_forked_child_reads_files_of_its_own) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  write("a\nb\n");
  EXPECT_EQ(in_order().size(), 2U);
  EXPECT_EQ(errand_test::in_child([&] { errand_test::require(in_order() == all{"a", "b"}, "lines"); }), 0);
}

// ---- for_each_line -------------------------------------------------------------------------------------------------------

TEST_F(for_each_line, every_line_once_at_every_place) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 2'000'000, 400};
  write(t.text);
  auto const expected = t.sorted();
  errand::pool one{1};
  errand::pool many{8};
  EXPECT_EQ(sorted_at(errand::threads), expected);
  EXPECT_EQ(sorted_at(errand::inplace), expected);
  EXPECT_EQ(sorted_at(errand::blocking), expected);
  EXPECT_EQ(sorted_at(one), expected);
  EXPECT_EQ(sorted_at(many), expected);
  EXPECT_EQ(errand::async(one, [&] { return sorted_at(one); }).get(), expected);
  EXPECT_EQ(errand::async(one, [&] { return sorted_at(errand::blocking); }).get(), expected);
}

TEST_F(for_each_line, at_inplace_in_the_order_of_the_file) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 3'000'000, 400};
  write(t.text);
  int const here = thread_number();
  all found;
  errand::for_each_line(errand::inplace, file, [&](std::string_view line) {
    EXPECT_EQ(thread_number(), here);
    found.emplace_back(line);
  });
  EXPECT_EQ(found, t.expected);
}

TEST_F(for_each_line, lines_of_any_length_wherever_the_pieces_end) {
  generator random{errand_test::test_seed()};
  errand::pool four{4};
  for (unsigned const longest : {1U, 3U, 5'000U, 100'000U, 700'000U, 3'000'000U}) {
    text_with_lines const t{random, longest < 10 ? 600'000U : 3'000'000U, longest};
    write(t.text);
    ASSERT_EQ(sorted_at(four), t.sorted()) << longest;
  }
}

TEST_F(for_each_line, ends_of_lines_right_at_the_ends_of_pieces) {
  errand::pool four{4};
  constexpr std::size_t piece = std::size_t{256} << 10;
  for (std::size_t const before : {piece - 2, piece - 1, piece, piece + 1, piece + 4095, piece + 4096, 4 * piece})
    for (std::string const end : {"\n", "\r\n"})
      for (std::size_t const after : {std::size_t{0}, piece - 1, piece}) {
        auto const text = std::string(before, 'a') + end + std::string(after, 'b') + end + "c";
        write(text);
        ASSERT_EQ(sorted_at(four), (after == 0 ? all{"", std::string(before, 'a'), "c"}
                                               : all{std::string(before, 'a'), std::string(after, 'b'), "c"}));
      }
}

TEST_F(for_each_line, of_a_file_that_is_not_or_not_all_in_the_cache) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 9'000'000, 3000};
  write(t.text);
  auto const expected = t.sorted();
  errand::pool four{4};
  for (off_t const from : {off_t{0}, off_t{1'000'000}, off_t{5'000'000}, off_t{8'900'000}}) {
    forget_from(from);
    ASSERT_EQ(sorted_at(four), expected) << from;
  }
  forget_from(0);
  EXPECT_EQ(shared_at(errand::inplace), t.expected);
}

TEST_F(for_each_line, of_empty_and_tiny_files) {
  write("");
  EXPECT_EQ(shared_at(errand::threads), all{});
  write("x");
  EXPECT_EQ(shared_at(errand::threads), all{"x"});
  write("\n");
  EXPECT_EQ(shared_at(errand::threads), all{""});
}

TEST_F(for_each_line, of_a_pipe_shared_by_the_workers) {
  generator random{errand_test::test_seed()};
  text_with_lines const t{random, 6'000'000, 400};
  make_pipe();
  std::thread writer{[&] { write(t.text); }};
  errand::pool four{4};
  auto const found = sorted_at(four);
  writer.join();
  EXPECT_EQ(found, t.sorted());
}

TEST_F(for_each_line, of_proc) {
  std::atomic<int> mounts{0};
  errand::for_each_line("/proc/self/status", [&](std::string_view line) {
    if (line.starts_with("Name:")) ++mounts;
  });
  EXPECT_EQ(mounts, 1);
}

TEST_F(for_each_line, takes_functions_and_const_objects) {
  static std::atomic<int> count{0};
  count = 0;
  write("a\nb\nc\n");
  struct counter {
    static void one(std::string_view) { ++count; }
    void operator()(std::string_view) const { ++count; }
  };
  errand::for_each_line(file, counter::one);
  counter const constant{};
  errand::for_each_line(errand::inplace, file, constant);
  EXPECT_EQ(count, 6);
}

TEST_F(for_each_line, the_first_exception_stops_the_rest_and_all_are_joined) {
  write(std::string(std::size_t{8} << 20, '\n'));
  std::atomic<std::size_t> calls{0};
  std::atomic<int> inside{0};
  struct here {
    explicit here(std::atomic<int>& n) : n_{n} { ++n_; }
    ~here() { --n_; }
    std::atomic<int>& n_;
  };
  errand::pool two{2};
  std::atomic<bool> thrown{false};
  EXPECT_THROW(errand::for_each_line(two, file,
                                     [&](std::string_view) {
                                       here const h{inside};
                                       if (++calls > 1000 && !thrown.exchange(true)) throw std::runtime_error{"enough"};
                                     }),
               std::runtime_error);
  EXPECT_EQ(inside, 0);
  EXPECT_LT(calls, std::size_t{8} << 20);
}

TEST_F(for_each_line, a_call_that_waits_is_woken_by_the_failure_of_another) {
  write(std::string(std::size_t{2} << 20, '\n'));
  errand::pool two{2};
  std::atomic<int> number{0};
  flag waits;
  EXPECT_THROW(errand::for_each_line(two, file,
                                     [&](std::string_view) {
                                       int const n = number++;
                                       if (n == 0) {
                                         waits.raise();
                                         errand::this_task::sleep_for(std::chrono::hours{24});
                                       } else {
                                         waits.wait();
                                         throw std::runtime_error{"not the first"};
                                       }
                                     }),
               std::runtime_error);
}

TEST_F(for_each_line, errors_name_the_path) {
  auto const nothing = [](std::string_view) {};
  EXPECT_EQ(error_of([&] { errand::for_each_line(file, nothing); }, file), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of([&] { errand::for_each_line(errand::inplace, directory.path(), nothing); }, directory.path()), std::errc::is_a_directory);
}

TEST_F(for_each_line, a_stop_of_the_caller_ends_it) {
  make_pipe();
  int const fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::write(fd, "begun\n", 6), 6);
  flag begun;
  auto f = errand::async([&] { errand::for_each_line(file, [&](std::string_view) { begun.raise(); }); });
  begun.wait();
  f.request_stop();
  EXPECT_TRUE(f.result().stopped());
  ::close(fd);
}

TEST_F(for_each_line, calls_may_wait_for_tasks) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += std::to_string(i) + std::string(300, ' ') + '\n';
  write(text);
  std::atomic<int> sum{0};
  errand::for_each_line(file, [&](std::string_view line) {
    sum += errand::async([number = std::stoi(std::string{line})] { return number; }).get();
  });
  EXPECT_EQ(sum, 1999 * 1000);
}

TEST_F(for_each_line, of_a_file_that_shrinks_meanwhile) {
  errand::pool two{2};
  for (std::uintmax_t const left : {std::uintmax_t{0}, std::uintmax_t{10}, std::uintmax_t{1'000'000}}) {
    std::string const text(std::size_t{6} << 20, '\n');
    write(text);
    std::atomic<std::size_t> count{0};
    errand::for_each_line(two, file, [&](std::string_view line) {
      EXPECT_TRUE(line.empty());
      if (count++ == 0) std::filesystem::resize_file(file, left);
    });
    EXPECT_GE(count, left);
    EXPECT_LT(count, text.size());
  }
}

TEST_F(for_each_line, of_a_file_that_grows_meanwhile_are_those_it_had) {
  std::string const text(std::size_t{3} << 20, '\n');
  write(text);
  std::atomic<std::size_t> count{0};
  errand::for_each_line(file, [&](std::string_view) {
    if (count++ == 0) std::ofstream{file, std::ios::app} << text;
  });
  EXPECT_EQ(count, text.size());
}

// ---- reduce_lines --------------------------------------------------------------------------------------------------------

TEST_F(reduce_lines, counts_with_either_kind_of_merge) {
  write(std::string(1'000'000, '\n') + "last");
  auto const zero = [] { return std::size_t{0}; };
  auto const count = [](std::size_t& n, std::string_view) { ++n; };
  EXPECT_EQ(errand::reduce_lines(file, zero, count, std::plus<>{}), 1'000'001U);
  EXPECT_EQ(errand::reduce_lines(errand::inplace, file, zero, count, [](std::size_t& a, std::size_t b) { a += b; }), 1'000'001U);
}

TEST_F(reduce_lines, the_state_of_nothing_is_made_once) {
  write("");
  int made = 0;
  EXPECT_EQ(errand::reduce_lines(
                file, [&] { return ++made, 7; }, [](int& n, std::string_view) { ++n; }, std::plus<>{}),
            7);
  EXPECT_EQ(made, 1);
}

TEST_F(reduce_lines, states_may_be_move_only_and_there_are_no_more_than_runners) {
  write(std::string(std::size_t{4} << 20, '\n'));
  std::atomic<unsigned> made{0};
  errand::pool three{3};
  auto const sum = errand::reduce_lines(
      three, file, [&] { return ++made, std::make_unique<std::size_t>(0); },
      [](std::unique_ptr<std::size_t>& n, std::string_view) { ++*n; },
      [](std::unique_ptr<std::size_t> a, std::unique_ptr<std::size_t> const& b) {
        *a += *b;
        return a;
      });
  EXPECT_EQ(*sum, std::size_t{4} << 20);
  EXPECT_GE(made, 1U);
  EXPECT_LE(made, 3U);
}

TEST_F(reduce_lines, nothing_is_left_of_the_states_after_an_exception) {
  write(std::string(1'000'000, '\n'));
  EXPECT_THROW((void)errand::reduce_lines(
                   file, [] { return errand_test::counted{}; },
                   [](errand_test::counted& n, std::string_view) {
                     if (++n.value == 100'000) throw std::runtime_error{"enough"};
                   },
                   [](errand_test::counted&, errand_test::counted&&) {}),
               std::runtime_error);
  EXPECT_EQ(errand_test::counted::alive(), 0);
}

TEST_F(reduce_lines, several_workers_take_part_where_there_are_some) {
  write(std::string(std::size_t{4} << 20, '\n'));
  errand::pool two{2};
  std::atomic<int> first{0};
  std::atomic<bool> met{false};
  errand::for_each_line(two, file, [&](std::string_view) {
    if (met) return;
    int const mine = thread_number();
    int none = 0;
    if (first.compare_exchange_strong(none, mine))
      while (!met) std::this_thread::yield();
    else if (first != mine)
      met = true;
  });
  EXPECT_TRUE(met);
}

}  // namespace
