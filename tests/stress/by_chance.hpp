// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the tests of uses chosen by chance share: a generator, silence about the errors that they let go, and at the end nothing
// left alive, and as many lives ended as begun.
#pragma once

#include <gtest/gtest.h>

#include <errand/task.hpp>

#include <atomic>

#include "support/counted.hpp"
#include "support/seed.hpp"

namespace errand_test {

class by_chance : public testing::Test {
 protected:
  by_chance() : random{test_seed()} {
    before_ = errand::set_unobserved_error_handler([](errand::unobserved_error const&) {});
  }
  ~by_chance() override {
    errand::set_unobserved_error_handler(before_);
    EXPECT_EQ(begun, ended);
    EXPECT_EQ(counted::alive(), 0);
  }

  generator random;
  std::atomic<int> begun{0};  // by those tests that count them
  std::atomic<int> ended{0};

 private:
  errand::unobserved_error_handler before_;
};

}  // namespace errand_test
