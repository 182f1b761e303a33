// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a stop callback of the user's may do, whoever asks for the stop: a task, a thread, a time limit. It may wait, and holds
// up nobody but whoever asked; and the destructor of its std::stop_callback waits for it.
#include <errand/errand.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace {

using namespace std::chrono_literals;

// Registers a callback that waits for a sleeping task, and returns when it has been called.
void be_stopped_by_others() {
  std::atomic<bool> called{false};
  auto const callback = [&called, registered_by = std::this_thread::get_id()] {
    // Stopped already, it is called by the constructor, in the stopped task, where a wait throws.
    if (std::this_thread::get_id() != registered_by) errand::async([] { errand::this_task::sleep_for(1ms); }).get();
    called = true;
    called.notify_all();
  };
  std::stop_callback const c{errand::this_task::stop_token(), callback};
  called.wait(false);
}

TEST(stop_callbacks, one_that_waits_for_a_sleeping_task_does_not_hold_up_the_time_for_others) {
  auto f = errand::async({.on = errand::blocking, .timeout = 5ms}, be_stopped_by_others);
  f.wait();
  EXPECT_TRUE(f.ready());  // at all
}

TEST(stop_callbacks, one_of_a_task_below_the_one_with_the_limit_does_not_either) {
  auto f = errand::async({.on = errand::blocking, .timeout = 5ms},
                         [] { errand::async(errand::blocking, be_stopped_by_others).get(); });
  f.wait();
  EXPECT_TRUE(f.ready());  // at all
}

// One worker: the task that is stopped could only run where the callback waits, if that parked.
TEST(stop_callbacks, the_destructor_waits_for_one_that_waits_itself) {
  errand::pool one{1};
  std::atomic<bool> ready{false};
  bool seen = false;
  bool seen_before_the_destructor_returned = false;
  auto stopped = errand::async(one, [&] {
    auto data = std::make_unique<int>(7);
    {
      auto const callback = [&, p = data.get()] {
        errand::async(errand::blocking, [] {}).get();
        errand::this_task::yield();
        seen = *p == 7;
      };
      std::stop_callback const c{errand::this_task::stop_token(), callback};
      ready = true;
      while (!errand::this_task::stop_token().stop_requested()) {
        try {
          errand::this_task::yield();
        } catch (errand::operation_cancelled const&) {
        }
      }
    }
    seen_before_the_destructor_returned = seen;
  });
  errand::async(one, [&] {
    while (!ready) errand::this_task::yield();
    stopped.request_stop();
  }).get();
  stopped.wait();
  EXPECT_TRUE(seen_before_the_destructor_returned);
}

}  // namespace
