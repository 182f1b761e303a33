// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/cpu_count.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <string>
#include <thread>

namespace errand::detail {
namespace {

TEST(cpu_count, quota_of_version_two_rounds_up) {
  EXPECT_EQ(quota_of("max 100000\n"), 0U);
  EXPECT_EQ(quota_of("100000 100000\n"), 1U);
  EXPECT_EQ(quota_of("150000 100000\n"), 2U);
  EXPECT_EQ(quota_of("200000 100000\n"), 2U);
  EXPECT_EQ(quota_of("200001 100000\n"), 3U);
  EXPECT_EQ(quota_of("1000 100000\n"), 1U);
  EXPECT_EQ(quota_of("50000 10000"), 5U);
}

TEST(cpu_count, quota_of_nonsense_is_no_limit) {
  for (char const* const text : {"", "\n", "max", "100000", "-1 100000", "0 100000", "100000 0", "100000 max",
                                 "1e5 100000", "abc def", "99999999999999999999 100000"})
    EXPECT_EQ(quota_of(text), 0U) << text;
}

TEST(cpu_count, quota_of_version_one) {
  EXPECT_EQ(quota_of("-1\n", "100000\n"), 0U);
  EXPECT_EQ(quota_of("250000\n", "100000\n"), 3U);
  EXPECT_EQ(quota_of("100000\n", ""), 0U);
  EXPECT_EQ(quota_of("", ""), 0U);
}

TEST(cpu_count, a_huge_quota_is_capped) {
  EXPECT_EQ(quota_of("9000000000000000000 1"), most_workers);
  EXPECT_EQ(quota_of("9223372036854775807 100000"), most_workers);
}

TEST(cpu_count, at_least_one_processor_is_usable) {
  EXPECT_GE(usable_processors(), 1U);
  EXPECT_LE(usable_processors(), most_workers);
}

TEST(cpu_count, affinity_counts) {
  unsigned usable = 0;
  std::thread([&] {  // a thread of its own: its mask goes with it
    cpu_set_t allowed;
    ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
    int first = 0;
    while (!CPU_ISSET(first, &allowed)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    usable = usable_processors();
  })
      .join();
  EXPECT_EQ(usable, 1U);
}

// Sets ERRAND_THREADS while it lives. For single-threaded moments only.
class threads_variable {
 public:
  explicit threads_variable(char const* value) {
    if (char const* const there = std::getenv(name)) before_ = there, was_set_ = true;
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~threads_variable() { was_set_ ? ::setenv(name, before_.c_str(), 1) : ::unsetenv(name); }
  threads_variable(threads_variable const&) = delete;
  threads_variable& operator=(threads_variable const&) = delete;

 private:
  static constexpr char const* name = "ERRAND_THREADS";
  std::string before_;
  bool was_set_ = false;
};

TEST(cpu_count, ERRAND_THREADS_decides) {
  for (unsigned const n : {1U, 3U, 4096U}) {
    threads_variable const set{std::to_string(n).c_str()};
    EXPECT_EQ(default_worker_count(), n);
  }
}

TEST(cpu_count, ERRAND_THREADS_unset_or_empty_leaves_it_to_the_machine) {
  {
    threads_variable const unset{nullptr};
    EXPECT_EQ(default_worker_count(), usable_processors());
  }
  threads_variable const empty{""};
  EXPECT_EQ(default_worker_count(), usable_processors());
}

TEST(cpu_count, ERRAND_THREADS_that_is_no_such_number_is_said_and_ignored) {
  for (char const* const wrong : {"0", "-1", "4097", "two", "2x", " 2", "1.5", "99999999999999999999"}) {
    threads_variable const set{wrong};
    testing::internal::CaptureStderr();
    auto const count = default_worker_count();
    auto const said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(count, usable_processors()) << wrong;
    EXPECT_NE(said.find("errand: ERRAND_THREADS=" + std::string{wrong} + " is ignored"), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace errand::detail
