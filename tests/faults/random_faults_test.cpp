// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A writer in a system where anything may fail at any time, used by somebody who always tries again: pieces of all sizes, moved
// or copied, flushed now and then. In the end every byte is there, once and in its place. With helper threads, whose calls can
// be made to fail; what fails a ring is in limits_test.cpp.
#include "faulty_calls.hpp"
#include "own_program.hpp"

#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <atomic>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>

#include "io/testing.hpp"
#include "support/seed.hpp"

namespace {

using errand::durability;
using errand_test::contents;
using errand_test::fault;
using errand_test::faulty_calls;
using errand_test::generator;
using errand_test::in_own_program;
using errand_test::pattern;
using errand_test::require;
using errand_test::system_call;
namespace fs = std::filesystem;

constexpr std::size_t mib = std::size_t{1} << 20;

// One writer, from its begin to its close. How many errors it said.
int write_it(generator& random, fs::path const& at, std::string_view text, bool append, durability how) {
  auto w = append ? errand::file_writer::appending(at, how) : errand::file_writer{at, how};
  int errors = 0;
  auto const in_the_end = [&](auto&& call) {
    for (;;) try {
        return call();
      } catch (fs::filesystem_error const& e) {
        require(e.path1() == at, "the path");
        require(e.code() == std::errc::no_space_on_device || e.code() == std::errc::io_error, e.what());
        require(++errors < 10'000, "it goes on");
        w.retry();
      }
  };
  bool const small = random.one_in(2);
  while (!text.empty()) {
    auto const most = small ? 3'000U : random.one_in(3) ? 900'000U : 70'000U;
    auto const piece = text.substr(0, 1 + random.below(most));
    bool const move = random.one_in(3);
    in_the_end([&] {
      if (move)
        w.write(std::string{piece});
      else
        w.write(piece);
    });
    text.remove_prefix(piece.size());
    if (random.one_in(small ? 2'000 : 60)) in_the_end([&] { w.flush(); });
  }
  in_the_end([&] { w.close(); });
  return errors;
}

TEST(random_faults, of_a_writer_lose_and_double_nothing) {
  EXPECT_EQ(in_own_program({.io = "threads"},
                           [](fs::path const& folder) {
                             generator random{errand_test::test_seed()};
                             auto const at = folder / "file";
                             int errors = 0;
                             for (errand_test::rounds r{errand::detail::sanitized_memory ? 8 : 24}; r.next() || errors == 0;) {
                               auto const text =
                                   pattern(random.one_in(2) ? random.below(600'000) : random.below(24 * mib), random());
                               auto const old = pattern(random.one_in(2) ? 0 : random.below(200'000), random());
                               errand_test::put(at, old);
                               bool const append = random.one_in(3);
                               auto const how = append || random.one_in(2) ? durability::cached
                                                : random.one_in(2)         ? durability::synced
                                                                           : durability::atomic;
                               auto const one_of = 2 + random.below(60);
                               auto mine = random.split();
                               {
                                 faulty_calls const faults{
                                     folder, [&](system_call call, std::size_t size) {
                                       bool const may_fail = call == system_call::write || call == system_call::open ||
                                                             call == system_call::allocate;
                                       if (!may_fail || !mine.one_in(one_of)) return fault{};
                                       if (mine.one_in(2)) return fault{.error = mine.one_in(2) ? ENOSPC : EIO};
                                       if (call != system_call::open && mine.one_in(2)) return fault{.error = EINTR};
                                       if (size < 2) return fault{};
                                       auto const some = 1 + mine.below(static_cast<unsigned>(size));
                                       return fault{.most = mine.one_in(2) ? some : (some + 4095) / 4096 * 4096};
                                     }};
                                 errors += write_it(random, at, text, append, how);
                               }
                               require(contents(at) == (append ? old + text : text), "every byte");
                               require(std::distance(fs::directory_iterator{folder}, {}) == 1, "nothing beside it");
                             }
                           }),
            0);
}

}  // namespace
