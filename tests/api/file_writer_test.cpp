// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// file_writer: what is written behind arrives whole and in its order; errors stick; nothing is lost when it is dropped.
#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/scratch.hpp"

namespace {

namespace fs = std::filesystem;

class file_writer_test : public testing::Test {
 protected:
  [[nodiscard]] fs::path at(char const* name) const { return folder_ / name; }
  static std::string text_in(fs::path const& p) { return errand_test::contents(p); }

 private:
  errand_test::scratch const folder_;
};

std::error_code error_of(auto const& call) {
  try {
    call();
  } catch (fs::filesystem_error const& e) {
    EXPECT_NE(std::string{e.what()}.find("errand::file_writer"), std::string::npos) << e.what();
    return e.code();
  }
  return {};
}

TEST_F(file_writer_test, pieces_of_all_sizes_arrive_in_their_order) {
  std::string all;
  errand::file_writer w{at("a")};
  for (std::size_t size : {0UL, 1UL, 100UL, 262'143UL, 262'144UL, 262'145UL, 3UL, 5'000'000UL, 7UL}) {
    std::string const piece(size, static_cast<char>('a' + size % 26));
    all += piece;
    w.write(piece);
    std::string given = piece + '!';
    all += given;
    w.write(std::move(given));
  }
  w.flush();
  EXPECT_EQ(text_in(at("a")), all);
  w.write("end");
  w.close();
  EXPECT_EQ(text_in(at("a")), all + "end");
  EXPECT_EQ(w.waits(), 0U);
}

TEST_F(file_writer_test, values_are_printed_as_to_chars_writes_them) {
  errand::file_writer w{at("a")};
  w << "x=" << 42 << ',' << -7L << ' ' << 1.5 << ' ' << true << std::string{"\n"};
  w.print("y", '=', 18'446'744'073'709'551'615ULL, '\n');
  w.close();
  EXPECT_EQ(text_in(at("a")), "x=42,-7 1.5 1\ny=18446744073709551615\n");
}

TEST_F(file_writer_test, a_file_to_which_nothing_is_written_is_made_and_emptied) {
  std::ofstream{at("old")} << "old";
  errand::file_writer{at("old")}.close();
  errand::file_writer{at("new")}.close();
  EXPECT_EQ(text_in(at("old")), "");
  EXPECT_TRUE(fs::exists(at("new")));
}

TEST_F(file_writer_test, appending_keeps_what_is_there) {
  std::ofstream{at("a")} << "old,";
  auto w = errand::file_writer::appending(at("a"));
  w.write("new");
  w.close();
  EXPECT_EQ(text_in(at("a")), "old,new");
  EXPECT_THROW(static_cast<void>(errand::file_writer::appending(at("a"), errand::durability::atomic)), std::invalid_argument);
}

TEST_F(file_writer_test, an_atomic_one_shows_the_old_contents_until_it_is_closed) {
  std::ofstream{at("a")} << "old";
  errand::file_writer w{at("a"), errand::durability::atomic};
  w.write("new");
  w.flush();
  EXPECT_EQ(text_in(at("a")), "old");
  w.close();
  EXPECT_EQ(text_in(at("a")), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator{at("a").parent_path()}, {}), 1);
}

TEST_F(file_writer_test, many_writers_write_at_once) {
  constexpr std::size_t writers = 8;
  constexpr int lines = 100'000;
  auto const name = [&](std::size_t i) { return at(("w" + std::to_string(i)).c_str()); };
  errand::for_each_index(writers, [&](std::size_t i) {
    errand::file_writer w{name(i), errand::durability::synced};
    for (int n = 0; n < lines; ++n) w.print("writer ", i, " line ", n, '\n');
    w.close();
  });
  for (std::size_t i = 0; i < writers; ++i) {
    std::string expected;
    for (int n = 0; n < lines; ++n) expected += "writer " + std::to_string(i) + " line " + std::to_string(n) + '\n';
    EXPECT_TRUE(text_in(name(i)) == expected) << i;
  }
}

// Beyond 8 MiB it is a stream, past the page cache; a flush may leave it at any place.
TEST_F(file_writer_test, a_large_one_is_whole_wherever_it_is_flushed) {
  std::string all;
  errand::file_writer w{at("a")};
  std::string line;
  for (unsigned n = 0; all.size() < std::size_t{40} << 20; ++n) {
    line.assign(n % 1999, static_cast<char>('a' + n % 26));
    line += '\n';
    all += line;
    w << line;
    if (n % 9973 == 9972) {
      w.flush();
      EXPECT_EQ(fs::file_size(at("a")), all.size());
    }
    if (n % 7919 == 7918) {
      std::string given((std::size_t{1} << 20) + n, 'G');
      all += given;
      w.write(std::move(given));
    }
  }
  w.close();
  EXPECT_TRUE(text_in(at("a")) == all);
}

TEST_F(file_writer_test, what_is_given_to_one_that_is_dropped_is_written) {
  { errand::file_writer{at("a")}.write("all of it"); }
  static_cast<void>(errand::finish());  // which also counts what other tests left
  EXPECT_EQ(text_in(at("a")), "all of it");
}

// The limit is for what does not get on. (The reader's pauses are what is tested, and far from it.)
TEST_F(file_writer_test, the_end_of_the_program_waits_as_long_as_a_write_gets_on) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  constexpr std::size_t mib = std::size_t{1} << 20;
  auto const pipe = at("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  pid_t const child = ::fork();
  if (child == 0) {
    setenv("ERRAND_EXIT_DEADLINE", "1", 1);
    errand::file_writer{pipe}.write(std::string(5 * mib, 'x'));
    ::_exit(errand::finish());
  }
  std::ifstream in{pipe, std::ios::binary};
  std::string got(6 * mib, '\0');
  std::size_t filled = 0;
  while (in.read(got.data() + filled, mib) || in.gcount() != 0) {
    filled += static_cast<std::size_t>(in.gcount());
    ASSERT_LE(filled, 5 * mib);
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(filled, 5 * mib);
}

TEST_F(file_writer_test, in_the_child_of_a_fork_the_parents_takes_nothing) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  errand::file_writer w{at("a")};
  w << "the parent's, ";
  pid_t const child = ::fork();
  if (child == 0) {
    int refused = 0;
    for (auto const& call : {+[](errand::file_writer& f) { f << "x"; }, +[](errand::file_writer& f) { f.flush(); },
                             +[](errand::file_writer& f) { f.close(); }, +[](errand::file_writer& f) { f.retry(); }}) {
      try {
        call(w);
      } catch (std::logic_error const&) {
        ++refused;
      }
    }
    { auto const dropped = std::move(w); }
    errand::write_file(at("childs"), "own").get();
    ::_exit(refused == 4 && errand::finish() == 0 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  w << "all of it";
  w.close();
  EXPECT_EQ(text_in(at("a")), "the parent's, all of it");
  EXPECT_EQ(text_in(at("childs")), "own");
}

TEST_F(file_writer_test, finish_hands_over_what_is_collected_and_the_writer_goes_on) {
  errand::file_writer w{at("a")};
  errand::file_writer const untouched{at("b")};
  errand::file_writer whole{at("c"), errand::durability::atomic};
  whole << "not closed";
  std::string all;
  for (std::size_t size : {4UL, 0UL, 70'000UL, 300'000UL, 3UL, 9'000'000UL, 1'500'000UL, 77UL}) {
    std::string const piece(size, static_cast<char>('a' + size % 26));
    all += piece;
    w << piece;
    static_cast<void>(errand::finish());  // which also counts what other tests left
    EXPECT_TRUE(text_in(at("a")) == all) << size;
  }
  EXPECT_TRUE(fs::exists(at("b")));
  EXPECT_FALSE(fs::exists(at("c")));
  whole.close();
  w.close();
  EXPECT_TRUE(text_in(at("a")) == all);
}

TEST_F(file_writer_test, the_error_of_a_writer_that_still_stands_is_reported_once) {
  static std::atomic<int> reports{0};
  reports = 0;
  auto const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reports; });
  {
    errand::file_writer w{"/dev/full"};
    w << "no room";
    EXPECT_EQ(errand::finish(), 1);
    EXPECT_EQ(errand::finish(), 1);
    EXPECT_EQ(error_of([&] { w.close(); }), std::errc::no_space_on_device);
  }
  EXPECT_EQ(errand::finish(), 1);
  EXPECT_EQ(reports, 1);
  errand::set_unobserved_error_handler(before);
}

// While nothing is written at all.
TEST_F(file_writer_test, a_burst_of_less_than_the_bound_does_not_wait) {
  constexpr std::size_t mib = std::size_t{1} << 20;
  std::string const piece(mib, 'p');
  errand::file_writer w{at("a")};
  {
    errand_test::file_threads_held const held;
    for (int i = 0; i < 30; ++i) w.write(piece);
    for (int i = 0; i < 30; ++i) w.write(std::string{piece});
    EXPECT_EQ(w.waits(), 0U);
    EXPECT_FALSE(w.try_write(std::string(8 * mib, 'q')));
    EXPECT_TRUE(w.try_write("r"));
  }
  w.close();
  EXPECT_EQ(fs::file_size(at("a")), 60 * mib + 1);
}

// What is left of a part in the stream goes with the next one: who waits for room must not wait for it.
TEST_F(file_writer_test, pieces_of_odd_sizes_beyond_the_bound_are_not_waited_for_in_vain) {
  std::string all;
  errand::file_writer w{at("a")};
  for (std::size_t const mib : {70UL, 70UL, 66UL}) {
    std::string piece((mib << 20) + 300'001, static_cast<char>('a' + mib % 26));
    all += piece;
    w.write(std::move(piece));
  }
  w.flush();
  w << "a little" << std::string(3'000'001, 'b');
  all += "a little" + std::string(3'000'001, 'b');
  w.close();
  EXPECT_TRUE(text_in(at("a")) == all);
}

TEST_F(file_writer_test, an_error_sticks_until_it_is_tried_again) {
  errand::file_writer w{"/dev/full"};
  w.write("lost?");
  EXPECT_EQ(error_of([&] { w.flush(); }), std::errc::no_space_on_device);
  EXPECT_EQ(error_of([&] { w.write("more"); }), std::errc::no_space_on_device);
  EXPECT_EQ(error_of([&] { w.flush(); }), std::errc::no_space_on_device);
  EXPECT_EQ(error_of([&] { w.close(); }), std::errc::no_space_on_device);
}

TEST_F(file_writer_test, what_was_not_written_is_kept_and_written_when_tried_again) {
  auto const folder = at("later");
  errand::file_writer w{folder / "a"};
  w.write("one ");
  EXPECT_EQ(error_of([&] { w.flush(); }), std::errc::no_such_file_or_directory);
  fs::create_directory(folder);
  w.retry();
  w.write("two");
  w.close();
  EXPECT_EQ(text_in(folder / "a"), "one two");
}

TEST_F(file_writer_test, an_error_that_nobody_took_is_reported) {
  static std::atomic<int> reports{0};
  reports = 0;
  auto const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reports; });
  { errand::file_writer{"/dev/full"}.write("lost"); }
  EXPECT_NE(errand::finish(), 0);
  EXPECT_EQ(reports, 1);
  {
    errand::file_writer w{"/dev/full"};
    w.write("lost");
    EXPECT_EQ(error_of([&] { w.flush(); }), std::errc::no_space_on_device);
  }
  EXPECT_NE(errand::finish(), 0);
  EXPECT_EQ(reports, 1);
  errand::set_unobserved_error_handler(before);
}

TEST_F(file_writer_test, after_close_there_is_nothing_to_write) {
  errand::file_writer w{at("a")};
  w.close();
  EXPECT_THROW(w.write("x"), std::logic_error);
  w.close();
  errand::file_writer const other = std::move(w);
  EXPECT_THROW(w.flush(), std::logic_error);  // NOLINT(bugprone-use-after-move)
}

errand::task<void> write_from_a_coroutine(fs::path to) {
  errand::file_writer w{std::move(to)};
  w.write("one");
  co_await w.flushed();
  w.write("two");
  co_await w.closed();
}

TEST_F(file_writer_test, tasks_and_coroutines_wait_for_it) {
  write_from_a_coroutine(at("a")).get();
  EXPECT_EQ(text_in(at("a")), "onetwo");
  errand::async([&] {
    errand::file_writer w{at("b")};
    w.write("three");
    w.close();
  }).get();
  EXPECT_EQ(text_in(at("b")), "three");
}

}  // namespace
