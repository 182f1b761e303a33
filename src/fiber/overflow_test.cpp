// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/overflow.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>

#include "fiber/test_fiber.hpp"

namespace errand::detail {
namespace {

std::size_t describe_as_deep_task(char* buffer, std::size_t size) noexcept {
  constexpr std::string_view name = "task \"deep\" (deep.cpp:12)";
  if (name.size() > size) return 0;
  std::memcpy(buffer, name.data(), name.size());
  return name.size();
}

volatile int deepest = 1 << 30;

[[gnu::noinline]] int recurse(int depth) {
  if (depth == deepest) return 0;
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return recurse(depth + 1) + frame[0];
}

void overflow_a_fiber() {
  stack native;
  adopt_thread_stack(native);
  test_fiber fiber([](test_fiber&) { recurse(0); });
  fiber.resume(native);
}

class overflow : public ::testing::Test {
 protected:
  overflow() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

using overflow_death_test = overflow;

TEST_F(overflow_death_test, names_the_task_and_the_size_of_its_stack) {
  EXPECT_DEATH(
      {
        set_describe_running(describe_as_deep_task);
        overflow_guard guard;
        overflow_a_fiber();
      },
      "errand: stack overflow in task \"deep\" \\(deep.cpp:12\\) \\(256 KiB stack;");
}

TEST_F(overflow_death_test, is_reported_on_a_thread_other_than_the_first) {
  EXPECT_DEATH(
      {
        overflow_guard main_guard;
        std::thread([] {
          overflow_guard guard;
          overflow_a_fiber();
        }).join();
      },
      "errand: stack overflow in a task \\(256 KiB stack;");
}

void previous_handler(int signal) {
  constexpr std::string_view text = "the previous handler has the fault\n";
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  ::_exit(signal == SIGSEGV ? 3 : 4);
}

TEST_F(overflow_death_test, goes_on_to_the_handler_that_was_there_before) {
  EXPECT_EXIT(
      {
        ::signal(SIGSEGV, previous_handler);
        overflow_guard guard;
        overflow_a_fiber();
      },
      ::testing::ExitedWithCode(3), "stack overflow in a task(.|\n)*the previous handler has the fault");
}

volatile std::uintptr_t nowhere = 16;

void write_to_nowhere() { *reinterpret_cast<volatile int*>(nowhere) = 1; }

TEST_F(overflow_death_test, fault_elsewhere_reaches_the_previous_handler_without_a_word) {
  EXPECT_EXIT(
      {
        ::signal(SIGSEGV, previous_handler);
        overflow_guard guard;
        write_to_nowhere();
      },
      ::testing::ExitedWithCode(3), "^the previous handler has the fault\n$");
}

TEST_F(overflow_death_test, fault_elsewhere_ends_the_process_by_its_signal) {
  if (address_sanitizer || thread_sanitizer) GTEST_SKIP() << "the sanitizers handle faults themselves";
  EXPECT_EXIT(
      {
        overflow_guard guard;
        write_to_nowhere();
      },
      ::testing::KilledBySignal(SIGSEGV), "^$");
}

TEST_F(overflow_death_test, signal_sent_by_kill_still_ends_the_process) {
  if (address_sanitizer || thread_sanitizer) GTEST_SKIP() << "the sanitizers handle faults themselves";
  EXPECT_EXIT(
      {
        overflow_guard guard;
        ::raise(SIGSEGV);
        ::_exit(0);
      },
      ::testing::KilledBySignal(SIGSEGV), "^$");
}

TEST_F(overflow, guard_leaves_the_threads_signal_stack_as_it_was) {
  std::thread([] {
    stack_t before = {};
    stack_t during = {};
    stack_t after = {};
    ASSERT_EQ(::sigaltstack(nullptr, &before), 0);
    {
      overflow_guard guard;
      ASSERT_EQ(::sigaltstack(nullptr, &during), 0);
      EXPECT_EQ(during.ss_flags & SS_DISABLE, 0);
    }
    ASSERT_EQ(::sigaltstack(nullptr, &after), 0);
    EXPECT_EQ(after.ss_flags, before.ss_flags);
  }).join();
}

}  // namespace
}  // namespace errand::detail
