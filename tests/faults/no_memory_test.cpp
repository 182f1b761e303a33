// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each allocation of an operation on files fails in turn: it says std::bad_alloc or ends well, and nothing is lost, doubled or
// left behind.
#include "no_memory.hpp"

#include <gtest/gtest.h>
#include <errand/errand.hpp>

#include <algorithm>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/testing.hpp"
#include "support/scratch.hpp"

namespace {

using errand::durability;
using errand_test::contents;
using errand_test::failing_allocation;
using errand_test::pattern;
using errand_test::put;
using errand_test::scratch;

class no_memory : public testing::Test {
 protected:
  void SetUp() override {
    if (!errand_test::allocations_can_fail) GTEST_SKIP() << "the sanitizers' own allocation does not fail";
  }

  // Each time: run(), which may throw std::bad_alloc, then check(whether it did).
  template <class Run, class Check>
  static void fail_each(Run run, Check check) {
    for (int i = 0; i != 2; ++i) run();  // threads are started, buffers recycled
    for (int n = 1;; ++n) {
      SCOPED_TRACE(testing::Message{} << "allocation " << n << " fails");
      bool said = false;
      bool happened = false;
      {
        failing_allocation const fails{n};
        try {
          run();
        } catch (std::bad_alloc const&) {
          said = true;
        }
        happened = fails.happened();
      }
      check(said);
      ASSERT_TRUE(happened || !said);
      if (!happened || HasFailure()) return;
      ASSERT_LT(n, 100'000);
    }
  }

  scratch const dir;
  std::filesystem::path const at = dir / "file";
};

TEST_F(no_memory, to_write_a_file) {
  auto const text = pattern(std::size_t{9} << 20, 1);
  for (auto const how : {durability::cached, durability::atomic}) {
    put(at, "old");
    fail_each([&] { errand::write_file(at, std::string_view{text}, how).get(); },
              [&](bool said) {
                auto const found = contents(at);
                ASSERT_TRUE(found == text ||
                            (said && (found == "old" || (how == durability::cached && text.starts_with(found)))));
                ASSERT_LE(dir.entries(), 1U);
              });
  }
}

TEST_F(no_memory, to_read_a_file) {
  auto const text = pattern(std::size_t{9} << 20, 2);
  put(at, text);
  std::string found;
  fail_each([&] { found = errand::read_file(at).get(); }, [&](bool said) { ASSERT_TRUE(said || found == text); });
}

TEST_F(no_memory, to_read_lines) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += std::to_string(i) + '\n';
  put(at, text);
  std::size_t count = 0;
  fail_each(
      [&] {
        count = 0;
        for (auto const line : errand::lines{at}) count += line.empty() ? 0U : 1U;
      },
      [&](bool said) { ASSERT_TRUE(said ? count <= 200'000 : count == 200'000) << count; });
  auto const one_more = [](std::size_t& n, std::string_view) { ++n; };
  fail_each(
      [&] {
        count = errand::reduce_lines(
            at, [] { return std::size_t{0}; }, one_more, std::plus<>{});
      },
      [&](bool said) { ASSERT_TRUE(said || count == 200'000) << count; });
}

// Who is told that there is no memory gives the piece once more. Such a piece must not have been taken.
void fail_writer(errand_test::scratch const& dir, durability how, auto const& fail_all) {
  auto const at = dir / "file";
  std::vector<std::string> pieces;
  std::string all;
  for (std::size_t const size : {10UL, 300'000UL, 5UL, 262'144UL, 1UL, 700'000UL, 262'143UL, 2UL}) {
    pieces.push_back(pattern(size, size));
    all += pieces.back();
  }
  fail_all(
      [&] {
        std::optional<errand::file_writer> w;
        auto const insisting = [&](auto&& call) {
          for (int i = 0; i != 10; ++i) try {
              return call();
            } catch (std::bad_alloc const&) {
              if (w) w->retry();
            }
          FAIL() << "it says again and again that there is no memory";
        };
        insisting([&] { w.emplace(at, how); });
        for (int round = 0; round != 4; ++round)
          for (auto const& piece : pieces) insisting([&] { w->write(std::string_view{piece}); });
        insisting([&] { w->close(); });
      },
      [&](bool) {
        auto const found = contents(at);
        ASSERT_EQ(found.size(), 4 * all.size());
        ASSERT_TRUE(found == all + all + all + all);
      });
}

TEST_F(no_memory, for_a_writer_that_is_given_everything_again) {
  for (auto const how : {durability::cached, durability::atomic})
    fail_writer(dir, how, [](auto run, auto check) { fail_each(run, check); });
}

}  // namespace
