// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// No system allocation per task in the steady state, whoever starts it and however it is waited for. Every operator new of
// this executable is counted, the library's and the standard library's among them.
#include <errand/task.hpp>

#include "base/sanitizers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};

}  // namespace

// The sanitizers bring operators of their own, which must not be replaced.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(std::size_t size) {
  ++allocations;
  if (void* const p = std::malloc(size != 0 ? size : 1)) return p;
  throw std::bad_alloc{};
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  auto const a = static_cast<std::size_t>(alignment);
  if (void* const p = std::aligned_alloc(a, (size + a - 1) / a * a)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
#endif

namespace errand::detail {
namespace {

using namespace std::chrono_literals;

// Allocations of one round of `work`: the least of many, since a rare one (a larger ring, another slab) is no steady state.
template <class Work>
std::size_t allocations_of(Work work) {
  auto least = SIZE_MAX;
  for (int i = 0; i < 100; ++i) {
    auto const before = allocations.load();
    work();
    auto const made = allocations.load() - before;
    if (i >= 10 && made < least) least = made;
  }
  return least;
}

class steady_state : public testing::Test {
 protected:
  void SetUp() override {
    if (sanitized_memory) GTEST_SKIP() << "the sanitizers' own allocation is not counted";
  }
};

TEST_F(steady_state, the_count_counts) {
  EXPECT_GE(allocations_of([] { ::operator delete(::operator new(100)); }), 1U);
}

TEST_F(steady_state, tasks_started_and_taken_by_a_foreign_thread_allocate_nothing) {
  EXPECT_EQ(allocations_of([] {
              for (int i = 0; i < 100; ++i) async([i] { return i; }).get();
            }),
            0U);
}

TEST_F(steady_state, tasks_started_by_tasks_allocate_nothing) {
  EXPECT_EQ(async([] {
              return allocations_of([] {
                auto a = async([] { return 1; });
                auto b = async([] { return 2; });
                static_cast<void>(a.get() + b.get());
              });
            }).get(),
            0U);
}

TEST_F(steady_state, parking_yielding_and_sleeping_allocate_nothing) {
  EXPECT_EQ(async([] {
              return allocations_of([] {
                async([] { this_task::sleep_for(1us); }).get();
                auto f = async([] { this_task::yield(); });
                while (f.wait_for(10us) == future_status::timeout) {
                }
                f.get();
              });
            }).get(),
            0U);
}

TEST_F(steady_state, coroutines_allocate_nothing) {
  auto const value = []() -> task<int> { co_return 1; };
  EXPECT_EQ(allocations_of([&] {
              async([&]() -> task<int> {
                int const a = co_await value();
                auto f = async([] { return 2; });
                co_return a + co_await f;
              }).get();
            }),
            0U);
}

TEST_F(steady_state, coroutines_that_sleep_and_move_allocate_nothing) {
  pool other{1};
  EXPECT_EQ(allocations_of([&] {
              async([&]() -> task<> {
                co_await sleep_for(1us);
                co_await resume_on(other);
                co_await sleep_for(1us);
                co_await resume_on(threads);
              }).get();
            }),
            0U);
}

TEST_F(steady_state, stops_and_names_that_are_short_allocate_nothing) {
  EXPECT_EQ(allocations_of([] {
              auto f = async({.name = "short"}, [] { this_task::sleep_for(1h); });
              f.request_stop();
              static_cast<void>(f.result());
            }),
            0U);
}

}  // namespace
}  // namespace errand::detail
