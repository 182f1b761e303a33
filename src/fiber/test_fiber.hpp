// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The smallest thing that runs on a stack, for the tests of this module: a body that can suspend itself and be
// resumed by any thread. The real one is the scheduler's task.
#pragma once

#include <functional>
#include <utility>

#include "fiber/stack.hpp"

namespace errand::detail {

class test_fiber {
 public:
  explicit test_fiber(std::function<void(test_fiber&)> body) : body_(std::move(body)), own_(acquire_stack()) {
    prepare(*own_, &begin);
  }
  ~test_fiber() { release_stack(own_); }
  test_fiber(const test_fiber&) = delete;
  test_fiber& operator=(const test_fiber&) = delete;

  // Runs the body on from where it is until it suspends or ends; `caller` is the stack that the caller runs on.
  void resume(stack& caller) {
    resumer_ = &caller;
    switch_stack(caller, *own_, this);
  }
  void suspend() { switch_stack(*own_, *resumer_, nullptr); }

  bool is_done() const { return done_; }
  stack& own() { return *own_; }

 private:
  static void begin(void* arg) noexcept {
    auto& self = *static_cast<test_fiber*>(arg);
    self.body_(self);
    self.done_ = true;
    switch_stack_final(*self.own_, *self.resumer_, nullptr);
  }

  std::function<void(test_fiber&)> body_;
  stack* own_;
  stack* resumer_ = nullptr;
  bool done_ = false;
};

}  // namespace errand::detail
