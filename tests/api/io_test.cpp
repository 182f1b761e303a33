// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole files: read_file, write_file, append_file. What arrives, what fails and how that is said, what a stop and a dropped
// future do; on regular files, FIFOs, devices and files of the kernel's.
#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sched/threads.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/scratch.hpp"
#include "support/seed.hpp"
#include "support/sequencer.hpp"

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using errand::durability;
using errand_test::contents;
using errand_test::file_threads_held;
using errand_test::in_child;
using errand_test::pattern;
using errand_test::put;
using errand_test::require;
using errand_test::scratch;

void wait_until(auto condition) {
  while (!condition()) std::this_thread::yield();
}

struct fifo {
  scratch dir;
  fs::path at = dir / "fifo";
  fifo() {
    if (::mkfifo(at.c_str(), 0600) != 0) throw std::runtime_error{"mkfifo"};
  }
};

// What an operation fails with, if it fails as operations on files do.
struct failure {
  std::error_code code;
  fs::path path;
  std::string what;
};
template <class T>
std::optional<failure> failure_of(errand::future<T> f) {
  try {
    static_cast<void>(f.get());
  } catch (fs::filesystem_error const& e) {
    return failure{e.code(), e.path1(), e.what()};
  }
  return std::nullopt;
}
#define EXPECT_FAILS(operation, of, error)                                      \
  do {                                                                          \
    auto const failed = failure_of(operation);                                  \
    ASSERT_TRUE(failed.has_value());                                            \
    EXPECT_EQ(failed->code, std::errc::error) << failed->what;                  \
    EXPECT_EQ(failed->path, of);                                                \
    EXPECT_NE(failed->what.find((of).string()), std::string::npos) << failed->what; \
  } while (false)

// The bytes are written, not what was left of the arguments. finish() waits for what nobody holds.
void wait_for_writes() { static_cast<void>(errand::finish()); }

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator{"/proc/self/fd"}, fs::directory_iterator{}));
}

// ---- what arrives ----------------------------------------------------------------------------------------------------

TEST(whole_files, of_all_sizes_are_written_and_read_back) {
  scratch dir;
  constexpr std::size_t step = 256 << 10;
  for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{14}, std::size_t{15}, std::size_t{16},
                                 std::size_t{4095}, std::size_t{4096}, std::size_t{4097}, step - 1, step, step + 1,
                                 2 * step, std::size_t{5 << 20} + 3}) {
    auto const expected = pattern(size);
    for (auto const how : {durability::cached, durability::synced, durability::atomic}) {
      errand::write_file(dir / "file", std::string{expected}, how).get();
      ASSERT_TRUE(contents(dir / "file") == expected) << size;
      ASSERT_TRUE(errand::read_file(dir / "file").get() == expected) << size;
    }
  }
  EXPECT_EQ(dir.entries(), 1U);
}

static_assert(!errand::detail::writable_bytes<std::vector<int>&>);
static_assert(!errand::detail::writable_bytes<std::vector<bool>>);
static_assert(!errand::detail::writable_bytes<int>);

TEST(whole_files, bytes_of_many_types_are_written_and_what_is_given_away_is_moved) {
  scratch dir;
  auto const written = [&](auto&& bytes) {
    errand::write_file(dir / "file", std::forward<decltype(bytes)>(bytes)).get();
    return contents(dir / "file");
  };
  EXPECT_EQ(written("literal"), "literal");
  EXPECT_EQ(written(std::string_view{"v\0w", 3}), (std::string{"v\0w", 3}));
  EXPECT_EQ(written(u8"\u00e4"), "\xc3\xa4");
  char const* const pointer = "pointer";
  EXPECT_EQ(written(pointer), "pointer");
  std::string text = pattern(1000);
  EXPECT_TRUE(written(text) == pattern(1000));
  EXPECT_TRUE(text == pattern(1000));
  EXPECT_TRUE(written(std::move(text)) == pattern(1000));
  EXPECT_EQ(text, "");  // NOLINT(bugprone-use-after-move)
  std::vector<char> chars{'a', '\0', 'c'};
  EXPECT_EQ(written(chars), (std::string{"a\0c", 3}));
  EXPECT_EQ(written(std::span<char const>{chars}.first(1)), "a");
  EXPECT_EQ(written(std::move(chars)), (std::string{"a\0c", 3}));
  EXPECT_TRUE(chars.empty());  // NOLINT(bugprone-use-after-move)
  std::vector<std::byte> bytes(3, std::byte{'x'});
  EXPECT_EQ(written(bytes), "xxx");
  EXPECT_EQ(written(std::move(bytes)), "xxx");
  std::vector<unsigned char> const fixed(2, 'u');
  EXPECT_EQ(written(fixed), "uu");
  EXPECT_EQ(written(std::vector<unsigned char>(2, 'u')), "uu");
  EXPECT_EQ(written(std::array<unsigned char, 2>{'1', '2'}), "12");
  EXPECT_EQ(written(std::vector<char>{}), "");
}

TEST(whole_files, what_was_copied_may_change_at_once) {
  scratch dir;
  std::string text = "before";
  errand::future<void> write;
  {
    file_threads_held const held;
    write = errand::write_file(dir / "file", std::string_view{text});
    text = "after!";
    EXPECT_FALSE(write.ready());
    EXPECT_FALSE(fs::exists(dir / "file"));
  }
  write.get();
  EXPECT_EQ(contents(dir / "file"), "before");
}

TEST(whole_files, are_replaced_and_appended_to) {
  scratch dir;
  put(dir / "file", "a longer text than the next one");
  errand::write_file(dir / "file", "short").get();
  EXPECT_EQ(contents(dir / "file"), "short");
  errand::append_file(dir / "file", ", longer").get();
  errand::append_file(dir / "file", std::string{"."}, durability::synced).get();
  EXPECT_EQ(contents(dir / "file"), "short, longer.");
  errand::append_file(dir / "new", "made").get();
  EXPECT_EQ(contents(dir / "new"), "made");
  EXPECT_THROW(static_cast<void>(errand::append_file(dir / "new", "x", durability::atomic)), std::invalid_argument);
  EXPECT_EQ(contents(dir / "new"), "made");
}

TEST(whole_files, a_relative_path_means_the_directory_at_the_time_of_the_call) {
  scratch first;
  scratch second;
  auto const before = fs::current_path();
  put(first / "in", "first's");
  put(second / "in", "second's");
  fs::current_path(first.path());
  errand::future<void> write;
  errand::future<void> replace;
  errand::future<std::string> read;
  {
    file_threads_held const held;
    write = errand::write_file("out", "here");
    replace = errand::write_file("also", "here", durability::atomic);
    read = errand::read_file("in");
    fs::current_path(second.path());
  }
  write.get();
  replace.get();
  EXPECT_EQ(read.get(), "first's");
  EXPECT_FAILS(errand::read_file("out"), fs::path{"out"}, no_such_file_or_directory);
  fs::current_path(before);
  EXPECT_EQ(contents(first / "out"), "here");
  EXPECT_EQ(contents(first / "also"), "here");
  EXPECT_EQ(second.entries(), 1U);
}

TEST(whole_files, ten_thousand_small_ones) {
  scratch dir;
  constexpr int count = 10'000;
  std::vector<errand::future<void>> writes;
  for (int i = 0; i < count; ++i) writes.push_back(errand::write_file(dir / std::to_string(i), "file " + std::to_string(i)));
  for (auto& f : writes) f.get();
  std::vector<errand::future<std::string>> reads;
  for (int i = 0; i < count; ++i) reads.push_back(errand::read_file(dir / std::to_string(i)));
  for (int i = 0; i < count; ++i) ASSERT_EQ(reads[static_cast<std::size_t>(i)].get(), "file " + std::to_string(i));
  EXPECT_EQ(dir.entries(), static_cast<std::size_t>(count));
}

TEST(whole_files, are_waited_for_from_everywhere) {
  scratch dir;
  auto const round_trip = [&](std::string const& name) {
    errand::write_file(dir / name, name).get();
    return errand::read_file(dir / name).get();
  };
  EXPECT_EQ(round_trip("main"), "main");
  EXPECT_EQ(errand::async([&] { return round_trip("task"); }).get(), "task");
  EXPECT_EQ(errand::async(errand::blocking, [&] { return round_trip("blocking"); }).get(), "blocking");
  EXPECT_EQ(errand::async(errand::inplace, [&] { return round_trip("inplace"); }).get(), "inplace");
  auto const coroutine = [&](std::string name) -> errand::task<std::string> {
    co_await errand::write_file(dir / name, std::string_view{name});
    co_return co_await errand::read_file(dir / name);
  };
  EXPECT_EQ(errand::async([&] { return coroutine("coroutine"); }).get(), "coroutine");
  EXPECT_EQ(errand::async(errand::blocking, [&] { return coroutine("there"); }).get(), "there");
  std::string by_thread;
  std::thread{[&] { by_thread = round_trip("thread"); }}.join();
  EXPECT_EQ(by_thread, "thread");
}

TEST(whole_files, a_task_that_waits_for_one_leaves_its_worker_to_others) {
  scratch dir;
  put(dir / "file", "text");
  errand::pool one{{.workers = 1, .spares = 0}};
  errand::future<std::string> waits;
  {
    file_threads_held const held;
    errand_test::flag begun;
    waits = errand::async(one, [&] {
      auto read = errand::read_file(dir / "file");
      begun.raise();
      return read.get();
    });
    begun.wait();
    errand::async(one, [] {}).get();  // hangs if the worker is blocked
    EXPECT_FALSE(waits.ready());
  }
  EXPECT_EQ(waits.get(), "text");
}

TEST(whole_files, go_on_with_then_and_join_in_when_all) {
  scratch dir;
  auto length = errand::write_file(dir / "a", "aaa").then([&] { return errand::read_file(dir / "a").get().size(); });
  EXPECT_EQ(length.get(), 3U);
  auto [first, second] = errand::when_all(errand::read_file(dir / "a"), errand::read_file(dir / "a")).get();
  EXPECT_EQ(first + second, "aaaaaa");
  auto shared = errand::read_file(dir / "a").share();
  auto const copy = shared;
  EXPECT_EQ(shared.get(), "aaa");
  EXPECT_EQ(copy.get(), "aaa");
}

// ---- what fails ------------------------------------------------------------------------------------------------------

TEST(file_errors, name_the_path_and_say_what_the_system_said) {
  scratch dir;
  put(dir / "file", "");
  EXPECT_FAILS(errand::read_file(dir / "missing"), dir / "missing", no_such_file_or_directory);
  EXPECT_FAILS(errand::read_file(dir.path()), dir.path(), is_a_directory);
  EXPECT_FAILS(errand::read_file(dir / "file/below"), dir / "file/below", not_a_directory);
  EXPECT_FAILS(errand::read_file(fs::path{}), fs::path{}, no_such_file_or_directory);
  EXPECT_FAILS(errand::read_file(dir / std::string(300, 'n')), dir / std::string(300, 'n'), filename_too_long);
  fs::create_symlink("loop", dir / "loop");
  fs::path const with_nul = dir / std::string{"file\0x", 6};
  auto const refused = failure_of(errand::read_file(with_nul));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, std::errc::invalid_argument);
  for (auto const how : {durability::cached, durability::synced, durability::atomic}) {
    EXPECT_FAILS(errand::write_file(dir / "no/such", "x", how), dir / "no/such", no_such_file_or_directory);
    EXPECT_FAILS(errand::write_file(dir.path(), "x", how), dir.path(), is_a_directory);
    EXPECT_FAILS(errand::write_file(dir / "", "x", how), dir / "", is_a_directory);
    EXPECT_FAILS(errand::write_file(dir / ".", "x", how), dir / ".", is_a_directory);
    EXPECT_FAILS(errand::write_file(fs::path{}, "x", how), fs::path{}, no_such_file_or_directory);
    EXPECT_FAILS(errand::write_file(dir / "file/below", "x", how), dir / "file/below", not_a_directory);
    EXPECT_FAILS(errand::write_file(dir / "loop", "x", how), dir / "loop", too_many_symbolic_link_levels);
    EXPECT_FAILS(errand::write_file(dir / std::string(300, 'n'), "x", how), dir / std::string(300, 'n'), filename_too_long);
    auto const nul = failure_of(errand::write_file(with_nul, "x", how));
    ASSERT_TRUE(nul);
    EXPECT_EQ(nul->code, std::errc::invalid_argument);
  }
  EXPECT_EQ(dir.entries(), 2U);
}

TEST(file_errors, leave_no_descriptor_open) {
  scratch dir;
  auto const provoke = [&] {
    static_cast<void>(failure_of(errand::read_file(dir.path())));
    static_cast<void>(failure_of(errand::write_file("/dev/full", "x")));
    static_cast<void>(failure_of(errand::write_file(dir.path(), "x", durability::atomic)));
    static_cast<void>(failure_of(errand::write_file("/dev/full", "x", durability::atomic)));
    errand::write_file(dir / "file", "x", durability::atomic).get();
    static_cast<void>(errand::read_file(dir / "file").get());
  };
  provoke();
  auto const before = open_descriptors();
  for (int i = 0; i < 20; ++i) provoke();
  EXPECT_EQ(open_descriptors(), before);
}

TEST(file_errors, a_full_disk_is_said) {
  fs::path const full = "/dev/full";
  EXPECT_FAILS(errand::write_file(full, "x"), full, no_space_on_device);
  EXPECT_FAILS(errand::write_file(full, pattern(3 << 20)), full, no_space_on_device);
  EXPECT_FAILS(errand::append_file(full, "x", durability::synced), full, no_space_on_device);
  errand::write_file(full, "").get();
  errand::write_file("/dev/null", pattern(1 << 20), durability::synced).get();
}

TEST(file_errors, without_permission) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  scratch dir;
  put(dir / "mine", "secret");
  fs::permissions(dir.path(), fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
  fs::permissions(dir / "mine", fs::perms::owner_read);  // not even its owner may write
  auto const outcome = in_child([&] {
    bool const stranger = ::geteuid() == 0;
    if (stranger && ::setuid(65534) != 0) throw std::runtime_error{"setuid"};
    auto const denied = [](std::optional<failure> const& f) { return f && f->code == std::errc::permission_denied; };
    if (stranger) require(denied(failure_of(errand::read_file(dir / "mine"))), "read");
    for (auto const how : {durability::cached, durability::synced, durability::atomic})
      require(denied(failure_of(errand::write_file(dir / "mine", "x", how))), "written");
    if (stranger) require(denied(failure_of(errand::write_file(dir / "new", "x", durability::atomic))), "made");
  });
  EXPECT_EQ(outcome, 0);
  EXPECT_EQ(contents(dir / "mine"), "secret");
  EXPECT_EQ(dir.entries(), 1U);
}

TEST(file_errors, beyond_the_largest_size_a_file_may_have) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  scratch dir;
  put(dir / "kept", "old");
  auto const outcome = in_child([&] {
    static_cast<void>(errand::read_file("/dev/null").get());  // what is made before the first thread has files of its own
    rlimit const limit{10'000, 10'000};
    require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
    std::signal(SIGXFSZ, SIG_DFL);  // which would end the program
    auto const too_large = [](std::optional<failure> const& f) { return f && f->code == std::errc::file_too_large; };
    require(too_large(failure_of(errand::write_file(dir / "cut", pattern(20'000)))), "written");
    require(too_large(failure_of(errand::write_file(dir / "kept", pattern(20'000), durability::atomic))), "replaced");
    errand::append_file(dir / "fits", pattern(6'000)).get();
    require(too_large(failure_of(errand::append_file(dir / "fits", pattern(6'000)))), "appended");
  });
  EXPECT_EQ(outcome, 0);
  EXPECT_TRUE(contents(dir / "cut") == pattern(10'000));  // the short write went on up to there
  EXPECT_EQ(contents(dir / "kept"), "old");
  EXPECT_EQ(dir.entries(), 3U);
}

TEST(file_errors, with_no_descriptor_left) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  scratch dir;
  put(dir / "file", "old");
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  auto const outcome = in_child([&] {
    static_cast<void>(errand::read_file(dir / "file").get());
    int const lowest = ::dup(0);
    ::close(lowest);
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    auto const leave = [&](int count) {
      limit.rlim_cur = static_cast<rlim_t>(lowest + count);
      require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    };
    auto const none_left = [&](std::optional<failure> const& f, char const* path) {
      return f && f->code == std::errc::too_many_files_open && f->path == dir / path;
    };
    leave(0);
    require(none_left(failure_of(errand::read_file(dir / "file")), "file"), "read");
    require(none_left(failure_of(errand::write_file(dir / "file", "new")), "file"), "written");
    require(none_left(failure_of(errand::write_file(dir / "file", "new", durability::atomic)), "file"), "replaced");
    leave(1);  // for the directory, or the FIFO
    require(none_left(failure_of(errand::write_file(dir / "file", "new", durability::atomic)), "file"), "replaced by one");
    require(none_left(failure_of(errand::read_file(dir / "fifo")), "fifo"), "waited for");
    leave(2);
    errand::write_file(dir / "file", "new", durability::atomic).get();
  });
  EXPECT_EQ(outcome, 0);
  EXPECT_EQ(contents(dir / "file"), "new");
  EXPECT_EQ(dir.entries(), 2U);
}

TEST(file_errors, where_no_thread_can_be_started_the_caller_does_the_work_and_what_may_wait_for_ever_fails) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  fifo f;
  fs::permissions(f.dir.path(), fs::perms::all);
  ASSERT_EQ(::chmod(f.at.c_str(), 0666), 0);
  auto const outcome = in_child([&] {
    errand::detail::run_first_thread_hooks();  // these fork
    if (::geteuid() == 0 && ::setuid(65534) != 0) throw std::runtime_error{"setuid"};
    rlimit const none{0, 0};
    require(::setrlimit(RLIMIT_NPROC, &none) == 0, "setrlimit");
    auto write = errand::write_file(f.dir / "file", "text");
    require(write.ready(), "by whom?");
    write.get();
    require(errand::read_file(f.dir / "file").get() == "text", "read");
    try {
      static_cast<void>(errand::read_file(f.at).get());
      require(false, "a FIFO was read");
    } catch (std::system_error const& e) {
      require(e.code() == std::errc::resource_unavailable_try_again, e.what());
    }
  });
  EXPECT_EQ(outcome, 0);
}

std::mutex reports_guard;
std::vector<std::string> reports;
std::vector<unsigned> report_lines;

TEST(file_errors, that_nobody_took_are_reported_with_line_and_path) {
  auto* const before = errand::set_unobserved_error_handler([](errand::unobserved_error const& e) {
    std::lock_guard const held{reports_guard};
    report_lines.push_back(e.from.line());
    try {
      std::rethrow_exception(e.error);
    } catch (std::exception const& what) {
      reports.emplace_back(what.what());
    }
  });
  auto held = errand::write_file("/dev/full", "x");
  auto const line_of_held = static_cast<unsigned>(__LINE__ - 1);
  held.wait();
  held = {};
  static_cast<void>(errand::write_file("/no/such/file", "x"));
  auto const line_of_dropped = static_cast<unsigned>(__LINE__ - 1);
  static_cast<void>(failure_of(errand::write_file("/dev/full", "taken")));
  EXPECT_EQ(errand::finish(), 1);
  errand::set_unobserved_error_handler(before);
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_NE(reports[0].find("/dev/full"), std::string::npos) << reports[0];
  EXPECT_EQ(report_lines[0], line_of_held);
  EXPECT_NE(reports[1].find("/no/such/file"), std::string::npos) << reports[1];
  EXPECT_EQ(report_lines[1], line_of_dropped);
}

// ---- files that are no files -----------------------------------------------------------------------------------------

TEST(unusual_files, of_the_kernel_are_read_to_their_end_though_they_say_that_they_are_empty) {
  auto const status = errand::read_file("/proc/self/status").get();
  EXPECT_NE(status.find("\nPid:\t" + std::to_string(::getpid()) + "\n"), std::string::npos) << status;
  auto const maps = errand::read_file("/proc/self/maps").get();  // longer than what one read gives
  EXPECT_GT(maps.size(), 4096U);
  EXPECT_NE(maps.find("[stack]"), std::string::npos);
  EXPECT_EQ(errand::read_file("/dev/null").get(), "");
}

TEST(unusual_files, a_fifo_is_read_until_its_writers_have_closed_it) {
  fifo f;
  auto read = errand::read_file(f.at);
  auto const expected = pattern(1 << 20);  // more than it holds
  {
    std::ofstream writer{f.at, std::ios::binary};  // blocks until it is opened for reading
    for (std::size_t i = 0; i < expected.size(); i += 1000)
      writer << std::string_view{expected}.substr(i, 1000) << std::flush;
  }
  EXPECT_TRUE(read.get() == expected);
}

TEST(unusual_files, a_fifo_that_is_opened_and_closed_gives_nothing) {
  fifo f;
  auto read = errand::read_file(f.at);
  ::close(::open(f.at.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(read.get(), "");
}

TEST(unusual_files, a_fifo_is_written_once_somebody_reads_it) {
  fifo f;
  auto const expected = pattern(1 << 20);
  auto write = errand::write_file(f.at, std::string_view{expected});
  auto again = errand::read_file(f.at);
  EXPECT_TRUE(again.get() == expected);
  write.get();
  auto atomically = errand::write_file(f.at, "x", durability::atomic);
  EXPECT_FAILS(std::move(atomically), f.at, invalid_argument);
}

TEST(unusual_files, whose_reader_goes_away_are_an_error_and_no_signal) {
  fifo f;
  auto write = errand::write_file(f.at, pattern(1 << 20));
  int const reader = ::open(f.at.c_str(), O_RDONLY | O_CLOEXEC);
  char one = 0;
  ASSERT_EQ(::read(reader, &one, 1), 1);
  ::close(reader);
  EXPECT_FAILS(std::move(write), f.at, broken_pipe);
}

TEST(unusual_files, that_nobody_serves_hold_up_no_file_thread) {
  fifo f;
  std::vector<errand::future<std::string>> reads;
  auto const count = 2 * errand::detail::file_threads::of_process().most();
  for (unsigned i = 0; i < count; ++i) reads.push_back(errand::read_file(f.at));
  auto second = f.dir / "other";
  ASSERT_EQ(::mkfifo(second.c_str(), 0600), 0);
  std::vector<errand::future<void>> writes;
  for (unsigned i = 0; i < count; ++i) writes.push_back(errand::write_file(second, "x"));
  errand::write_file(f.dir / "plain", "text").get();
  EXPECT_EQ(errand::read_file(f.dir / "plain").get(), "text");

  for (auto& read : reads) EXPECT_FALSE(read.ready());
  for (auto& read : reads) read.request_stop();
  for (auto& read : reads) EXPECT_TRUE(read.result().stopped());
  int const reader = ::open(second.c_str(), O_RDWR | O_CLOEXEC);
  for (auto& write : writes) write.get();
  ::close(reader);
}

TEST(unusual_files, a_dropped_read_ends_though_nobody_ever_writes) {
  fifo f;
  for (int i = 0; i < 50; ++i) {
    auto read = errand::read_file(f.at);
    if (i % 2 == 0)
      wait_until([&] {  // its thread waits: it has opened the FIFO
        int const probe = ::open(f.at.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (probe >= 0) ::close(probe);
        return probe >= 0;
      });
  }
}

TEST(unusual_files, a_terminal_is_read_to_its_end_of_file) {
  int const master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) GTEST_SKIP() << "no terminals here";
  auto read = errand::read_file(::ptsname(master));
  int const keep_open = ::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_EQ(::write(master, "line\n\x04", 6), 6);
  EXPECT_EQ(read.get(), "line\n");
  ::close(keep_open);
  ::close(master);
}

TEST(unusual_files, that_shrink_or_grow_while_they_are_read_give_what_is_there) {
  scratch dir;
  auto const at = dir / "file";
  auto const whole = pattern(4 << 20);
  errand_test::generator random{errand_test::test_seed()};
  for (errand_test::rounds r{30}; r.next();) {
    put(at, std::string_view{whole}.substr(0, 2 << 20));
    auto const size = static_cast<off_t>(random.below(4 << 20));
    auto read = errand::read_file(at);
    errand_test::dither(random);
    if (size < 2 << 20) {
      ASSERT_EQ(::truncate(at.c_str(), size), 0);
    } else {
      std::ofstream{at, std::ios::binary | std::ios::app}
          << std::string_view{whole}.substr(2 << 20, static_cast<std::size_t>(size) - (2 << 20));
    }
    auto const text = read.get();
    ASSERT_LE(text.size(), static_cast<std::size_t>(std::max(size, off_t{2 << 20})));
    ASSERT_GE(text.size(), static_cast<std::size_t>(std::min(size, off_t{2 << 20})));
    ASSERT_TRUE(whole.starts_with(text));
  }
}

// ---- atomic ----------------------------------------------------------------------------------------------------------

TEST(atomic_writes, whoever_reads_meanwhile_finds_the_old_contents_or_the_new) {
  scratch dir;
  auto const at = dir / "file";
  std::string const versions[] = {std::string(100'000, 'o'), std::string(33'333, 'n'), std::string(1, '1')};
  put(at, versions[0]);
  std::atomic<bool> over{false};
  std::atomic<int> wrong{0};
  auto const check = [&](std::string const& text) {
    if (std::ranges::find(versions, text) == std::end(versions)) ++wrong;
  };
  std::thread by_stream{[&] {
    while (!over) check(contents(at));
  }};
  auto by_task = errand::async([&] {
    while (!over) check(errand::read_file(at).get());
  });
  for (int i = 0; i < 200; ++i) {
    auto a = errand::write_file(at, versions[i % 3], durability::atomic);
    auto b = errand::write_file(at, versions[(i + 1) % 3], durability::atomic);
    a.get();
    b.get();
  }
  over = true;
  by_stream.join();
  by_task.get();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(dir.entries(), 1U);
}

TEST(atomic_writes, keep_the_mode_and_give_a_new_file_the_usual_one) {
  scratch dir;
  auto const mode_of = [&](char const* name) {
    struct stat s {};
    return ::stat((dir / name).c_str(), &s) == 0 ? s.st_mode & 07777 : 0;
  };
  put(dir / "file", "old");
  for (mode_t const mode : {0600U, 0640U, 0755U, 0666U}) {
    ASSERT_EQ(::chmod((dir / "file").c_str(), mode), 0);
    errand::write_file(dir / "file", "new", durability::atomic).get();
    EXPECT_EQ(mode_of("file"), mode);
  }
  errand::write_file(dir / "made", "x", durability::atomic).get();
  errand::write_file(dir / "plain", "x").get();
  EXPECT_EQ(mode_of("made"), mode_of("plain"));
}

TEST(atomic_writes, keep_the_owner_if_they_may) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  scratch dir;
  put(dir / "file", "old");
  ASSERT_EQ(::chown((dir / "file").c_str(), 1234, 4321), 0);
  ASSERT_EQ(::chmod((dir / "file").c_str(), 04751), 0);
  errand::write_file(dir / "file", "new", durability::atomic).get();
  struct stat s {};
  ASSERT_EQ(::stat((dir / "file").c_str(), &s), 0);
  EXPECT_EQ(s.st_uid, 1234U);
  EXPECT_EQ(s.st_gid, 4321U);
  EXPECT_EQ(s.st_mode & 07777, 04751U);
}

TEST(atomic_writes, follow_links_and_leave_them_as_they_are) {
  scratch dir;
  fs::create_directory(dir / "sub");
  put(dir / "sub/file", "old");
  fs::create_symlink("sub/file", dir / "link");
  fs::create_symlink("../link", dir / "sub/back");
  fs::create_symlink(dir / "sub/back", dir / "whole");
  errand::write_file(dir / "whole", "new", durability::atomic).get();
  EXPECT_EQ(contents(dir / "sub/file"), "new");
  for (auto const* link : {"link", "sub/back", "whole"}) EXPECT_TRUE(fs::is_symlink(dir / link));
  fs::create_symlink("sub/missing", dir / "dangling");
  errand::write_file(dir / "dangling", "made", durability::atomic).get();
  EXPECT_EQ(contents(dir / "sub/missing"), "made");
  EXPECT_TRUE(fs::is_symlink(dir / "dangling"));
  put(dir / "one", "old");
  fs::create_hard_link(dir / "one", dir / "other");
  errand::write_file(dir / "one", "new", durability::atomic).get();
  EXPECT_EQ(contents(dir / "one") + contents(dir / "other"), "newold");
}

TEST(atomic_writes, refuse_what_is_no_regular_file) {
  EXPECT_FAILS(errand::write_file("/dev/full", "x", durability::atomic), fs::path{"/dev/full"}, invalid_argument);
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

// ---- stops and dropped futures ---------------------------------------------------------------------------------------

TEST(file_stops, a_dropped_write_is_written) {
  scratch dir;
  {
    file_threads_held const held;
    static_cast<void>(errand::write_file(dir / "dropped", "d"));
    auto overwritten = errand::write_file(dir / "assigned", "a");
    overwritten = {};
    errand::write_file(dir / "detached", "d").detach();
    {
      auto shared = errand::write_file(dir / "shared", "s").share();
      auto copy = shared;
    }
    errand::async([&] { static_cast<void>(errand::write_file(dir / "in a task", "t")); }).get();
    auto const coroutine = [&]() -> errand::task<> {
      auto write = errand::write_file(dir / "in a coroutine", "c", durability::atomic);
      co_return;
    };
    errand::async(coroutine).get();
    EXPECT_EQ(dir.entries(), 0U);
  }
  wait_for_writes();
  for (auto const* name : {"dropped", "assigned", "detached", "shared", "in a task", "in a coroutine"})
    EXPECT_EQ(contents(dir / name).size(), 1U) << name;
}

TEST(file_stops, what_a_write_went_into_does_not_stop_it) {
  scratch dir;
  bool went_on = false;
  auto threads_held = std::make_unique<file_threads_held>();
  auto chain = errand::write_file(dir / "then", "t").then([&] { went_on = true; });
  auto all = errand::when_all(errand::write_file(dir / "first", "1"), errand::write_file(dir / "second", "2"));
  auto failing = errand::when_all(errand::write_file(dir / "beside", "b"),
                                  errand::async([] { throw std::runtime_error{"the other one"}; }));
  chain.request_stop();
  all.request_stop();
  std::thread drops{[chain = std::move(chain), all = std::move(all)]() mutable {
    chain = {};
    all = {};
  }};
  threads_held.reset();
  drops.join();
  EXPECT_THROW(failing.get(), std::runtime_error);
  EXPECT_FALSE(went_on);
  for (auto const* name : {"then", "first", "second", "beside"}) EXPECT_EQ(contents(dir / name).size(), 1U) << name;
}

TEST(file_stops, a_stop_of_the_task_that_called_leaves_its_writes_alone_and_ends_its_reads) {
  scratch dir;
  fifo never;
  errand_test::flag waits;
  auto threads_held = std::make_unique<file_threads_held>();
  auto task = errand::async([&] {
    auto write = errand::write_file(dir / "file", "text");
    auto read = errand::read_file(never.at);
    waits.raise();
    static_cast<void>(read.get());
  });
  waits.wait();
  task.request_stop();
  EXPECT_TRUE(task.result().stopped());
  threads_held.reset();
  wait_for_writes();
  EXPECT_EQ(contents(dir / "file"), "text");
}

TEST(file_stops, request_stop_before_the_begin_keeps_a_write_from_being_made) {
  scratch dir;
  errand::future<void> write;
  errand::future<std::string> read;
  {
    file_threads_held const held;
    write = errand::write_file(dir / "file", "text");
    read = errand::read_file("/proc/self/status");
    write.request_stop();
    read.request_stop();
    EXPECT_TRUE(write.ready());  // with no file thread's help
    EXPECT_TRUE(read.ready());
  }
  EXPECT_THROW(write.get(), errand::operation_cancelled);
  EXPECT_TRUE(read.result().stopped());
  EXPECT_EQ(dir.entries(), 0U);
}

TEST(file_stops, of_a_task_that_is_stopped_already_a_write_is_made_and_a_read_is_not) {
  scratch dir;
  errand_test::flag begun;
  auto task = errand::async([&] {
    begun.raise();
    try {
      while (true) errand::this_task::yield();
    } catch (errand::operation_cancelled const&) {
    }
    auto write = errand::write_file(dir / "file", "text");
    auto read = errand::read_file("/proc/self/status");
    while (!read.ready()) std::this_thread::yield();
    return std::move(read).result().stopped();  // there is nothing to wait for, so nothing is thrown
  });
  begun.wait();
  task.request_stop();
  EXPECT_TRUE(task.get());
  wait_for_writes();
  EXPECT_EQ(contents(dir / "file"), "text");
}

TEST(file_stops, raced_against_the_end_give_a_whole_file_or_none) {
  scratch dir;
  auto const text = pattern(5'000);
  errand_test::generator random{errand_test::test_seed()};
  int stopped = 0;
  int written = 0;
  for (errand_test::rounds r{1500}; r.next();) {
    auto const at = dir / "file";
    fs::remove(at);
    auto const how = random.one_in(4) ? durability::atomic : durability::cached;
    std::vector<errand::future<std::string>> before;  // so that it queues, or does not
    for (auto n = random.below(6); n > 0; --n) before.push_back(errand::read_file("/proc/self/status"));
    auto write = errand::write_file(at, std::string_view{text}, how);
    auto read = errand::read_file(random.one_in(2) ? "/proc/self/maps" : "/dev/null");
    errand_test::dither(random);
    bool const drop = random.one_in(4);
    std::thread other{[&, mine = random.split()]() mutable {
      errand_test::dither(mine);
      read.request_stop();
      if (mine.one_in(2)) before.clear();
    }};
    if (drop) {
      static_cast<void>(std::exchange(write, {}));
      other.join();
      wait_until([&] { return contents(at) == text; });
      continue;
    }
    write.request_stop();
    auto const outcome = write.result();
    other.join();
    if (outcome.stopped()) {
      ++stopped;
      ASSERT_FALSE(fs::exists(at));
    } else {
      ++written;
      ASSERT_TRUE(outcome.has_value());
      ASSERT_TRUE(contents(at) == text);
    }
    auto const text_read = read.result();
    ASSERT_TRUE(text_read.has_value() || text_read.stopped());
  }
  EXPECT_GT(stopped + written, 0);
  wait_for_writes();
}

// ---- fork ------------------------------------------------------------------------------------------------------------

TEST(whole_files, rule_20_a_forked_child_has_file_threads_of_its_own) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  scratch dir;
  {
    file_threads_held const held;  // the child has none of these threads
    auto parents = errand::write_file(dir / "parents", "p");
    EXPECT_EQ(in_child([&] {
                errand::write_file(dir / "file", "child's").get();
                require(errand::read_file(dir / "file").get() == "child's", "read");
                parents.request_stop();
                bool refused = false;
                try {
                  parents.get();
                } catch (std::logic_error const&) {
                  refused = true;
                }
                require(refused, "the parent's");
                require(errand::finish() == 0, "nothing of the parent's is waited for");
              }),
              0);
    EXPECT_FALSE(parents.ready());
  }
  wait_for_writes();
  EXPECT_EQ(contents(dir / "parents"), "p");
}

}  // namespace
