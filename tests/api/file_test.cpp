// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// class file: what hundreds of reads and writes at places do when they are under way at once; appends and their order; what
// fails, and how that is said; stops, dropped futures, dropped handles. By the ring, and once more by threads.
#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/files.hpp"
#include "support/scratch.hpp"
#include "support/in_child.hpp"
#include "support/seed.hpp"
#include "support/sequencer.hpp"

namespace {

namespace fs = std::filesystem;
using errand::file;
using errand::open_mode;
using errand_test::contents;
using errand_test::file_threads_held;
using errand_test::generator;
using errand_test::pattern;
using errand_test::put;
using errand_test::require;
using errand_test::rounds;
using errand_test::scratch;
using errand_test::test_seed;

// What nobody holds has ended.
void wait_for_writes() { static_cast<void>(errand::finish()); }

// The error that get() throws, which must name the path; none if it does not throw.
std::error_code error_of(auto&& future, fs::path const& path) {
  try {
    static_cast<void>(future.get());
  } catch (fs::filesystem_error const& e) {
    EXPECT_EQ(e.path1(), path);
    EXPECT_TRUE(std::string_view{e.what()}.starts_with("filesystem error: errand::file: cannot ")) << e.what();
    return e.code();
  }
  return {};
}

// Descriptors of this process that are of files in the directory.
std::size_t open_in(scratch const& dir) {
  std::size_t count = 0;
  for (auto const& each : fs::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;  // the iterator's own
    auto const leads_to = fs::read_symlink(each.path(), gone);
    if (leads_to.string().starts_with(dir.path().string())) ++count;
  }
  return count;
}

// Text that says where it was written, and when.
std::string slot_text(std::size_t slot, unsigned version, std::size_t size) {
  std::string text = "slot " + std::to_string(slot) + " version " + std::to_string(version) + ' ';
  text.resize(size, static_cast<char>('a' + (slot + version) % 26));
  return text;
}

// ---- reading and writing ---------------------------------------------------------------------------------------------

TEST(open_file_places, five_hundred_reads_and_writes_at_once_agree_with_a_model) {
  scratch dir;
  constexpr std::size_t slots = 700, deep = 500, size = 3000;
  generator random{test_seed()};
  file f{dir / "a", open_mode::update};
  f.resize(slots * size).get();

  struct under_way {
    std::size_t slot;
    errand::future<std::string> read;
    errand::future<void> write;
  };
  std::vector<std::string> model(slots, std::string(size, '\0'));
  std::vector<bool> busy(slots, false);
  std::deque<under_way> all;
  std::size_t deepest = 0;
  auto const finish_one = [&] {
    auto const i = random.below(static_cast<unsigned>(all.size()));
    std::swap(all[i], all.front());
    auto& op = all.front();
    if (op.read.valid()) {
      ASSERT_EQ(op.read.get(), model[op.slot]);
    } else {
      op.write.get();
    }
    busy[op.slot] = false;
    all.pop_front();
  };
  for (unsigned n = 0; n != 6000; ++n) {
    while (all.size() >= deep) finish_one();
    std::size_t slot = random.below(slots);
    while (busy[slot]) slot = (slot + 1) % slots;
    busy[slot] = true;
    if (random.one_in(2)) {
      model[slot] = slot_text(slot, n, size);
      all.push_back({slot, {}, f.write_at(slot * size, std::string_view{model[slot]})});
    } else {
      all.push_back({slot, f.read_at(slot * size, size), {}});
    }
    deepest = std::max(deepest, all.size());
  }
  while (!all.empty()) finish_one();
  EXPECT_EQ(deepest, deep);
  f.close();
  std::string expected;
  for (auto const& each : model) expected += each;
  EXPECT_TRUE(contents(dir / "a") == expected);
}

TEST(open_file_places, a_read_is_short_only_where_the_file_ends) {
  scratch dir;
  auto const text = pattern(10'000);
  put(dir / "a", text);
  file const f{dir / "a"};
  EXPECT_TRUE(f.read_at(0, 10'000).get() == text);
  EXPECT_TRUE(f.read_at(100, 1).get() == text.substr(100, 1));
  EXPECT_TRUE(f.read_at(9'000, 5'000).get() == text.substr(9'000));
  EXPECT_EQ(f.read_at(10'000, 1).get(), "");
  EXPECT_EQ(f.read_at(1'000'000'000, 100).get(), "");
  EXPECT_EQ(f.read_at(5, 0).get(), "");
  EXPECT_TRUE(f.read_at(1, SIZE_MAX).get() == text.substr(1));  // no such memory is asked for
  EXPECT_EQ(f.size().get(), 10'000U);
}

TEST(open_file_places, large_pieces_come_whole) {
  scratch dir;
  file f{dir / "a", open_mode::update};
  auto const text = pattern((5 << 20) + 17);
  f.write_at(3, std::string{text}).get();
  EXPECT_TRUE(f.read_at(3, text.size()).get() == text);
  EXPECT_TRUE(f.read_at(3, std::string(text.size() + 9, '?')).get() == text);
  EXPECT_EQ(f.read_at(0, 4).get(), std::string(3, '\0') + text[0]);
}

TEST(open_file_places, files_of_the_kernel_that_say_they_are_empty_give_what_they_have) {
  file const f{"/proc/self/status"};
  EXPECT_TRUE(f.read_at(0, 1 << 22).get().starts_with("Name:"));
  EXPECT_EQ(f.read_at(0, 5).get(), "Name:");
}

TEST(open_file_places, a_buffer_comes_back_with_its_memory) {
  scratch dir;
  put(dir / "a", "0123456789");
  file const f{dir / "a"};
  std::string text(100, '?');
  auto const* const memory = text.data();
  text = f.read_at(2, std::move(text)).get();
  EXPECT_EQ(text, "23456789");
  EXPECT_EQ(text.data(), memory);
  std::vector<std::byte> bytes(3);
  auto const* const of_bytes = bytes.data();
  bytes = f.read_at(1, std::move(bytes)).get();
  EXPECT_EQ(bytes, (std::vector{std::byte{'1'}, std::byte{'2'}, std::byte{'3'}}));
  EXPECT_EQ(bytes.data(), of_bytes);
  EXPECT_EQ(f.read_at(4, std::vector<unsigned char>(2)).get(), (std::vector<unsigned char>{'4', '5'}));
  EXPECT_EQ(f.read_at(4, std::string{}).get(), "");
}

TEST(open_file_places, several_buffers_are_filled_one_behind_the_other) {
  scratch dir;
  put(dir / "a", "0123456789");
  file const f{dir / "a"};
  std::vector<std::string> buffers{std::string(2, '?'), "", std::string(5, '?'), std::string(7, '?'), "xy"};
  EXPECT_EQ(f.read_at(1, std::move(buffers)).get(), (std::vector<std::string>{"12", "", "34567", "89", ""}));
  EXPECT_EQ(f.read_at(0, std::vector<std::string>{}).get().size(), 0U);
  auto const many = f.read_at(0, std::vector<std::vector<char>>(3000, std::vector<char>(1))).get();
  ASSERT_EQ(many.size(), 3000U);
  EXPECT_EQ(many[9], std::vector<char>{'9'});
  EXPECT_TRUE(many[10].empty());
}

TEST(open_file_places, several_pieces_are_written_as_one) {
  scratch dir;
  file f{dir / "a", open_mode::write};
  std::vector<std::string> many;
  std::string all;
  for (int i = 0; i != 3000; ++i) {  // more than the system takes in one call
    many.push_back(std::to_string(i) + (i % 7 == 0 ? std::string(2000, '.') : ","));
    all += many.back();
  }
  many.insert(many.begin() + 5, "");
  f.write_at(10, many).get();
  EXPECT_EQ(many[0].size(), 2001U);  // copied: it was not given away
  f.write_at(0, std::vector<std::string_view>{"01234", "56789"}).get();
  EXPECT_TRUE(contents(dir / "a") == "0123456789" + all);
  f.write_at(10, std::move(many)).get();
  f.write_at(0, std::vector<char const*>{"ab", "cd"}).get();
  f.write_at(0, std::vector<std::string>{}).get();
  f.write_at(0, "").get();
  std::vector<std::byte> const bytes(1, std::byte{'Z'});
  f.write_at(4, bytes).get();
  f.write_at(5, std::span{bytes}).get();
  EXPECT_TRUE(contents(dir / "a") == "abcdZZ6789" + all);
}

TEST(open_file_places, open_modes_make_empty_or_keep) {
  scratch dir;
  put(dir / "a", "old");
  file{dir / "a", open_mode::update}.close();
  EXPECT_EQ(contents(dir / "a"), "old");
  file{dir / "a", open_mode::append}.close();
  EXPECT_EQ(contents(dir / "a"), "old");
  file{dir / "a", open_mode::write}.close();
  EXPECT_EQ(contents(dir / "a"), "");
  for (auto const mode : {open_mode::write, open_mode::update, open_mode::append}) {
    auto const at = dir / std::to_string(static_cast<int>(mode));
    file::open(at, mode).get().close();
    EXPECT_TRUE(fs::exists(at));
  }
}

TEST(open_file_places, resize_cuts_and_fills_with_zeros) {
  scratch dir;
  put(dir / "a", "0123456789");
  file f{dir / "a", open_mode::update};
  f.resize(3).get();
  f.resize(5).get();
  EXPECT_EQ(f.read_at(0, 100).get(), (std::string{"012\0\0", 5}));
  EXPECT_EQ(f.size().get(), 5U);
}

// ---- appends ---------------------------------------------------------------------------------------------------------

TEST(open_file_appends, of_one_thread_keep_their_order_and_of_many_tasks_stay_whole) {
  scratch dir;
  put(dir / "a", "old\n");
  constexpr int tasks = 8, lines = 400;
  {
    file f{dir / "a", open_mode::append};
    errand::for_each_index(tasks, [&](std::size_t i) {
      std::vector<errand::future<void>> ends;
      for (int n = 0; n != lines; ++n) {
        auto const number = std::to_string(n);
        if (n % 50 == 7)  // more pieces than go together with others
          ends.push_back(f.append(std::vector<std::string>(100, std::to_string(i) + "," + number + ";")));
        else if (n % 50 == 8)
          ends.push_back(f.append(std::string(300'000, static_cast<char>('A' + i))));
        else if (n % 50 == 9)
          ends.push_back(f.append(""));
        else
          ends.push_back(f.append(std::vector<std::string>{std::to_string(i), ",", number, ";"}));
      }
      for (auto& each : ends) each.get();
    });
    f.close();
  }
  auto const text = contents(dir / "a");
  ASSERT_TRUE(text.starts_with("old\n"));
  std::vector<int> next(tasks, 0);
  for (std::size_t at = 4; at != text.size();) {
    if (text[at] >= 'A' && text[at] < 'A' + tasks) {
      auto const i = static_cast<std::size_t>(text[at] - 'A');
      ASSERT_EQ(next[i]++ % 50, 8);
      ASSERT_EQ(text.compare(at, 300'000, std::string(300'000, text[at])), 0);
      at += 300'000;
      ++next[i];  // what was empty
      continue;
    }
    auto const comma = text.find(',', at);
    auto const i = std::stoul(text.substr(at, comma - at));
    ASSERT_LT(i, next.size());
    auto const whole = std::to_string(i) + "," + std::to_string(next[i]) + ";";
    for (int repeat = next[i] % 50 == 7 ? 100 : 1; repeat > 0; --repeat, at += whole.size())
      ASSERT_EQ(text.substr(at, whole.size()), whole);
    ++next[i];
  }
  for (int const each : next) EXPECT_EQ(each, lines);
}

TEST(open_file_appends, go_behind_the_end_of_a_file_that_is_open_for_more) {
  scratch dir;
  put(dir / "a", "0123");
  file f{dir / "a", open_mode::update};
  f.append("45").get();
  f.write_at(8, "89").get();
  f.append("ab").get();
  f.write_at(6, "67").get();
  EXPECT_EQ(f.read_at(0, 100).get(), "0123456789ab");
}

TEST(open_file_appends, a_write_at_a_place_is_refused_where_it_would_be_an_append) {
  scratch dir;
  file f{dir / "a", open_mode::append};
  EXPECT_EQ(error_of(f.write_at(0, "x"), dir / "a"), std::errc::bad_file_descriptor);
  f.append("y").get();
  EXPECT_EQ(contents(dir / "a"), "y");
}

TEST(open_file_appends, one_that_is_stopped_in_the_queue_leaves_no_gap) {
  scratch dir;
  file f{dir / "a", open_mode::append};
  {
    file_threads_held const held;
    auto one = f.append("one");
    auto two = f.append("two");
    f.append("three").detach();
    two.request_stop();
    EXPECT_TRUE(two.ready());
    EXPECT_TRUE(two.result().stopped());
    one.detach();
  }
  f.close();
  EXPECT_EQ(contents(dir / "a"), "onethree");
}

// ---- sync, close -----------------------------------------------------------------------------------------------------

TEST(open_file_ends, syncs_at_once_share_their_answer) {
  scratch dir;
  file f{dir / "a", open_mode::write};
  f.write_at(0, pattern(100'000)).get();
  std::vector<errand::future<void>> syncs;
  for (int i = 0; i != 100; ++i) syncs.push_back(f.sync());
  for (auto& each : syncs) each.get();
  file{"/dev/null", open_mode::write}.sync().get();  // there is nothing to be done
}

TEST(open_file_ends, closing_comes_behind_all_that_is_under_way) {
  scratch dir;
  auto const text = pattern(300'000);
  for (int i = 0; i != 30; ++i) {
    file f{dir / "a", open_mode::update};
    std::vector<errand::future<void>> writes;
    for (std::size_t at = 0; at != text.size(); at += 10'000) writes.push_back(f.write_at(at, text.substr(at, 10'000)));
    if (i % 5 == 0) writes.push_back(f.sync());
    auto read = f.read_at(0, 5);
    f.close();
    EXPECT_TRUE(read.ready());
    for (auto& each : writes) {
      EXPECT_TRUE(each.ready());
      each.get();
    }
    ASSERT_TRUE(contents(dir / "a") == text);
  }
}

TEST(open_file_ends, nothing_can_be_asked_of_a_file_that_is_closed_or_moved_away) {
  scratch dir;
  file f{dir / "a", open_mode::update};
  file other = std::move(f);
  EXPECT_THROW(static_cast<void>(f.size()), std::logic_error);  // NOLINT: that is what is tested
  f = std::move(other);
  EXPECT_EQ(f.size().get(), 0U);
  auto closed = f.closed();
  EXPECT_THROW(static_cast<void>(f.read_at(0, 1)), std::logic_error);
  EXPECT_THROW(static_cast<void>(f.write_at(0, "x")), std::logic_error);
  EXPECT_THROW(static_cast<void>(f.append("x")), std::logic_error);
  EXPECT_THROW(static_cast<void>(f.sync()), std::logic_error);
  EXPECT_THROW(static_cast<void>(f.resize(0)), std::logic_error);
  EXPECT_THROW(f.close(), std::logic_error);
  closed.get();
}

TEST(open_file_ends, what_a_dropped_handle_had_under_way_goes_on) {
  scratch dir;
  auto const text = pattern(1'000'000);
  errand::future<std::string> read;
  {
    file f{dir / "a", open_mode::update};
    for (std::size_t at = 0; at != text.size(); at += 1000) f.write_at(at, text.substr(at, 1000)).detach();
    static_cast<void>(f.append("end"));  // somewhere
    read = f.read_at(0, 10);
    f = file{dir / "b", open_mode::write};
    f.write_at(0, "b").detach();
  }
  EXPECT_LE(read.get().size(), 10U);
  static_cast<void>(errand::finish());  // which also counts what other tests left
  EXPECT_EQ(contents(dir / "b"), "b");
  auto all = contents(dir / "a");
  EXPECT_GE(all.size(), text.size());
}

TEST(open_file_ends, descriptors_are_given_back) {
  scratch dir;
  file const stays{dir / "a", open_mode::update};
  for (int i = 0; i != 100; ++i) {
    file f{dir / "a", open_mode::update};
    f.write_at(0, "x").detach();
    if (i % 3 == 0) f.close();
    if (i % 3 == 1) static_cast<void>(file::open(dir / "a"));
  }
  wait_for_writes();
  EXPECT_EQ(open_in(dir), 1U);
}

// ---- errors ----------------------------------------------------------------------------------------------------------

TEST(open_file_errors, of_opening_name_the_path) {
  scratch dir;
  EXPECT_EQ(error_of(file::open(dir / "missing"), dir / "missing"), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of(file::open(dir / "no/where", open_mode::write), dir / "no/where"),
            std::errc::no_such_file_or_directory);
  EXPECT_THROW(file{dir / "missing"}, fs::filesystem_error);
  for (auto const mode : {open_mode::read, open_mode::write, open_mode::update, open_mode::append}) {
    EXPECT_EQ(error_of(file::open(dir.path(), mode), dir.path()), std::errc::is_a_directory);
  }
  if (::geteuid() != 0) {
    put(dir / "shut", "x");
    fs::permissions(dir / "shut", fs::perms::none);
    EXPECT_EQ(error_of(file::open(dir / "shut"), dir / "shut"), std::errc::permission_denied);
  }
}

TEST(open_file_errors, what_has_no_places_is_refused_at_once) {
  scratch dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  for (auto const mode : {open_mode::read, open_mode::write, open_mode::update, open_mode::append})
    EXPECT_EQ(error_of(file::open(dir / "fifo", mode), dir / "fifo"), std::errc::invalid_seek);
  int const terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal >= 0 && ::grantpt(terminal) == 0 && ::unlockpt(terminal) == 0) {
    EXPECT_EQ(error_of(file::open(::ptsname(terminal)), ::ptsname(terminal)), std::errc::invalid_seek);
  }
  ::close(terminal);
}

TEST(open_file_errors, of_operations_are_theirs_alone) {
  scratch dir;
  put(dir / "a", "text");
  file reads{dir / "a"};
  file writes{dir / "b", open_mode::write};
  EXPECT_EQ(error_of(reads.write_at(0, "x"), dir / "a"), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of(reads.append("x"), dir / "a"), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of(reads.resize(1), dir / "a"), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of(writes.read_at(0, 1), dir / "b"), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of(reads.read_at(UINT64_MAX, 1), dir / "a"), std::errc::invalid_argument);
  EXPECT_EQ(error_of(writes.write_at(UINT64_MAX, "x"), dir / "b"), std::errc::invalid_argument);
  EXPECT_TRUE(error_of(writes.resize(UINT64_MAX), dir / "b"));
  EXPECT_EQ(reads.read_at(0, 4).get(), "text");
  writes.write_at(0, "x").get();
  for (auto const mode : {open_mode::write, open_mode::append}) {
    file full{"/dev/full", mode};
    auto first = full.append("1");
    auto second = full.append("2");
    EXPECT_EQ(error_of(first, "/dev/full"), std::errc::no_space_on_device);
    EXPECT_EQ(error_of(second, "/dev/full"), std::errc::no_space_on_device);
  }
  file full{"/dev/full", open_mode::update};
  EXPECT_EQ(error_of(full.write_at(0, "x"), "/dev/full"), std::errc::no_space_on_device);
  EXPECT_EQ(full.read_at(5, 3).get(), std::string(3, '\0'));
}

TEST(open_file_errors, of_a_write_that_nobody_took_are_reported) {
  static std::atomic<int> reports{0};
  reports = 0;
  auto* const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reports; });
  {
    file full{"/dev/full", open_mode::write};
    full.write_at(0, "x").detach();
    static_cast<void>(full.append("x"));
  }
  EXPECT_EQ(errand::finish(), 1);
  errand::set_unobserved_error_handler(before);
  EXPECT_EQ(reports, 2);
}

TEST(open_file_errors, of_a_write_say_how_much_of_it_was_written) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  scratch dir;
  EXPECT_EQ(errand_test::in_child([&] {
              std::signal(SIGXFSZ, SIG_IGN);
              rlimit const limit{10'000, 10'000};
              require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "a limit");
              auto const written = [](errand::future<void> write) {
                try {
                  write.get();
                } catch (errand::write_error const& e) {
                  require(e.code() == std::errc::file_too_large, e.what());
                  return e.written();
                }
                throw std::runtime_error{"it was written"};
              };
              {
                file f{dir / "a", open_mode::update};
                require(written(f.write_at(0, std::string(15'000, 'x'))) == 10'000, "one piece");
                require(written(f.write_at(4000, std::vector<std::string>(9, std::string(1000, 'y')))) == 6000, "several");
                require(written(f.write_at(10'000, "z")) == 0, "none");
                require(f.size().get() == 10'000, "size");
              }
              file f{dir / "b", open_mode::append};
              std::vector<errand::future<void>> appends;
              for (int i = 0; i != 4; ++i) appends.push_back(f.append(std::string(3000, static_cast<char>('0' + i))));
              for (int i = 0; i != 3; ++i) appends[static_cast<std::size_t>(i)].get();
              require(written(std::move(appends[3])) == 1000, "the last of several");
              require(written(f.append("x")) == 0, "behind it");
              f.close();
              require(errand::finish() == 0, "nothing else has failed");
            }),
            0);
  EXPECT_TRUE(contents(dir / "a") == std::string(4000, 'x') + std::string(6000, 'y'));
  EXPECT_TRUE(contents(dir / "b") ==
              std::string(3000, '0') + std::string(3000, '1') + std::string(3000, '2') + std::string(1000, '3'));
}

// ---- who waits -------------------------------------------------------------------------------------------------------

TEST(open_file_waits, threads_tasks_and_coroutines_all_wait_for_it) {
  scratch dir;
  file f{dir / "a", open_mode::update};
  std::thread{[&] { f.write_at(0, "thread,").get(); }}.join();
  errand::async([&] { f.write_at(7, "task,").get(); }).get();
  errand::async([&]() -> errand::task<> {
    co_await f.write_at(12, "coroutine");
    auto const all = co_await f.read_at(0, 100);
    EXPECT_EQ(all, "thread,task,coroutine");
    auto opened = co_await file::open(dir / "a");
    EXPECT_EQ(co_await opened.size(), 21U);
    co_await opened.closed();
  }).get();
  auto chained = f.append("!").then([&] { return f.read_at(20, 100).get(); });
  EXPECT_EQ(chained.get(), "e!");
  auto [one, two] = errand::when_all(f.read_at(0, 1), f.read_at(1, 1)).get();
  EXPECT_EQ(one + two, "th");
}

// ---- stops -----------------------------------------------------------------------------------------------------------

TEST(open_file_stops, before_the_begin_keep_an_operation_from_being_made) {
  scratch dir;
  put(dir / "a", "text");
  file f{dir / "a", open_mode::update};
  {
    file_threads_held const held;
    auto read = f.read_at(0, 4);
    auto write = f.write_at(0, "x");
    auto append = f.append("x");
    auto sync = f.sync();
    auto resize = f.resize(0);
    auto size = f.size();
    for (auto* each : {&write, &append, &sync, &resize}) each->request_stop();
    read.request_stop();
    size.request_stop();
    for (auto* each : {&write, &append, &sync, &resize}) {
      EXPECT_TRUE(each->ready());  // with no file thread's help
      EXPECT_TRUE(each->result().stopped());
    }
    EXPECT_THROW(read.get(), errand::operation_cancelled);
    EXPECT_TRUE(size.result().stopped());
  }
  f.close();
  EXPECT_EQ(contents(dir / "a"), "text");
}

TEST(open_file_stops, of_the_calling_task_end_its_reads_and_leave_its_writes_alone) {
  scratch dir;
  put(dir / "a", "text");
  file f{dir / "a", open_mode::update};
  errand_test::flag waits;
  auto held = std::make_unique<file_threads_held>();
  auto task = errand::async([&] {
    auto write = f.write_at(0, "TEXT");
    auto append = f.append("!");
    auto read = f.read_at(0, 4);
    waits.raise();
    static_cast<void>(read.get());
  });
  waits.wait();
  task.request_stop();
  EXPECT_TRUE(task.result().stopped());
  held.reset();
  f.close();
  EXPECT_EQ(contents(dir / "a"), "TEXT!");
}

TEST(open_file_stops, of_a_task_that_is_stopped_already_a_write_is_made_and_a_read_is_not) {
  scratch dir;
  put(dir / "a", "text");
  file f{dir / "a", open_mode::update};
  errand_test::flag begun;
  auto task = errand::async([&] {
    begun.raise();
    try {
      while (true) errand::this_task::yield();
    } catch (errand::operation_cancelled const&) {
    }
    auto write = f.write_at(0, "TEXT");
    auto read = f.read_at(0, 4);
    while (!read.ready()) std::this_thread::yield();
    return std::move(read).result().stopped();  // there is nothing to wait for, so nothing is thrown
  });
  begun.wait();
  task.request_stop();
  EXPECT_TRUE(task.get());
  f.close();
  EXPECT_EQ(contents(dir / "a"), "TEXT");
}

TEST(open_file_stops, of_closing_close_it_all_the_same) {
  scratch dir;
  for (int i = 0; i != 20; ++i) {
    file f{dir / "a", open_mode::write};
    auto write = f.write_at(0, std::string(100'000, 'x'));
    auto closed = f.closed();
    closed.request_stop();
    static_cast<void>(closed.result());
    write.get();
  }
  wait_for_writes();
  EXPECT_EQ(open_in(dir), 0U);
}

TEST(open_file_stops, raced_against_the_end_give_all_or_nothing) {
  scratch dir;
  generator random{test_seed()};
  constexpr std::size_t size = 2000, slots = 40;
  file f{dir / "a", open_mode::update};
  unsigned ended = 0;
  for (rounds r{100}; r.next();) {
    f.resize(0).get();
    f.resize(slots * size).get();
    std::vector<errand::future<void>> writes;
    std::vector<errand::future<std::string>> reads;
    auto const depth = 1 + random.below(slots);
    for (unsigned i = 0; i != depth; ++i) {
      if (random.one_in(3))
        writes.push_back(f.append(std::string(size, static_cast<char>('a' + i % 26))));
      else
        writes.push_back(f.write_at(i * size, std::string(size, static_cast<char>('A' + i % 26))));
      reads.push_back(f.read_at(i * size, size));
    }
    errand::future<void> sync;
    if (random.one_in(8)) sync = f.sync();
    std::thread other{[&, mine = random.split()]() mutable {
      for (auto& each : reads) {
        errand_test::dither(mine);
        if (mine.one_in(3)) each.request_stop();
        if (mine.one_in(3)) static_cast<void>(std::exchange(each, {}));
      }
    }};
    for (auto& each : writes) {
      errand_test::dither(random);
      if (random.one_in(2)) each.request_stop();
    }
    if (sync.valid()) sync.request_stop();
    other.join();
    std::size_t appended = 0;
    std::size_t expected = 0;
    for (std::size_t i = 0; i != writes.size(); ++i) {
      auto const outcome = writes[i].result();
      ASSERT_TRUE(outcome.has_value() || outcome.stopped());
      if (outcome.has_value()) ++ended;
      expected += outcome.has_value() ? 1U : 0U;
    }
    if (sync.valid()) {
      auto const outcome = sync.result();
      ASSERT_TRUE(outcome.has_value() || outcome.stopped());
    }
    for (auto& each : reads)
      if (each.valid()) {
        auto const outcome = each.result();
        ASSERT_TRUE(outcome.stopped() || outcome.has_value());
      }
    auto const text = contents(dir / "a");
    ASSERT_EQ(text.size() % size, 0U);
    for (std::size_t at = 0; at != text.size(); at += size)
      if (text[at] != '\0') {
        ++appended;
        ASSERT_EQ(text.compare(at, size, std::string(size, text[at])), 0);
      }
    ASSERT_EQ(appended, expected);
  }
  EXPECT_GT(ended, 0U);
}

// Handles and futures are dropped and moved between threads while operations end.
TEST(open_file_stops, handles_and_futures_are_dropped_at_any_time) {
  scratch dir;
  generator random{test_seed()};
  auto const text = pattern(64 << 10);
  put(dir / "a", text);
  for (rounds r{100}; r.next();) {
    auto f = std::make_unique<file>(dir / "a", open_mode::update);
    std::vector<errand::future<std::string>> reads;
    for (auto n = random.below(100); n > 0; --n) {
      auto const at = random.below(64 << 10);
      if (random.one_in(3))
        f->write_at(at, std::string_view{text}.substr(at, 700)).detach();  // as it was
      else
        reads.push_back(f->read_at(at, 1000));
    }
    std::thread other{[&, mine = random.split()]() mutable {
      errand_test::dither(mine);
      f.reset();
    }};
    errand_test::dither(random);
    while (reads.size() > 3) reads.erase(reads.begin() + random.below(static_cast<unsigned>(reads.size())));
    for (auto& each : reads) ASSERT_NE(text.find(each.get()), std::string::npos);
    other.join();
    wait_for_writes();
    ASSERT_TRUE(contents(dir / "a") == text);
  }
}

// ---- processes -------------------------------------------------------------------------------------------------------

TEST(open_file_forks, in_a_child_a_file_of_the_parents_is_refused_and_the_parents_goes_on) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  scratch dir;
  put(dir / "a", "text");
  auto f = std::make_unique<file>(dir / "a", open_mode::update);
  {
    file_threads_held const held;
    auto write = f->write_at(0, "TEXT");
    EXPECT_EQ(errand_test::in_child([&] {
                bool refused = false;
                try {
                  static_cast<void>(f->read_at(0, 4));
                } catch (std::logic_error const&) {
                  refused = true;
                }
                require(refused, "the parent's");
                f.reset();
                file own{dir / "b", open_mode::update};
                own.write_at(0, "own").get();
                require(own.read_at(0, 9).get() == "own", "its own");
                own.close();
                require(errand::finish() == 0, "nothing of the parent's is waited for");
              }),
              0);
    EXPECT_FALSE(write.ready());
    write.detach();
  }
  f->close();
  EXPECT_EQ(contents(dir / "a"), "TEXT");
}

TEST(open_file_kinds, all_this_holds_also_where_threads_do_what_a_ring_would) {
  if (std::getenv("ERRAND_IO") != nullptr) GTEST_SKIP() << "it was chosen from outside";
  std::string program = fs::read_symlink("/proc/self/exe");
  std::string filter = "--gtest_filter=open_file_*";
  std::string brief = "--gtest_brief=1";
  char* arguments[] = {program.data(), filter.data(), brief.data(), nullptr};
  std::string choice = "ERRAND_IO=threads";
  std::vector<char*> environment;
  for (char** each = environ; *each != nullptr; ++each) environment.push_back(*each);
  environment.push_back(choice.data());
  environment.push_back(nullptr);
  pid_t child = -1;
  ASSERT_EQ(::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environment.data()), 0);
  EXPECT_EQ(errand_test::status_of(child), 0);
}

TEST(open_file_places, beyond_the_bound_a_write_returns_when_its_bytes_are_down) {
  scratch const dir;
  file f{dir / "a", open_mode::write};
  std::optional<file_threads_held> held{std::in_place};
  auto writing = errand::async([&f] { return f.write_at(0, std::string(std::size_t{65} << 20, 'x')).ready(); });
  static_cast<void>(writing.wait_for(std::chrono::milliseconds{50}));
  EXPECT_FALSE(writing.ready());
  held.reset();
  EXPECT_TRUE(writing.get());
}

}  // namespace
