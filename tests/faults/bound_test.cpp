// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writers whose bytes do not get down: into a FIFO that nobody reads yet. Each in a program of its own, where a single MiB may
// be on its way.
#include "own_program.hpp"

#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <sys/stat.h>
#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>

#include "io/testing.hpp"
#include "support/sequencer.hpp"

namespace {

using errand_test::flag;
using errand_test::in_own_program;
using errand_test::pattern;
using errand_test::require;
namespace fs = std::filesystem;

constexpr std::size_t mib = std::size_t{1} << 20;

// Calls body(path of the FIFO).
template <class Body>
int with_a_full_pipe(Body body) {
  return in_own_program({}, [&](fs::path const& folder) {
    ::setenv("ERRAND_WRITE_BEHIND", "1", 1);
    auto const at = folder / "fifo";
    require(::mkfifo(at.c_str(), 0600) == 0, "a FIFO");
    body(at);
  });
}

// Pieces of all kinds, until one is refused. What was taken.
std::string fill(errand::file_writer& w) {
  std::string taken;
  for (std::size_t i = 1;; i = i * 7 % 10'007) {
    auto const piece = pattern(i, i);
    if (!w.try_write(piece)) return taken;
    taken += piece;
  }
}

TEST(bound, of_what_is_on_its_way_holds_and_all_that_was_taken_arrives) {
  EXPECT_EQ(with_a_full_pipe([](fs::path const& at) {
              errand::file_writer w{at};
              auto const taken = fill(w);
              auto const size = std::to_string(taken.size());
              require(taken.size() > mib / 2 && taken.size() <= 2 * mib,
                      "up to the bound, and what is being collected: " + size);
              require(w.waits() == 0, "try_write does not wait");
              auto closed = w.closed();
              require(!closed.ready(), "nobody has read it");
              require(errand::read_file(at).get() == taken, "what was taken, and no more");
              closed.get();
            }),
            0);
}

TEST(bound, where_it_is_reached_a_write_waits_and_the_worker_goes_on) {
  EXPECT_EQ(with_a_full_pipe([](fs::path const& at) {
              errand::file_writer w{at};
              auto taken = fill(w);
              auto const piece = pattern(20'000, 2);
              errand::pool one{{.workers = 1, .spares = 0}};
              flag begun;
              auto write = errand::async(one, [&] {
                begun.raise();
                w.write(piece);
              });
              begun.wait();
              errand::async(one, [] {}).get();  // hangs if the worker is blocked
              require(!write.ready(), "there is no room");
              auto read = errand::read_file(at);
              write.get();
              require(w.waits() == 1, "it has waited, once");
              w.close();
              require(read.get() == taken + piece, "in order");
            }),
            0);
}

TEST(bound, who_is_stopped_while_he_waits_has_not_given_his_piece) {
  EXPECT_EQ(with_a_full_pipe([](fs::path const& at) {
              errand::file_writer w{at};
              auto const taken = fill(w);
              flag begun;
              auto write = errand::async([&] {
                begun.raise();
                w.write(pattern(20'000, 3));
              });
              begun.wait();
              while (w.waits() == 0) std::this_thread::yield();
              write.request_stop();
              require(write.result().stopped(), "stopped");
              auto read = errand::read_file(at);
              w.close();
              require(read.get() == taken, "his piece is not there, the others are");
            }),
            0);
}

TEST(bound, reached_by_one_writer_does_not_hold_up_others) {
  EXPECT_EQ(with_a_full_pipe([](fs::path const& at) {
              errand::file_writer stuck{at};
              auto const taken = fill(stuck);
              auto const text = pattern(3 * mib, 4);
              errand::file_writer other{at.parent_path() / "file"};
              for (std::size_t i = 0; i < text.size(); i += 50'001)
                other.write(std::string_view{text}.substr(i, 50'001));
              other.close();
              require(errand_test::contents(at.parent_path() / "file") == text, "it has waited for its own alone");
              auto closed = stuck.closed();
              require(errand::read_file(at).get() == taken, "and this is read now");
              closed.get();
            }),
            0);
}

}  // namespace
