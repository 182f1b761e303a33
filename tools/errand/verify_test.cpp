// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/verify.hpp"

#include "bench/failure.hpp"
#include "bench/isolate.hpp"
#include "bench/scratch_directory.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <vector>

namespace bench {
namespace {

std::string message_of(auto const& run) {
  try {
    run();
  } catch (failure const& e) {
    return e.what();
  }
  return "";
}

class verification : public testing::Test {
 protected:
  // More lines than one block of the comparison.
  static constexpr std::uint64_t lines = 450'000;

  verification() : jobs_{job::write(lines, scratch_.file("lines.txt"))}, answers_{run_job(jobs_[0])} {}

  std::string complaint() const {
    return message_of([&] { verify(jobs_, answers_); });
  }

  scratch_directory scratch_{""};
  std::vector<job> jobs_;
  std::vector<answer> answers_;
};

TEST_F(verification, accepts_what_was_asked_for) { EXPECT_EQ(complaint(), ""); }

TEST_F(verification, catches_one_changed_byte_far_into_a_file) {
  std::fstream file(jobs_[0].path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(2'000'003);
  file.put('x');
  file.close();
  EXPECT_NE(complaint().find("lines.txt holds wrong bytes"), std::string::npos) << complaint();
}

TEST_F(verification, catches_a_file_that_is_too_short) {
  std::filesystem::resize_file(jobs_[0].path, lines * 5 - 1);
  EXPECT_NE(complaint().find("has 2249999 bytes, not 2250000"), std::string::npos) << complaint();
}

TEST_F(verification, catches_a_missing_file) {
  std::filesystem::remove(jobs_[0].path);
  EXPECT_NE(complaint().find("cannot read"), std::string::npos) << complaint();
}

TEST_F(verification, tells_why_a_write_failed) {
  jobs_[0] = job::write(10, scratch_.file("no/such/directory"));
  answers_[0] = run_job(jobs_[0]);
  EXPECT_NE(complaint().find("no/such/directory: No such file or directory"), std::string::npos) << complaint();
}

TEST_F(verification, catches_a_wrong_count) {
  jobs_[0] = job::count(100);
  answers_[0].value = 4949;
  EXPECT_EQ(complaint(), "the job n = 100 counted 4949 steps, not 4950");
}

TEST_F(verification, names_the_first_byte_in_which_two_files_differ) {
  std::ofstream(scratch_.file("a")) << "same, then A";
  std::ofstream(scratch_.file("b")) << "same, then B";
  std::string const text = message_of([&] { verify_same_bytes(scratch_.file("a"), scratch_.file("b")); });
  EXPECT_NE(text.find("at byte 11"), std::string::npos) << text;
}

TEST(isolated_work, returns_its_bytes_and_its_failures) {
  EXPECT_EQ(run_isolated([] { return std::string(1 << 20, 'x'); }).size(), std::size_t{1} << 20);
  EXPECT_EQ(message_of([] { run_isolated([]() -> std::string { throw failure("as told"); }); }), "as told");
}

TEST(isolated_work, that_dies_is_a_failure_that_says_how) {
  std::string const text = message_of([] {
    run_isolated([]() -> std::string {
      std::raise(SIGKILL);
      return "";
    });
  });
  EXPECT_NE(text.find("killed by signal 9"), std::string::npos) << text;
}

TEST(scratch, is_removed_with_all_that_is_in_it) {
  std::string path;
  {
    scratch_directory const scratch("");
    path = scratch.path();
    std::ofstream(scratch.file("something")) << "text";
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace bench
