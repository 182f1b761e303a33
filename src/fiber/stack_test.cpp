// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/stack.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "fiber/slab.hpp"
#include "fiber/test_fiber.hpp"

namespace errand::detail {
namespace {

// Every test leaves as many live stacks as it found.
class stacks : public ::testing::Test {
 protected:
  stacks() : live_before_(stack_counts().live) { adopt_thread_stack(native_); }
  ~stacks() override { EXPECT_EQ(stack_counts().live, live_before_); }

  // Suspends `count` fibers at once, each with something on its stack, then ends them all.
  void suspend_all_at_once(std::size_t count) {
    std::vector<std::unique_ptr<test_fiber>> fibers;
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      fibers.push_back(std::make_unique<test_fiber>([&sum, i](test_fiber& self) {
        volatile std::size_t mine = i;
        self.suspend();
        sum += mine;
      }));
      fibers.back()->resume(native_);
    }
    EXPECT_EQ(stack_counts().live, live_before_ + count);
    for (auto& fiber : fibers) fiber->resume(native_);
    EXPECT_EQ(sum, count * (count - 1) / 2);
  }

  std::size_t live_before_;
  stack native_;
};

TEST_F(stacks, last_one_released_is_the_first_one_acquired) {
  stack* first = acquire_stack();
  stack* second = acquire_stack();
  EXPECT_NE(first, second);
  release_stack(first);
  release_stack(second);
  EXPECT_EQ(acquire_stack(), second);
  EXPECT_EQ(acquire_stack(), first);
  release_stack(first);
  release_stack(second);
}

TEST_F(stacks, all_of_a_stack_is_usable) {
  stack* s = acquire_stack();
  EXPECT_GT(static_cast<std::size_t>(s->top - s->limit), stack_size() - 8192);
  std::memset(s->limit, 1, static_cast<std::size_t>(s->top - s->limit));
  release_stack(s);
}

TEST_F(stacks, guard_lies_right_below_the_limit) {
  stack* s = acquire_stack();
  EXPECT_EQ(size_of_slot_guarded_at(s->limit - 1), stack_size());
  EXPECT_EQ(size_of_slot_guarded_at(s->limit - guard_size()), stack_size());
  EXPECT_EQ(size_of_slot_guarded_at(s->limit), 0u);
  EXPECT_EQ(size_of_slot_guarded_at(s), 0u);
  EXPECT_EQ(size_of_slot_guarded_at(&s), 0u);
  release_stack(s);
}

TEST_F(stacks, tops_of_neighbours_differ_within_their_page) {
  std::vector<stack*> held;
  std::set<std::uintptr_t> offsets;
  for (int i = 0; i < 32; ++i) {
    held.push_back(acquire_stack());
    offsets.insert(reinterpret_cast<std::uintptr_t>(held.back()) % 4096);
  }
  EXPECT_GE(offsets.size(), 8u);
  EXPECT_GT(*offsets.begin(), 2000u) << "a suspended fiber needs room below its descriptor in the same page";
  for (stack* s : held) release_stack(s);
}

TEST_F(stacks, size_cannot_change_once_there_is_a_stack) {
  release_stack(acquire_stack());
  EXPECT_THROW(set_stack_size(1024 * 1024), std::logic_error);
  EXPECT_THROW(set_stack_size(1024), std::invalid_argument);
}

TEST_F(stacks, cache_serves_its_own_before_it_asks_the_pool) {
  stack_cache cache;
  stack* s = cache.acquire();
  cache.release(s);
  EXPECT_EQ(stack_counts().live, live_before_);
  EXPECT_EQ(cache.acquire(), s);
  EXPECT_EQ(stack_counts().live, live_before_ + 1);
  cache.release(s);
}

TEST_F(stacks, cache_spills_what_it_cannot_hold_and_gives_all_back_in_the_end) {
  const stack_statistics before = stack_counts();
  {
    stack_cache cache;
    std::vector<stack*> held;
    for (int i = 0; i < 100; ++i) held.push_back(cache.acquire());
    EXPECT_EQ(stack_counts().live, live_before_ + 100);
    EXPECT_EQ(std::set<stack*>(held.begin(), held.end()).size(), 100u) << "each is handed out once";
    for (stack* s : held) cache.release(s);
    EXPECT_EQ(stack_counts().live, live_before_);
  }
  const stack_statistics after = stack_counts();
  EXPECT_EQ(after.warm + after.trimmed + after.live, after.created);
  EXPECT_GE(after.created, before.created);
}

TEST_F(stacks, caches_of_several_threads_share_the_pool) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      stack_cache cache;
      std::vector<stack*> held;
      for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < 40; ++i) {
          held.push_back(cache.acquire());
          *(held.back()->top - 1) = std::byte{1};  // ours alone, or ThreadSanitizer objects
        }
        for (stack* s : held) cache.release(s);
        held.clear();
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_F(stacks, a_thousand_fibers_are_suspended_at_once) { suspend_all_at_once(1000); }

TEST_F(stacks, ten_thousand_fibers_are_suspended_at_once) {
  if (thread_sanitizer) GTEST_SKIP() << "GCC 12's ThreadSanitizer allows 8128 threads and fibers";
  suspend_all_at_once(10'000);
}

TEST_F(stacks, forty_thousand_fibers_are_suspended_at_once) {
  if (thread_sanitizer) GTEST_SKIP() << "GCC 12's ThreadSanitizer allows 8128 threads and fibers";
  release_stack(acquire_stack());
  if (!guards_are_marks()) GTEST_SKIP() << "this kernel guards with mprotect, which vm.max_map_count bounds";
  suspend_all_at_once(40'000);
}

TEST_F(stacks, those_idle_beyond_the_bound_lose_their_memory_and_can_be_used_again) {
  constexpr std::size_t many = 17'000;  // more than stay warm
  std::vector<stack*> held;
  const auto hold = [&] {
    for (std::size_t i = 0; i < many; ++i) {
      held.push_back(acquire_stack());
      *(held.back()->top - 1) = std::byte{1};
    }
  };
  const auto release_all = [&] {
    for (stack* s : held) release_stack(s);
    held.clear();
  };
  trim_stacks();
  hold();
  release_all();
  const stack_statistics idle = stack_counts();
  EXPECT_GE(idle.trimmed, 256u);
  EXPECT_LE(idle.warm, 16'384u + 256u);
  EXPECT_EQ(idle.warm + idle.trimmed + idle.live, idle.created);
  hold();
  release_all();
  EXPECT_EQ(stack_counts().created, idle.created) << "trimmed stacks are used before new ones";
}

TEST_F(stacks, trimming_gives_back_the_memory_of_all_idle_ones) {
  std::vector<stack*> held;
  for (int i = 0; i < 600; ++i) {
    held.push_back(acquire_stack());
    *(held.back()->top - 1) = std::byte{1};
  }
  std::byte* page = held.front()->limit + (stack_size() - 2 * guard_size());
  for (stack* s : held) release_stack(s);
  EXPECT_GE(trim_stacks(), 600u);
  EXPECT_EQ(stack_counts().warm, 0u);
  unsigned char resident = 1;
  ASSERT_EQ(::mincore(page, guard_size(), &resident), 0);
  EXPECT_EQ(resident & 1, 0);
  test_fiber again([](test_fiber& self) { self.suspend(); });
  again.resume(native_);
  EXPECT_EQ(size_of_slot_guarded_at(again.own().limit - 1), stack_size());
}

// Runs `check` in a forked child and returns its exit status.
int status_in_child(int (*check)()) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(check());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

std::size_t address_space_in_use() {
  std::size_t pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%zu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

int use_up_a_limited_address_space() {
  while (stack_counts().warm + stack_counts().trimmed != 0) acquire_stack();
  while (stack_counts().created % 1024 != 0) acquire_stack();  // the rest of a slab that was mapped before
  const stack_statistics before = stack_counts();
  constexpr std::size_t room = 40 * 1024 * 1024;
  const rlimit limit{address_space_in_use() + room, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) return 10;
  try {
    for (std::size_t i = 0; i <= room / stack_size(); ++i) acquire_stack();
    return 13;  // the limit did not hold
  } catch (const std::bad_alloc&) {
  }
  const stack_statistics after = stack_counts();
  if (after.created - before.created < room / stack_size() * 9 / 10) return 11;
  if (after.slabs - before.slabs < 3) return 12;  // of different sizes
  return 0;
}

// Semantics, rule 26.
TEST_F(stacks, rule_26_slabs_shrink_before_a_limited_address_space_fails) {
  if (address_sanitizer || thread_sanitizer) GTEST_SKIP() << "the sanitizers' own mappings exceed any limit";
  EXPECT_EQ(status_in_child(use_up_a_limited_address_space), 0);
}

int acquire_and_run_in_child() {
  stack native;
  adopt_thread_stack(native);
  int turns = 0;
  test_fiber fiber([&](test_fiber& self) {
    ++turns;
    self.suspend();
    ++turns;
  });
  fiber.resume(native);
  fiber.resume(native);
  return turns == 2 ? 0 : 1;
}

TEST_F(stacks, child_of_a_fork_has_a_working_pool) {
  if (thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer's runtime may hang in a forked child";
  release_stack(acquire_stack());
  EXPECT_EQ(status_in_child(acquire_and_run_in_child), 0);
}

}  // namespace
}  // namespace errand::detail
