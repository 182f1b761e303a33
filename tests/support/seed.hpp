// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The seed of a randomised test and how long it runs. Each run takes a new seed and prints, before anything can crash or
// hang, the command that replays it: ERRAND_TEST_SEED brings the same choices back. What remains to chance is the
// scheduling, so a replay may take some repetitions. ERRAND_STRESS_SECONDS makes every stress test run that long.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

namespace errand_test {

/// A small generator that is the same everywhere (SplitMix64, after G. Steele, D. Lea and C. Flood, OOPSLA 2014).
class generator {
 public:
  explicit generator(std::uint64_t seed) : state_{seed} {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9e37'79b9'7f4a'7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d0'49bb'1331'11ebU;
    return z ^ (z >> 31U);
  }
  /// One of 0 … n - 1.
  unsigned below(unsigned n) { return static_cast<unsigned>((*this)() % n); }
  bool one_in(unsigned n) { return below(n) == 0; }
  /// A generator for another thread or task.
  generator split() { return generator{(*this)()}; }

 private:
  std::uint64_t state_;
};

/// Some time, chosen by chance, that no two machines agree on.
inline void dither(generator& random) {
  for (auto n = random.below(4) == 0 ? random.below(2000) : random.below(50); n > 0; --n) asm volatile("" ::: "memory");
  if (random.one_in(50)) std::this_thread::yield();
}

/// The running test's seed, printed with the command that replays it.
[[nodiscard]] inline std::uint64_t test_seed() {
  char const* const given = std::getenv("ERRAND_TEST_SEED");
  std::uint64_t const seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  char const* const workers = std::getenv("ERRAND_THREADS");
  auto const* const test = testing::UnitTest::GetInstance()->current_test_info();
  std::fprintf(stderr, "replay: %s%s ERRAND_TEST_SEED=%llu %s --gtest_filter=%s.%s --gtest_repeat=100\n",
               workers != nullptr ? "ERRAND_THREADS=" : "", workers != nullptr ? workers : "",
               static_cast<unsigned long long>(seed), program_invocation_name, test->test_suite_name(), test->name());
  return seed;
}

/// `for (rounds r{200}; r.next();)`: so many rounds, or as many as fit into ERRAND_STRESS_SECONDS.
class rounds {
 public:
  explicit rounds(int by_default) : left_{by_default} {
    if (char const* const seconds = std::getenv("ERRAND_STRESS_SECONDS"); seconds != nullptr)
      until_ = clock::now() + std::chrono::seconds{std::atoi(seconds)};
  }
  [[nodiscard]] bool next() { return until_ != clock::time_point{} ? clock::now() < until_ : left_-- > 0; }

 private:
  using clock = std::chrono::steady_clock;
  int left_;
  clock::time_point until_{};
};

}  // namespace errand_test
