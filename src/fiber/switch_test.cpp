// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/switch.hpp"

#include <gtest/gtest.h>
#include <unistd.h>
#include <unwind.h>

#include <cfenv>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fiber/test_fiber.hpp"

namespace errand::detail {
namespace {

class switching : public ::testing::Test {
 protected:
  switching() { adopt_thread_stack(native_); }
  stack native_;
};

// Runs `work` on a new thread that has adopted its stack.
void on_another_thread(const std::function<void(stack&)>& work) {
  std::thread([&] {
    stack native;
    adopt_thread_stack(native);
    work(native);
  }).join();
}

stack* echoing = nullptr;
stack* echo_caller = nullptr;

void echo_plus_one(void* arg) noexcept {
  for (;;) {
    auto number = reinterpret_cast<std::uintptr_t>(arg);
    arg = switch_stack(*echoing, *echo_caller, reinterpret_cast<void*>(number + 1));
  }
}

TEST_F(switching, arguments_pass_both_ways_at_every_switch) {
  echoing = acquire_stack();
  echo_caller = &native_;
  prepare(*echoing, echo_plus_one);
  for (std::uintptr_t i = 0; i < 100'000; ++i) {
    void* answer = switch_stack(native_, *echoing, reinterpret_cast<void*>(i));
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(answer), i + 1);
  }
  release_stack(echoing);
}

TEST_F(switching, locals_of_both_sides_survive) {
  std::vector<std::string> seen;
  test_fiber fiber([&](test_fiber& self) {
    std::string mine = "a string long enough to live on the heap";
    double number = 1.5;
    for (int i = 0; i < 3; ++i) {
      self.suspend();
      mine += '!';
      number *= 2;
    }
    seen.push_back(mine);
    EXPECT_EQ(number, 12.0);
  });
  double ours = 0.25;
  while (!fiber.is_done()) {
    fiber.resume(native_);
    ours *= 2;
  }
  EXPECT_EQ(ours, 4.0);
  EXPECT_EQ(seen, std::vector<std::string>{"a string long enough to live on the heap!!!"});
}

TEST_F(switching, fibers_switch_to_one_another_without_returning_to_the_thread) {
  constexpr int turns = 1000;
  int passes = 0;
  test_fiber* partner = nullptr;
  test_fiber first([&](test_fiber& self) {
    for (int i = 0; i < turns; ++i, ++passes) partner->resume(self.own());
  });
  test_fiber second([&](test_fiber& self) {
    for (;;) {
      ++passes;
      self.suspend();
    }
  });
  partner = &second;
  first.resume(native_);
  EXPECT_TRUE(first.is_done());
  EXPECT_EQ(passes, 2 * turns);
}

TEST_F(switching, suspended_fiber_continues_on_another_thread) {
  // Not std::this_thread::get_id(): compilers believe that a function stays on its thread and ask only once.
  pid_t before = 0;
  pid_t after = 0;
  test_fiber fiber([&](test_fiber& self) {
    before = ::gettid();
    self.suspend();
    after = ::gettid();
  });
  fiber.resume(native_);
  pid_t other = 0;
  on_another_thread([&](stack& native) {
    other = ::gettid();
    fiber.resume(native);
  });
  EXPECT_TRUE(fiber.is_done());
  EXPECT_EQ(before, ::gettid());
  EXPECT_EQ(after, other);
  EXPECT_NE(before, after);
}

// The scheduler's own use: the loop runs on a pooled stack; what blocks keeps that stack; the loop goes on
// on a fresh one, and whoever continues the blocked one abandons the loop that it left.
struct hopping {
  stack* native;
  stack* loop;  // runs the loop now
  stack* blocked = nullptr;
  int hops = 0;
  int left;
};

void hopping_loop(void* arg) noexcept;

void block(hopping& state) {
  stack* kept = state.loop;
  state.loop = acquire_stack();
  prepare(*state.loop, hopping_loop);
  state.blocked = kept;
  auto* abandoned = static_cast<stack*>(switch_stack(*kept, *state.loop, &state));
  release_stack(abandoned);
  ++state.hops;
}

void hopping_loop(void* arg) noexcept {
  auto& state = *static_cast<hopping*>(arg);
  // AddressSanitizer poisons the surroundings of an array until its frame ends, which this one never does.
  volatile char buffer[64];
  for (auto& c : buffer) c = 1;
  if (state.blocked != nullptr) {
    stack* ours = state.loop;
    state.loop = state.blocked;
    state.blocked = nullptr;
    switch_stack_final(*ours, *state.loop, ours);
  }
  while (state.left-- > 0) block(state);
  switch_stack_final(*state.loop, *state.native, nullptr);
}

TEST_F(switching, abandoned_loops_are_reused_without_trace) {
  hopping state{&native_, acquire_stack(), nullptr, 0, 10'000};
  const std::size_t live = stack_counts().live;
  prepare(*state.loop, hopping_loop);
  switch_stack(native_, *state.loop, &state);
  EXPECT_EQ(state.hops, 10'000);
  release_stack(state.loop);
  EXPECT_EQ(stack_counts().live, live - 1);
}

TEST_F(switching, exceptions_in_flight_belong_to_their_stack) {
  std::vector<std::unique_ptr<test_fiber>> fibers;
  int right = 0;
  for (int i = 0; i < 20; ++i) {
    fibers.push_back(std::make_unique<test_fiber>([&right, i](test_fiber& self) {
      try {
        throw std::runtime_error(std::to_string(i));
      } catch (const std::exception&) {
        self.suspend();  // caught here, while the others throw and catch theirs
        try {
          self.suspend();
          throw;
        } catch (const std::exception& rethrown) {
          self.suspend();
          if (rethrown.what() == std::to_string(i)) ++right;
        }
      }
      EXPECT_EQ(std::current_exception(), nullptr);
    }));
  }
  for (int round = 0; round < 4; ++round) {
    for (auto& fiber : fibers) {
      fiber->resume(native_);
      EXPECT_EQ(std::current_exception(), nullptr);
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    }
  }
  EXPECT_EQ(right, 20);
}

TEST_F(switching, unwinding_that_suspends_keeps_its_count_of_uncaught_exceptions) {
  struct suspends_when_destroyed {
    test_fiber& self;
    ~suspends_when_destroyed() {
      EXPECT_EQ(std::uncaught_exceptions(), 1);
      self.suspend();
      EXPECT_EQ(std::uncaught_exceptions(), 1);
    }
  };
  bool caught = false;
  test_fiber fiber([&](test_fiber& self) {
    try {
      suspends_when_destroyed guard{self};
      throw std::runtime_error("unwinds");
    } catch (const std::runtime_error&) {
      caught = true;
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
  fiber.resume(native_);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  fiber.resume(native_);
  EXPECT_TRUE(caught);
}

TEST_F(switching, exception_caught_on_one_thread_is_rethrown_on_another) {
  bool caught = false;
  test_fiber fiber([&](test_fiber& self) {
    try {
      try {
        throw std::runtime_error("from the first thread");
      } catch (...) {
        self.suspend();
        throw;
      }
    } catch (const std::runtime_error& e) {
      caught = e.what() == std::string("from the first thread");
    }
  });
  fiber.resume(native_);
  EXPECT_EQ(std::current_exception(), nullptr);
  on_another_thread([&](stack& native) {
    fiber.resume(native);
    EXPECT_EQ(std::current_exception(), nullptr);
  });
  EXPECT_TRUE(caught);
}

TEST_F(switching, rounding_mode_belongs_to_its_stack_and_a_fresh_one_has_the_default) {
  volatile double one = 1.0;
  volatile double three = 3.0;
  const double nearest = one / three;
  test_fiber fiber([&](test_fiber& self) {
    EXPECT_EQ(std::fegetround(), FE_TONEAREST);
    std::fesetround(FE_UPWARD);
    self.suspend();
    EXPECT_EQ(std::fegetround(), FE_UPWARD);
    EXPECT_GT(one / three, nearest);
    self.suspend();
  });
  std::fesetround(FE_DOWNWARD);
  fiber.resume(native_);
  EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(one / three, nearest);
  fiber.resume(native_);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  EXPECT_EQ(one / three, nearest);
}

TEST_F(switching, entry_is_called_with_the_alignment_that_the_abi_promises) {
  bool checked = false;
  test_fiber fiber([&](test_fiber&) {
    alignas(16) volatile char buffer[16] = {};
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&buffer) % 16, 0u);
    volatile long double wide = 1.0L;  // spilled with aligned stores
    checked = std::to_string(static_cast<double>(wide)) == "1.000000";
  });
  fiber.resume(native_);
  EXPECT_TRUE(checked);
}

TEST_F(switching, backtrace_ends_at_the_first_frame_of_the_stack) {
  int frames = 0;
  _Unwind_Reason_Code end = _URC_NO_REASON;
  test_fiber fiber([&](test_fiber&) {
    end = _Unwind_Backtrace(
        [](_Unwind_Context*, void* count) {
          return ++*static_cast<int*>(count) < 100 ? _URC_NO_REASON : _URC_NORMAL_STOP;
        },
        &frames);
  });
  fiber.resume(native_);
  EXPECT_EQ(end, _URC_END_OF_STACK);
  EXPECT_GE(frames, 2);
  EXPECT_LT(frames, 30);
}

TEST_F(switching, stack_left_shrinks_as_calls_nest) {
  test_fiber fiber([](test_fiber& self) {
    const std::size_t left = stack_left(self.own());
    EXPECT_GT(left, stack_size() / 2);
    EXPECT_LT(left, stack_size());
    const auto nested = [&]() __attribute__((noinline)) {
      volatile char buffer[2048];
      buffer[0] = 1;
      return stack_left(self.own()) + static_cast<std::size_t>(buffer[0] - 1);
    };
    EXPECT_LT(nested(), left);
  });
  fiber.resume(native_);
  EXPECT_GT(stack_left(native_), 0u);
}

}  // namespace
}  // namespace errand::detail
