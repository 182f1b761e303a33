// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/fork.hpp"

#include "base/lock.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace errand::detail {
namespace {

int renewed = 0;
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { ++renewed; }};

template <class Body>
int status_of_child(Body body) {
  pid_t const child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(fork, each_generation_counts_and_renews_once_and_the_parent_never) {
  auto const before = process_generation;
  auto const grandchild = [=] { return renewed == 2 && process_generation == before + 2 ? 0 : 1; };
  EXPECT_EQ(status_of_child([=] {
              if (renewed != 1 || process_generation != before + 1) return 2;
              return status_of_child(grandchild);
            }),
            0);
  EXPECT_EQ(renewed, 0);
  EXPECT_EQ(process_generation, before);
}

TEST(fork, a_fork_of_our_own_changes_nothing_and_one_in_its_child_does) {
  auto const before = process_generation;
  auto const renewed_once = [] { return renewed == 1 ? 0 : 1; };
  auto const untouched = [=] { return renewed == 0 && process_generation == before; };
  int status = -1;
  pid_t child;
  {
    own_fork const ours;
    child = ::fork();
  }
  if (child == 0) ::_exit(untouched() ? status_of_child(renewed_once) : 2);
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(fork, a_lock_that_another_thread_held_is_broken_open) {
  small_lock lock;
  EXPECT_FALSE(lock.break_open());
  lock.lock();
  EXPECT_TRUE(lock.break_open());
  lock.lock();
  lock.unlock();
}

}  // namespace
}  // namespace errand::detail
