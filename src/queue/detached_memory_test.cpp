// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A task that is let go of leaves nothing behind, nor does the one that started it: whichever began, ended or let go first.
#include "base/recycler.hpp"
#include "base/sanitizers.hpp"

#include <errand/queue.hpp>
#include <errand/task.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

namespace errand::detail {
namespace {

class detached_memory : public testing::Test {
 protected:
  // `start` starts something that counts one more when all of it has run.
  void keeps_nothing(std::function<void()> const& start) {
    int const rounds = sanitized_memory ? 1'000 : 200'000;  // records of 26 MB
    int const at_once = 100;
    std::uint64_t before = 0;
    for (int round = 0; round < rounds; round += at_once) {
      if (round == rounds / 4) before = recycler_statistics().system_allocations;
      for (int i = 0; i < at_once; ++i) start();
      while (ended_ != round + at_once) std::this_thread::yield();
    }
    if (!sanitized_memory) {  // else the leak checker looks
      EXPECT_LE(recycler_statistics().system_allocations - before, 2U);
    }
  }

  std::atomic<int> ended_{0};
  errand::pool pool_{2};
  errand::serial_queue queue_{"detached", pool_};
};

TEST_F(detached_memory, children_on_a_pool) {
  keeps_nothing([this] {
    errand::async(pool_, [this] { errand::async(pool_, [this] { ++ended_; }).detach(); }).detach();
  });
}

TEST_F(detached_memory, children_in_a_queue) {
  keeps_nothing([this] {
    errand::async(queue_, [this] { errand::async(queue_, [this] { ++ended_; }).detach(); }).detach();
  });
}

TEST_F(detached_memory, children_that_another_task_lets_go_of) {
  keeps_nothing([this] {
    errand::async(pool_, [this] {
      auto child = errand::async(queue_, [this] { ++ended_; });
      errand::async(pool_, [kept = std::move(child)]() mutable { kept.detach(); }).detach();
    }).detach();
  });
}

// A link counts as begun until its input has ended, and then begins.
TEST_F(detached_memory, links) {
  keeps_nothing([this] {
    errand::async(pool_, [this] {
      errand::async(queue_, [] {}).then([this] { ++ended_; }).detach();
    }).detach();
  });
}

TEST_F(detached_memory, links_whose_input_fails) {
  auto* const before = errand::set_unobserved_error_handler([](errand::unobserved_error const&) {});
  keeps_nothing([this] {
    errand::async(pool_, [this] {
      struct at_end {
        std::atomic<int>& ended;
        explicit at_end(std::atomic<int>& e) : ended{e} {}
        at_end(at_end&& other) noexcept : ended{other.ended}, last{std::exchange(other.last, false)} {}
        ~at_end() { ended += last ? 1 : 0; }
        bool last = true;
      };
      errand::async(queue_, [] { throw 1; }).then([end = at_end{ended_}] { end.ended += 1'000'000; }).detach();
    }).detach();
  });
  errand::set_unobserved_error_handler(before);
}

}  // namespace
}  // namespace errand::detail
