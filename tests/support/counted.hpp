// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A payload that counts itself: tests put it into callables, arguments and results, and end with none alive. A record that
// was forgotten, or destroyed twice, shows here even without a sanitizer.
#pragma once

#include <atomic>

namespace errand_test {

class counted {
 public:
  explicit counted(int number = 0) : value{number} { ++alive_; }
  counted(counted const& other) : value{other.value} { ++alive_; }
  counted(counted&& other) noexcept : value{other.value} {
    other.value = -1;
    ++alive_;
  }
  counted& operator=(counted const&) = default;
  counted& operator=(counted&&) = default;
  ~counted() { --alive_; }

  [[nodiscard]] static int alive() { return alive_; }

  int value;

 private:
  inline static std::atomic<int> alive_{0};
};

}  // namespace errand_test
