// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operations on files that are stopped, dropped, left by an exception, or forked in the midst; and files that others change
// meanwhile. With rings and with threads where it makes a difference.
#include "own_program.hpp"

#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "io/testing.hpp"
#include "support/counted.hpp"
#include "support/scratch.hpp"
#include "support/seed.hpp"

namespace {

using errand::durability;
using errand_test::contents;
using errand_test::counted;
using errand_test::in_own_program;
using errand_test::in_own_programs;
using errand_test::pattern;
using errand_test::put;
using errand_test::require;
using errand_test::scratch;
namespace fs = std::filesystem;

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr bool few = errand::detail::sanitized_memory;  // rounds: each takes ten times as long

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator{"/proc/self/fd"}, {}));
}

// ---- stops -------------------------------------------------------------------------------------------------------------

TEST(raced_stops, leave_large_files_whole_or_untouched) {
  in_own_programs({}, [](fs::path const& folder) {
    auto const at = folder / "file";
    auto const old = pattern(1'000, 1);
    auto const text = pattern(9 * mib + 3, 2);
    errand_test::generator random{errand_test::test_seed()};
    int outcomes[2] = {};
    for (errand_test::rounds r{few ? 4 : 40}; r.next();) {
      put(at, old);
      auto const how = random.one_in(2) ? durability::atomic : durability::cached;
      auto write = errand::write_file(at, std::string_view{text}, how);
      std::thread reader;
      bool read_well = true;
      auto read = errand::read_file("/proc/self/exe");
      for (auto n = random.below(4) * random.below(2'000'000); n > 0; --n) asm volatile("" ::: "memory");
      std::thread other{[&] {
        read.request_stop();
        auto outcome = read.result();
        read_well = outcome.stopped() ||
                    (outcome.has_value() && std::move(outcome).value().size() == fs::file_size("/proc/self/exe"));
      }};
      write.request_stop();
      auto const outcome = write.result();
      other.join();
      require(read_well, "stopped, or read as a whole");
      require(outcome.stopped() || outcome.has_value(), "one of the two");
      require(contents(at) == (outcome.stopped() ? old : text), "whole or untouched");
      require(std::distance(fs::directory_iterator{folder}, {}) == 1, "nothing beside it");
      ++outcomes[outcome.stopped() ? 0 : 1];
    }
    require(outcomes[0] + outcomes[1] > 0, "some rounds");
  });
}

// ---- others change the file ---------------------------------------------------------------------------------------------

TEST(changing_files, large_ones_that_shrink_or_grow_give_what_was_there) {
  in_own_programs({}, [](fs::path const& folder) {
    auto const at = folder / "file";
    std::string whole = pattern(24 * mib, 3);
    std::ranges::replace(whole, '\n', ' ');
    errand_test::generator random{errand_test::test_seed()};
    for (errand_test::rounds r{few ? 2 : 12}; r.next();) {
      auto const size = 12 * mib;
      put(at, std::string_view{whole}.substr(0, size));
      std::size_t const after = random.one_in(2) ? random.below(12 * mib) : size + random.below(12 * mib);
      auto const change = [&] {
        if (after <= size)
          require(::truncate(at.c_str(), static_cast<off_t>(after)) == 0, "truncate");
        else
          std::ofstream{at, std::ios::binary | std::ios::app} << std::string_view{whole}.substr(size, after - size);
      };
      auto read = errand::read_file(at);
      change();
      auto const text = read.get();
      require(text.size() >= std::min(size, after) && text.size() <= std::max(size, after), "not more, not less");
      require(whole.starts_with(text), "no byte that never was there");

      put(at, std::string_view{whole}.substr(0, size));
      std::string found;
      bool changed = false;
      for (auto const line : errand::lines{at}) {  // one line
        found += line;
        if (!std::exchange(changed, true)) change();
      }
      require(whole.starts_with(found), "nor lines");
    }
  });
}

// ---- exceptions of the caller's -------------------------------------------------------------------------------------------

TEST(thrown_by_the_caller, out_of_a_loop_over_lines) {
  scratch const dir;
  auto const at = dir / "text";
  put(at, std::string(6 * mib, '\n'));
  errand::for_each_line(at, [](std::string_view) {});  // what errand opens once
  auto const before = open_descriptors();
  for (std::size_t const after : {1UL, 2UL, 1'000'000UL, 5'000'000UL})
    for (int round = 0; round != (few ? 1 : 10); ++round) {
      std::size_t count = 0;
      EXPECT_THROW(
          for ([[maybe_unused]] auto const line
               : errand::lines{at}) {
            if (++count == after) throw std::runtime_error{"enough"};
          },
          std::runtime_error);
    }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(thrown_by_the_caller, out_of_every_function_of_reduce_lines) {
  scratch const dir;
  auto const at = dir / "text";
  put(at, std::string(2 * mib, '\n'));
  errand::for_each_line(at, [](std::string_view) {});
  auto const before = open_descriptors();
  errand::pool four{4};
  struct thrown {};
  for (int const who : {0, 1, 2})
    for (int const when : {1, 2, 3}) {
      std::atomic<int> calls[3] = {};
      auto const called = [&](int function) {
        if (++calls[function] == when && function == who) throw thrown{};
      };
      try {
        auto const state = errand::reduce_lines(
            four, at,
            [&] {
              called(0);
              return counted{};
            },
            [&](counted& n, std::string_view) {
              called(1);
              ++n.value;
            },
            [&](counted& into, counted&& from) {
              called(2);
              into.value += from.value;
            });
        EXPECT_LT(calls[who], when) << "what is thrown arrives";
        EXPECT_EQ(state.value, static_cast<int>(2 * mib));
      } catch (thrown const&) {
        EXPECT_GE(calls[who], when);
      }
      EXPECT_EQ(counted::alive(), 0);
    }
  EXPECT_THROW(errand::for_each_line(errand::blocking, at, [](std::string_view) { throw thrown{}; }), thrown);
  EXPECT_THROW(errand::for_each_line(errand::inplace, at, [](std::string_view) { throw thrown{}; }), thrown);
  EXPECT_EQ(open_descriptors(), before);
}

// ---- what is dropped -----------------------------------------------------------------------------------------------------

TEST(dropped, futures_of_a_writer_pass_their_error_on_to_the_report) {
  static std::atomic<int> reports{0};
  reports = 0;
  auto* const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reports; });
  {
    errand::file_writer w{"/dev/full"};
    w.write("lost");
    static_cast<void>(w.flushed());
    static_cast<void>(w.closed());
  }
  EXPECT_NE(errand::finish(), 0);
  EXPECT_GE(reports, 1);
  errand::set_unobserved_error_handler(before);
}

TEST(dropped, writers_of_many_files_at_once_write_them_all) {
  in_own_programs({}, [](fs::path const& folder) {
    auto const text = pattern(3 * mib + 1, 4);
    for (int i = 0; i != 20; ++i) {
      errand::file_writer w{folder / std::to_string(i), i % 3 == 0 ? durability::atomic : durability::cached};
      for (std::size_t b = 0; b < text.size(); b += 70'001) w.write(std::string_view{text}.substr(b, 70'001));
      if (i % 4 == 0) static_cast<void>(w.closed());
    }
    require(errand::finish() == 0, "all went well");
    for (int i = 0; i != 20; ++i) require(contents(folder / std::to_string(i)) == text, std::to_string(i));
  });
}

// ---- pipes -----------------------------------------------------------------------------------------------------------------

TEST(pipes, take_what_a_writer_is_given_once_somebody_reads) {
  scratch const dir;
  auto const at = dir / "fifo";
  ASSERT_EQ(::mkfifo(at.c_str(), 0600), 0);
  auto const text = pattern(3 * mib + 1, 5);
  errand::file_writer w{at};
  w.write(std::string_view{text});
  auto closed = w.closed();
  EXPECT_FALSE(closed.ready());
  EXPECT_TRUE(errand::read_file(at).get() == text);
  closed.get();

  errand::file_writer left{at};
  left.write(std::string_view{text});
  auto flushed = left.flushed();
  ::close(::open(at.c_str(), O_RDONLY | O_CLOEXEC));  // opens once the writer does
  try {
    flushed.get();
    ADD_FAILURE() << "nobody has read it";
  } catch (fs::filesystem_error const& e) {
    EXPECT_EQ(e.code(), std::errc::broken_pipe);
  }
}

// ---- fork ------------------------------------------------------------------------------------------------------------------

// The child of a fork, in which a writer of its parent's throws, and does nothing when it is dropped.
void in_child_of(errand::file_writer& w) {
  int const status = errand_test::in_child([&] {
    ::alarm(10);
    bool refused = false;
    try {
      w.write("the child's");
      w.flush();
    } catch (std::logic_error const&) {
      refused = true;
    }
    require(refused, "it is the parent's");
    { auto const dropped = std::move(w); }
    require(errand::finish() == 0, "there is nothing to wait for");
  });
  require(status == 0, "the child ended with " + std::to_string(status));
}

TEST(forks, rule_20_a_writer_is_the_parents) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << errand_test::no_threads_after_fork;
  in_own_programs({}, [](fs::path const& folder) {
    auto const text = pattern(9 * mib, 6);
    for (int round = 0; round != 5; ++round) {
      errand::file_writer idle{folder / "idle"};
      idle.write("the parent's");
      in_child_of(idle);
      errand::file_writer busy{folder / "busy"};
      busy.write(std::string_view{text});
      busy.write("the end");
      in_child_of(busy);
      idle.close();
      busy.close();
      require(contents(folder / "idle") == "the parent's", "once");
      require(contents(folder / "busy") == text + "the end", "all of it");
    }
  });
}

}  // namespace
