// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the system has no more to give or refuses: a full disk, files that may not grow, no descriptors, no permission, no
// io_uring, signals all the time. With rings and with threads, each in a program of its own.
#include "own_program.hpp"

#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <string>
#include <string_view>

#include "io/testing.hpp"
#include "support/scratch.hpp"

namespace {

using errand::durability;
using errand_test::contents;
using errand_test::in_own_program;
using errand_test::in_own_programs;
using errand_test::pattern;
using errand_test::put;
using errand_test::require;
namespace fs = std::filesystem;

constexpr std::size_t mib = std::size_t{1} << 20;

int error_of(fs::path const& path, auto&& call) {
  try {
    call();
  } catch (fs::filesystem_error const& e) {
    require(e.path1() == path, "the path is said");
    return e.code().value();
  }
  return 0;
}

std::size_t entries(fs::path const& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator{folder}, {}));
}

// Writes it in pieces, and closes. At each error, which must be that one, somebody `puts_right`, and it is tried again. How many
// errors there were.
int write_stubbornly(errand::file_writer& w, fs::path const& at, std::string_view text, int expected,
                     auto&& put_right) {
  int errors = 0;
  auto const in_the_end = [&](auto&& call) {
    while (int const error = error_of(at, call)) {
      require(error == expected, "the error is " + std::to_string(error));
      require(++errors < 100, "it goes on");
      put_right();
      w.retry();
    }
  };
  for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(text.size(), 60'001)))
    in_the_end([&] { w.write(text.substr(0, 60'001)); });
  in_the_end([&] { w.close(); });
  return errors;
}

// ---- no space ----------------------------------------------------------------------------------------------------------

TEST(full_disk, whole_files_say_so_and_an_atomic_one_leaves_the_old) {
  for (unsigned const disk : {2U, 24U})
    in_own_programs({.disk = disk}, [disk](fs::path const& folder) {
      auto const too_much = pattern(disk * mib + 1, 1);
      auto const at = folder / "file";
      for (auto const how : {durability::cached, durability::synced}) {
        require(error_of(at, [&] { errand::write_file(at, std::string_view{too_much}, how).get(); }) == ENOSPC,
                "written");
        require(too_much.starts_with(contents(at)), "a part of it is there");
        fs::remove(at);
        put(at, "old");
        require(error_of(at, [&] { errand::append_file(at, std::string_view{too_much}, how).get(); }) == ENOSPC,
                "appended");
        require(("old" + too_much).starts_with(contents(at)) && fs::file_size(at) >= 3, "behind the old");
        fs::remove(at);
      }
      put(at, "old");
      for (int i = 0; i != 3; ++i)
        require(error_of(at, [&] { errand::write_file(at, std::string_view{too_much}, durability::atomic).get(); }) ==
                    ENOSPC,
                "replaced");
      require(contents(at) == "old" && entries(folder) == 1, "the old file, and nothing beside it");
      auto const fits = pattern(disk * mib / 2, 2);
      errand::write_file(at, std::string_view{fits}, durability::atomic).get();
      require(contents(at) == fits, "there is room again");
    });
}

TEST(full_disk, what_a_writer_could_not_write_is_kept_until_there_is_room) {
  for (unsigned const disk : {2U, 24U})
    for (auto const how : {durability::cached, durability::synced, durability::atomic})
      in_own_programs({.disk = disk}, [=](fs::path const& folder) {
        put(folder / "ballast", std::string(disk * mib / 2, 'b'));
        auto const text = pattern(disk * mib * 3 / 4 + 77, 3);
        auto const at = folder / "file";
        errand::file_writer w{at, how};
        auto const make_room = [&] { fs::remove(folder / "ballast"); };
        int const errors = write_stubbornly(w, at, text, ENOSPC, make_room);
        require(errors != 0, "the disk was full");
        require(contents(at) == text, "all bytes are there, once and in order");
      });
}

TEST(full_disk, of_a_dropped_writer_is_reported_at_the_end) {
  in_own_programs({.disk = 2}, [](fs::path const& folder) {
    static std::atomic<int> reports{0};
    errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reports; });
    auto const text = pattern(4 * mib, 4);
    int taken = 0;
    {
      errand::file_writer w{folder / "file"};
      taken = error_of(folder / "file", [&] { w.write(std::string_view{text}); });
    }
    require(errand::finish() != 0 || taken != 0, "the status says it");
    require(reports + (taken != 0 ? 1 : 0) == 1, "once");
    require(text.starts_with(contents(folder / "file")), "what there was room for");
  });
}

// ---- files that may not grow --------------------------------------------------------------------------------------------

void limit_files(rlim_t most) {
  rlimit limit{};
  require(::getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
  limit.rlim_cur = most;
  require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

// SIGXFSZ would end the program: errand's threads block it, so nobody has to ignore it.
TEST(file_size_limit, is_an_error_and_no_signal) {
  in_own_programs({}, [](fs::path const& folder) {
    std::signal(SIGXFSZ, SIG_DFL);
    auto const at = folder / "file";
    for (std::size_t const most : {100'000UL, 12 * mib, 12 * mib + 4096, 12 * mib + 77}) {
      auto const text = pattern(most + 20 * mib, most);
      fs::remove(at);
      limit_files(most);
      require(error_of(at, [&] { errand::write_file(at, std::string_view{text}).get(); }) == EFBIG, "written");
      auto const found = contents(at);
      require(text.starts_with(found) && found.size() <= most, "no further");
      put(at, "old");
      require(error_of(at, [&] { errand::write_file(at, std::string_view{text}, durability::atomic).get(); }) == EFBIG,
              "replaced");
      require(contents(at) == "old" && entries(folder) == 1, "not at all");

      auto w = errand::file_writer::appending(at);
      require(write_stubbornly(w, at, text, EFBIG, [] { limit_files(RLIM_INFINITY); }) == 1, "the limit is said, once");
      require(contents(at) == "old" + text, "the rest was kept");
    }
  });
}

// ---- no descriptors ----------------------------------------------------------------------------------------------------

TEST(descriptors_exhausted, are_an_error_and_afterwards_all_works) {
  if (errand::detail::address_sanitizer)
    GTEST_SKIP() << "a sanitizer's runtime needs descriptors to look at an object's type";
  in_own_programs({}, [](fs::path const& folder) {
    auto const at = folder / "file";
    auto const text = pattern(12 * mib, 5) + '\n';
    put(at, text);
    static_cast<void>(errand::read_file("/dev/null").get());
    errand::for_each_line(folder / "file", [](std::string_view) {});
    rlimit limit{};
    require(::getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    auto const usual = limit.rlim_cur;
    int const lowest = ::dup(0);
    ::close(lowest);
    for (int left = 0; left != 4; ++left) {
      errand::file_writer w{folder / "written"};
      limit.rlim_cur = static_cast<rlim_t>(lowest + left);
      require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
      auto const fails_or = [&](fs::path const& path, auto&& call, auto&& check) {
        int const error = error_of(path, call);
        require(error == EMFILE || (error == 0 && left > 0), "too many files are open");
        return error != 0 || check();
      };
      std::string found;
      std::size_t bytes = 0;
      bool const reads = fails_or(
          at, [&] { found = errand::read_file(at).get(); }, [&] { return found == text; });
      bool const lines = fails_or(
          at,
          [&] {
            for (auto const line : errand::lines{at}) bytes += line.size() + 1;
          },
          [&] { return bytes >= text.size() - 1'000'000; });  // some ends are of two bytes
      bool const shared = fails_or(
          at, [&] { errand::for_each_line(at, [](std::string_view) {}); }, [] { return true; });
      auto const as_usual = [&] {
        limit.rlim_cur = usual;
        require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
      };
      int const errors = write_stubbornly(w, folder / "written", text, EMFILE, as_usual);
      as_usual();
      require(reads && lines && shared, "what is said to be read is whole");
      require(errors == 1 || (errors == 0 && left > 0), "written");
      require(contents(folder / "written") == text, "kept until there were some again");
      require(errand::read_file(at).get() == text, "and read");
    }
  });
}

// ---- no permission, no file ----------------------------------------------------------------------------------------------

TEST(refused_files, are_said_by_writers_and_lines) {
  EXPECT_EQ(in_own_program({},
                           [](fs::path const& folder) {
                             auto const secret = folder / "secret";
                             put(secret, "text\n");
                             fs::create_directory(folder / "sub");
                             fs::permissions(secret, fs::perms::none);
                             fs::permissions(folder, fs::perms::all & ~fs::perms::others_write);
                             if (::geteuid() == 0) require(::setuid(65534) == 0, "setuid");
                             auto const nothing = [](std::string_view) {};
                             auto const tried = [&](fs::path const& at, int expected) {
                               require(error_of(at, [&] { static_cast<void>(errand::lines{at}.begin()); }) == expected,
                                       "lines " + at.string());
                               require(error_of(at, [&] { errand::for_each_line(at, nothing); }) == expected,
                                       "for_each_line");
                               for (auto const how : {durability::cached, durability::synced, durability::atomic}) {
                                 errand::file_writer w{at, how};
                                 w.write("x");
                                 require(error_of(at, [&] { w.close(); }) == expected, "file_writer");
                                 require(error_of(at, [&] { w.close(); }) == expected, "still");
                               }
                             };
                             tried(secret, EACCES);
                             tried(folder / "sub", EISDIR);
                             tried(folder / "secret" / "below", ENOTDIR);
                             tried(folder / "no" / "such", ENOENT);
                             auto w = errand::file_writer::appending(secret);
                             w.write("x");
                             require(error_of(secret, [&] { w.close(); }) == EACCES, "appending");
                           }),
            0);
}

// ---- io_uring refused -----------------------------------------------------------------------------------------------------

void all_goes_well(fs::path const& at, std::size_t size) {
  auto const text = pattern(size, 6);
  for (auto const how : {durability::cached, durability::synced, durability::atomic}) {
    errand::write_file(at, std::string_view{text}, how).get();
    require(errand::read_file(at).get() == text, "written and read");
  }
  auto w = errand::file_writer::appending(at, durability::synced);
  for (std::size_t i = 0; i < size; i += 99'999) w.write(std::string_view{text}.substr(i, 99'999));
  w.close();
  require(contents(at) == text + text, "appended");
  std::size_t expected = 0;
  std::string const all = text + text;
  errand::detail::split_lines(all.data(), all.data() + all.size(),
                              [&](std::string_view line) { expected += line.size() + 1; });
  std::size_t bytes = 0;
  for (auto const line : errand::lines{at}) bytes += line.size() + 1;
  require(bytes == expected, "lines " + at.string());
  bytes = errand::reduce_lines(
      at, [] { return std::size_t{0}; }, [](std::size_t& n, std::string_view line) { n += line.size() + 1; },
      std::plus<>{});
  require(bytes == expected, "reduce_lines");
}

TEST(refused_rings, are_noticed_by_nobody) {
  for (int const error : {EPERM, ENOSYS, ENOMEM, EMFILE})
    EXPECT_EQ(in_own_program({.io = ""},
                             [=](fs::path const& folder) {
                               errand_test::refuse_system_call(SYS_io_uring_setup, error);
                               all_goes_well(folder / "file", 12 * mib + 5);
                             }),
              0)
        << error;
  for (int const error : {EPERM, ENOSYS, ENOMEM})
    EXPECT_EQ(in_own_program({.io = ""},
                             [=](fs::path const& folder) {
                               all_goes_well(folder / "file", 12 * mib + 5);
                               errand_test::refuse_system_call(SYS_io_uring_enter, error);
                               all_goes_well(folder / "file", 12 * mib + 5);
                             }),
              0)
        << error;
}

// ---- signals ---------------------------------------------------------------------------------------------------------------

TEST(signals, that_come_all_the_time_disturb_nobody) {
  in_own_programs({}, [](fs::path const& folder) {
    static std::atomic<int> caught{0};
    struct sigaction act {};
    act.sa_handler = [](int) { ++caught; };  // and no SA_RESTART
    require(::sigaction(SIGALRM, &act, nullptr) == 0, "sigaction");
    itimerval const often{{0, 500}, {0, 500}};
    require(::setitimer(ITIMER_REAL, &often, nullptr) == 0, "setitimer");
    for (int i = 0; i != 3 || caught < 10; ++i) all_goes_well(folder / "file", i % 2 == 0 ? 3'000 : 12 * mib + 5);
    itimerval const never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
  });
}

}  // namespace
