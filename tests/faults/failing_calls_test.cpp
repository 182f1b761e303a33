// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every system call that an operation on files makes fails once, does less than it was asked, or is interrupted. What was said
// to be written is there; of everything else an error was thrown.
#include "faulty_calls.hpp"

#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <atomic>
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "io/testing.hpp"
#include "support/scratch.hpp"

namespace {

using errand::durability;
using errand_test::contents;
using errand_test::fail_each;
using errand_test::fault;
using errand_test::faulty_calls;
using errand_test::pattern;
using errand_test::put;
using errand_test::scratch;
using errand_test::system_call;
namespace fs = std::filesystem;

constexpr std::size_t small = 3'000;
constexpr std::size_t large = (std::size_t{9} << 20) + 5;
constexpr system_call all_calls[] = {system_call::open,   system_call::read,     system_call::write,
                                     system_call::sync,   system_call::allocate, system_call::truncate,
                                     system_call::rename, system_call::close};

// The errno that a call throws with that path; 0 if it throws nothing.
int error_of(fs::path const& path, auto&& call) {
  try {
    call();
  } catch (fs::filesystem_error const& e) {
    EXPECT_EQ(e.path1(), path) << e.what();
    return e.code().value();
  }
  return 0;
}

// ---- whole files -----------------------------------------------------------------------------------------------------

// Without these there is no success.
bool is_needed(system_call call) {
  return call == system_call::open || call == system_call::read || call == system_call::write ||
         call == system_call::sync || call == system_call::rename;
}

void fail_writes(std::size_t size, durability how, bool append) {
  scratch const dir;
  auto const at = dir / "file";
  auto const old = pattern(small, 1);
  auto const text = pattern(size, 2);
  put(at, old);
  for (auto const which : all_calls) {
    int error = 0;
    fail_each(
        dir.path(), which, EIO,
        [&] {
          error = error_of(at, [&] {
            (append ? errand::append_file(at, std::string_view{text}, how)
                    : errand::write_file(at, std::string_view{text}, how))
                .get();
          });
        },
        [&](bool failed) {
          auto const found = contents(at);
          auto const expected = append ? old + text : text;
          ASSERT_TRUE(error == 0 || error == EIO) << error;
          if (!failed) {
            ASSERT_EQ(error, 0);
          }
          if (error == 0) {
            ASSERT_TRUE(found == expected);
          } else if (how == durability::atomic) {
            ASSERT_TRUE(found == old || found == expected);
          } else if (which == system_call::truncate) {
            ASSERT_TRUE(found.starts_with(expected)) << "room that was taken ahead could not be given back";
          } else {
            ASSERT_TRUE(expected.starts_with(found) || found == old);
          }
          ASSERT_LE(dir.entries(), 1U) << "something is left beside it";
          put(at, old);
        });
  }
}

TEST(failing_calls, of_writes_small_and_large_are_said_or_did_no_harm) {
  for (auto const size : {small, large})
    for (auto const how : {durability::cached, durability::synced, durability::atomic}) {
      if (errand::detail::sanitized_memory && size == large && how == durability::cached)
        continue;  // all are in the next
      SCOPED_TRACE(testing::Message{} << size << " bytes, durability " << static_cast<int>(how));
      fail_writes(size, how, false);
      if (how != durability::atomic) fail_writes(size, how, true);
    }
}

TEST(failing_calls, that_a_write_needs_are_never_passed_over) {
  scratch const dir;
  auto const at = dir / "file";
  for (auto const which : {system_call::open, system_call::write, system_call::sync, system_call::rename})
    for (int const code : {EIO, ENOSPC, EDQUOT, EROFS}) {
      int error = 0;
      fail_each(
          dir.path(), which, code,
          [&] { error = error_of(at, [&] { errand::write_file(at, "some text", durability::atomic).get(); }); },
          [&](bool failed) { ASSERT_EQ(error, failed ? code : 0); });
    }
}

TEST(failing_calls, of_reads_are_said) {
  scratch const dir;
  auto const at = dir / "file";
  for (auto const size : {small, large}) {
    auto const text = pattern(size, 3);
    put(at, text);
    for (auto const which : all_calls) {
      int error = 0;
      std::string found;
      fail_each(
          dir.path(), which, EIO, [&] { error = error_of(at, [&] { found = errand::read_file(at).get(); }); },
          [&](bool failed) {
            // A read that only asks whether a large file is in the cache may fail.
            ASSERT_TRUE(error == 0 || error == EIO);
            if (size == small) {
              ASSERT_EQ(error, failed && is_needed(which) ? EIO : 0);
            }
            if (error == 0) {
              ASSERT_TRUE(found == text);
            }
          });
    }
  }
}

// ---- less than asked, and interrupted ----------------------------------------------------------------------------------

void all_goes_well(fs::path const& at, std::size_t size) {
  auto const text = pattern(size, 4);
  for (auto const how : {durability::cached, durability::synced, durability::atomic}) {
    errand::write_file(at, std::string_view{text}, how).get();
    ASSERT_TRUE(errand::read_file(at).get() == text);
  }
  errand::append_file(at, "one\r\n\ntwo").get();
  {
    auto w = errand::file_writer::appending(at, durability::synced);
    w.write(std::string_view{text});
    w.flush();
    w.write("end");
    w.close();
  }
  auto const all = text + "one\r\n\ntwo" + text + "end";
  ASSERT_TRUE(errand::read_file(at).get() == all);
  std::size_t bytes = 0;
  for (auto const line : errand::lines{at}) bytes += line.size();
  auto const shared = errand::reduce_lines(
      at, [] { return std::size_t{0}; }, [](std::size_t& n, std::string_view line) { n += line.size(); },
      std::plus<>{});
  std::size_t expected = 0;
  errand::detail::split_lines(all.data(), all.data() + all.size(),
                              [&](std::string_view line) { expected += line.size(); });
  ASSERT_EQ(bytes, expected);
  ASSERT_EQ(shared, expected);
}

TEST(short_calls, go_on) {
  scratch const dir;
  struct {
    std::size_t file;
    std::size_t most;
  } const cases[] = {{small, 1}, {small, 7}, {large, 4093}, {large, 100'001}, {large, (std::size_t{1} << 20) - 1}};
  for (auto const& c : cases) {
    SCOPED_TRACE(testing::Message{} << c.file << " bytes, " << c.most << " at a time");
    faulty_calls const faults{dir.path(), [&](system_call, std::size_t) { return fault{.most = c.most}; }};
    all_goes_well(dir / "file", c.file);
  }
}

TEST(interrupted_calls, are_made_again) {
  scratch const dir;
  for (auto const size : {small, large}) {
    unsigned calls = 0;
    // close() is not made again: the descriptor is gone.
    faulty_calls const faults{dir.path(), [&](system_call call, std::size_t) {
                                if (call == system_call::truncate || call == system_call::rename) return fault{};
                                return fault{.error = ++calls % 4 != 0 ? EINTR : 0, .most = size / 3 + 1};
                              }};
    all_goes_well(dir / "file", size);
  }
}

// ---- file_writer -------------------------------------------------------------------------------------------------------

std::vector<std::string> pieces_of_all_sizes() {
  std::vector<std::string> pieces;
  for (std::size_t const size : {1UL, 100'000UL, 262'144UL, 7UL, 500'000UL, 0UL, 1'000'001UL, 3UL, 262'143UL, 9UL})
    pieces.push_back(pattern(size, size));
  return pieces;
}
std::string joined(std::vector<std::string> const& pieces) {
  std::string all;
  for (auto const& p : pieces) all += p;
  return all;
}

// Writes all pieces as somebody does who takes each error for a reason to try again. How many errors there were.
int write_stubbornly(errand::file_writer& w, fs::path const& at, std::vector<std::string> const& pieces, int expected) {
  int errors = 0;
  auto const in_the_end = [&](auto&& call) {
    while (int const error = error_of(at, call)) {
      EXPECT_EQ(error, expected);
      if (++errors > 1'000) throw std::runtime_error{"it never succeeds"};
      w.retry();
    }
  };
  for (std::size_t i = 0; i != pieces.size(); ++i) {
    in_the_end([&] {
      if (i % 2 == 0)
        w.write(std::string_view{pieces[i]});
      else
        w.write(std::string{pieces[i]});
    });
    if (i == 4) in_the_end([&] { w.flush(); });
  }
  in_the_end([&] { w.close(); });
  return errors;
}

TEST(failing_calls, of_a_writer_stick_and_what_is_tried_again_arrives_once_and_in_order) {
  scratch const dir;
  auto const at = dir / "file";
  auto const pieces = pieces_of_all_sizes();
  auto const all = joined(pieces);
  for (auto const how : {durability::cached, durability::synced, durability::atomic})
    for (auto const which : {system_call::open, system_call::write, system_call::allocate})
      for (int const code : {ENOSPC, EIO}) {
        SCOPED_TRACE(testing::Message{} << "durability " << static_cast<int>(how));
        int errors = 0;
        fail_each(
            dir.path(), which, code,
            [&] {
              errand::file_writer w{at, how};
              errors = write_stubbornly(w, at, pieces, code);
            },
            [&](bool failed) {
              ASSERT_TRUE(contents(at) == all);
              ASSERT_TRUE(failed ? errors <= 1 : errors == 0) << errors;
              if (failed && which != system_call::allocate) {
                ASSERT_EQ(errors, 1);
              }
              ASSERT_EQ(dir.entries(), 1U);
            });
      }
}

TEST(failing_calls, a_disk_that_is_full_behind_some_bytes_of_each_try) {
  scratch const dir;
  auto const at = dir / "file";
  auto const pieces = pieces_of_all_sizes();
  for (auto const how : {durability::cached, durability::atomic}) {
    std::size_t room = 0;
    int refused = 0;
    int errors = 0;
    {
      // Each time it is full somebody makes a little space, of an odd size.
      faulty_calls const faults{dir.path(), [&](system_call call, std::size_t size) {
                                  if (call != system_call::write || size == 0) return fault{};
                                  if (room == 0) {
                                    room = 77'777;
                                    ++refused;
                                    return fault{.error = ENOSPC};
                                  }
                                  auto const n = std::min(size, room);
                                  room -= n;
                                  return fault{.most = n};
                                }};
      errand::file_writer w{at, how};
      errors = write_stubbornly(w, at, pieces, ENOSPC);
    }
    EXPECT_TRUE(contents(at) == joined(pieces));
    EXPECT_EQ(errors, refused);
  }
}

TEST(failing_calls, a_sync_of_a_writer_that_failed_is_said) {
  scratch const dir;
  auto const at = dir / "file";
  for (auto const how : {durability::synced, durability::atomic}) {
    int errors = 0;
    fail_each(
        dir.path(), system_call::sync, EIO,
        [&] {
          errors = 0;
          errand::file_writer w{at, how};
          w.write("text");
          if (error_of(at, [&] { w.flush(); }) != 0) ++errors;
          if (error_of(at, [&] { w.close(); }) != 0) ++errors;
        },
        [&](bool failed) { ASSERT_EQ(errors != 0, failed); });
  }
}

// Bytes of which a sync has failed are nowhere any more: no later answer can be trusted.
TEST(failing_calls, a_sync_of_a_writer_that_failed_is_never_made_good_by_another) {
  scratch const dir;
  auto const at = dir / "file";
  for (auto const how : {durability::synced, durability::atomic}) {
    int last = 0;
    fail_each(
        dir.path(), system_call::sync, EIO,
        [&] {
          errand::file_writer w{at, how};
          w.write("text");
          if (error_of(at, [&] { w.flush(); }) != 0) w.retry();
          last = error_of(at, [&] { w.close(); });
          if (last == 0) return;
          w.retry();
          last = error_of(at, [&] { w.close(); });
        },
        [&](bool failed) { EXPECT_EQ(last != 0, failed) << "durability " << static_cast<int>(how); });
  }
}

TEST(failing_calls, a_close_of_a_writer_that_ends_well_leaves_the_new_file) {
  scratch const dir;
  auto const at = dir / "file";
  for (auto const which : {system_call::rename, system_call::close}) {
    put(at, "old");
    int last = 0;
    fail_each(
        dir.path(), which, EIO,
        [&] {
          errand::file_writer w{at, durability::atomic};
          w.write("text");
          last = error_of(at, [&] { w.close(); });
          if (last == 0) return;
          w.retry();
          last = error_of(at, [&] { w.close(); });
        },
        [&](bool) {
          EXPECT_EQ(contents(at), last == 0 ? "text" : "old");
          put(at, "old");
        });
  }
}

TEST(failing_calls, of_a_dropped_writer_are_reported) {
  scratch const dir;
  auto const at = dir / "file";
  static std::atomic<int> reports{0};
  auto* const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) { ++reports; });
  auto const pieces = pieces_of_all_sizes();
  for (auto const which : {system_call::open, system_call::write, system_call::sync, system_call::rename}) {
    bool took = false;
    fail_each(
        dir.path(), which, EIO,
        [&] {
          reports = 0;
          took = false;
          {
            errand::file_writer w{at, durability::atomic};
            took = error_of(at, [&] {
                     for (auto const& p : pieces) w.write(std::string_view{p});
                   }) != 0;
          }
          static_cast<void>(errand::finish());
        },
        [&](bool failed) {
          EXPECT_EQ(reports + (took ? 1 : 0), failed ? 1 : 0);
          if (!failed) {
            EXPECT_TRUE(contents(at) == joined(pieces));
          }
        });
  }
  errand::set_unobserved_error_handler(before);
}

// ---- lines -------------------------------------------------------------------------------------------------------------

// Each begins with its number and a blank.
std::string numbered_lines(std::size_t size) {
  std::string text;
  for (unsigned i = 0; text.size() < size; ++i)
    text += std::to_string(i) + std::string(1 + i % 100, ' ') + (i % 3 == 0 ? "\r\n" : "\n");
  return text;
}

TEST(failing_calls, of_lines_are_said_behind_the_lines_before) {
  scratch const dir;
  auto const at = dir / "text";
  for (auto const size : {small, large}) {
    auto const text = numbered_lines(size);
    put(at, text);
    for (auto const which : {system_call::open, system_call::read, system_call::close}) {
      int error = 0;
      unsigned next = 0;
      bool in_order = true;
      fail_each(
          dir.path(), which, EIO,
          [&] {
            next = 0;
            error = error_of(at, [&] {
              for (auto const line : errand::lines{at}) {
                in_order = in_order && line.starts_with(std::to_string(next) + ' ') &&
                           line.size() == std::to_string(next).size() + 1 + next % 100;
                ++next;
              }
            });
          },
          [&](bool failed) {
            ASSERT_TRUE(in_order) << "lines as they are in the file, each once and whole";
            ASSERT_TRUE(error == 0 || (error == EIO && failed && which != system_call::close));
            ASSERT_TRUE(error != 0 || next == std::ranges::count(text, '\n')) << next;
          });
    }
  }
}

TEST(failing_calls, of_lines_are_no_end_for_who_asks_again) {
  scratch const dir;
  auto const at = dir / "text";
  put(at, numbered_lines(large));
  int reads = 0;
  faulty_calls const faults{dir.path(), [&](system_call call, std::size_t) {
                              return fault{.error = call == system_call::read && ++reads >= 8 ? EIO : 0};
                            }};
  errand::lines lines{at};
  auto const to_the_end = [&] {
    for (auto i = lines.begin(); i != lines.end(); ++i) {
    }
  };
  for (int i = 0; i != 3; ++i) EXPECT_EQ(error_of(at, to_the_end), EIO);
  errand::lines missing{dir / "missing"};
  for (int i = 0; i != 3; ++i)
    EXPECT_EQ(error_of(dir / "missing", [&] { static_cast<void>(missing.begin()); }), ENOENT);
}

TEST(failing_calls, of_shared_lines_are_said_and_no_line_comes_twice) {
  scratch const dir;
  auto const at = dir / "text";
  auto const text = numbered_lines(large / 2);
  put(at, text);
  auto const count = static_cast<std::size_t>(std::ranges::count(text, '\n'));
  std::vector<std::atomic<int>> seen(count);
  for (int const place : {0, 1})
    for (auto const which : {system_call::open, system_call::read}) {
      int error = 0;
      fail_each(
          dir.path(), which, EIO,
          [&] {
            for (auto& n : seen) n = 0;
            auto const look = [&](std::string_view line) { ++seen.at(std::stoul(std::string{line})); };
            error = error_of(at, [&] {
              if (place == 0)
                errand::for_each_line(errand::inplace, at, look);
              else
                errand::for_each_line(at, look);
            });
          },
          [&](bool failed) {
            ASSERT_EQ(error, failed ? EIO : 0);
            for (auto const& n : seen) ASSERT_TRUE(failed ? n <= 1 : n == 1);
          });
    }
}

}  // namespace
