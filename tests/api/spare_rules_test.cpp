// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rule of behaviour 24: spare workers stand in for those that are blocked in the kernel. Where a test says that something
// happens although a worker is blocked, it hangs without spares.
#include <gtest/gtest.h>
#include <errand/group.hpp>

#include <unistd.h>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/in_child.hpp"
#include "support/sequencer.hpp"

namespace {

using errand_test::flag;
using errand_test::in_child;
using errand_test::require;

// Blocks who reads, until somebody writes.
class blocking_pipe {
 public:
  blocking_pipe() {
    if (::pipe(ends_.data()) != 0) throw std::runtime_error{"no pipe"};
  }
  ~blocking_pipe() {
    for (int const end : ends_) ::close(end);
  }
  blocking_pipe(blocking_pipe const&) = delete;
  blocking_pipe& operator=(blocking_pipe const&) = delete;

  void read() const {
    char c = 0;
    while (::read(ends_[0], &c, 1) != 1) {
    }
  }
  void write(std::size_t readers = 1) const {
    std::string const bytes(readers, '.');
    if (::write(ends_[1], bytes.data(), readers) != static_cast<ssize_t>(readers)) throw std::runtime_error{"no write"};
  }

 private:
  std::array<int, 2> ends_{};
};

// As many tasks as workers, all in read(), at once.
std::vector<errand::future<void>> block_all(errand::pool& p, blocking_pipe const& pipe, unsigned tasks) {
  std::vector<errand::future<void>> blocked;
  std::atomic<unsigned> begun{0};
  for (unsigned i = 0; i < tasks; ++i)
    blocked.push_back(errand::async(p, [&] {
      ++begun;
      pipe.read();
    }));
  while (begun != tasks) std::this_thread::yield();
  return blocked;
}

// Of a task that must not run: longer than a spare would take to come.
bool runs_within_a_while(errand::future<void>& f) {
  using namespace std::chrono_literals;
  return f.wait_for(100ms) == std::future_status::ready;
}

class pools_of_any_size : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(workers, pools_of_any_size, testing::Values(1U, 2U, 5U));

TEST_P(pools_of_any_size, rule_24_a_task_runs_although_all_workers_are_blocked) {
  errand::pool p{GetParam()};
  blocking_pipe pipe;
  auto blocked = block_all(p, pipe, GetParam());
  errand::async(p, [&] { pipe.write(blocked.size()); }).get();
  for (auto& f : blocked) f.get();
}

TEST_P(pools_of_any_size, rule_24_a_child_runs_although_its_parent_blocks_all_the_while) {
  errand::pool p{GetParam()};
  blocking_pipe pipe;
  errand::task_group parents{p};
  for (unsigned i = 0; i < GetParam(); ++i)
    parents.spawn([&] {
      auto child = errand::async(p, [&] { pipe.write(); });
      pipe.read();
      child.get();
    });
  parents.wait();
}

TEST_P(pools_of_any_size, rule_24_who_comes_for_a_blocked_one_may_block_itself) {
  errand::pool p{GetParam()};
  blocking_pipe pipe;
  auto blocked = block_all(p, pipe, 5 * GetParam());
  errand::async(p, [&] { pipe.write(blocked.size()); }).get();
  for (auto& f : blocked) f.get();
}

TEST_P(pools_of_any_size, rule_24_again_and_again) {
  errand::pool p{GetParam()};
  blocking_pipe pipe;
  for (int round = 0; round < 20; ++round) {
    auto blocked = block_all(p, pipe, GetParam() + static_cast<unsigned>(round % 2));
    errand::async(p, [&] { pipe.write(blocked.size()); }).get();
    for (auto& f : blocked) f.get();
    int const children = errand::async(p, [&p] {
      int sum = 0;
      for (int i = 0; i < 10; ++i) sum += errand::async(p, [] { return 1; }).get();
      return sum;
    }).get();
    EXPECT_EQ(children, 10);
  }
}

TEST_P(pools_of_any_size, rule_24_one_that_waits_for_a_lock_is_blocked_as_well) {
  errand::pool p{GetParam()};
  std::mutex mutex;
  std::unique_lock held{mutex};
  std::atomic<unsigned> begun{0};
  errand::task_group waiting{p};
  for (unsigned i = 0; i < GetParam(); ++i)
    waiting.spawn([&] {
      ++begun;
      std::lock_guard const entered{mutex};
    });
  while (begun != GetParam()) std::this_thread::yield();
  errand::async(p, [] {}).get();
  held.unlock();
  waiting.wait();
}

TEST_P(pools_of_any_size, rule_24_what_a_blocked_worker_had_taken_up_is_done_by_others) {
  errand::pool p{GetParam()};
  blocking_pipe pipe;
  std::atomic<int> ran{0};
  errand::task_group all{p};
  for (unsigned i = 0; i < GetParam(); ++i)
    all.spawn([&] {
      errand::task_group mine{p};
      for (int j = 0; j < 100; ++j)
        mine.spawn([&] {
          if (++ran == 100 * static_cast<int>(GetParam())) pipe.write(GetParam());
        });
      pipe.read();
      mine.wait();
    });
  all.wait();
  EXPECT_EQ(ran, 100 * static_cast<int>(GetParam()));
}

TEST_P(pools_of_any_size, rule_24_parked_tasks_and_sleepers_go_on_although_all_workers_are_blocked) {
  using namespace std::chrono_literals;
  errand::pool p{GetParam()};
  blocking_pipe pipe;
  errand::task_group sleepers{p};
  for (int i = 0; i < 10; ++i) sleepers.spawn([] { errand::this_task::sleep_for(1ms); });
  auto blocked = block_all(p, pipe, GetParam());
  auto waits = errand::async(p, [&] {
    sleepers.wait();
    pipe.write(blocked.size());
  });
  waits.get();
  for (auto& f : blocked) f.get();
}

TEST(spares, rule_24_there_are_as_many_spares_as_blocked_ones_need_at_most) {
  errand::pool three{3};
  EXPECT_EQ(three.statistics().spares, 0U);
  blocking_pipe pipe;
  auto blocked = block_all(three, pipe, 3);
  errand::async(three, [] {}).get();
  auto const one_was_needed = three.statistics().spares;
  EXPECT_GE(one_was_needed, 1U);
  EXPECT_LE(one_was_needed, 3U);  // one for each that is blocked
  pipe.write(3);
  for (auto& f : blocked) f.get();
}

// How many of 200 tasks that only work run at a time.
unsigned most_at_a_time(errand::pool& p) {
  std::atomic<unsigned> running{0}, most{0};
  errand::task_group g{p};
  for (int i = 0; i < 200; ++i)
    g.spawn([&] {
      unsigned const now = ++running;
      for (unsigned seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      for (int spin = 0; spin < 100; ++spin) std::this_thread::yield();
      --running;
    });
  g.wait();
  return most;
}

TEST(spares, rule_24_no_more_run_than_the_pool_has_workers_once_the_blocked_ones_are_back) {
  constexpr unsigned size = 2;
  errand::pool two{size};
  blocking_pipe pipe;
  auto blocked = block_all(two, pipe, size);
  errand::async(two, [] {}).get();
  pipe.write(size);
  for (auto& f : blocked) f.get();
  while (two.statistics().asleep != size) std::this_thread::yield();
  // On a machine under load a worker may be kept by a lock that another thread has, long enough to be taken for blocked.
  unsigned most = size + 1;
  for (int attempt = 0; attempt < 50 && most > size; ++attempt) most = most_at_a_time(two);
  EXPECT_LE(most, size);
}

TEST(spares, rule_24_those_who_only_work_are_no_reason_for_a_spare) {
  errand::pool two{2};
  flag enough;
  std::atomic<int> begun{0};
  std::vector<errand::future<void>> busy;
  for (int i = 0; i < 2; ++i)
    busy.push_back(errand::async(two, [&] {
      ++begun;
      enough.wait();
    }));
  while (begun != 2) std::this_thread::yield();
  auto queued = errand::async(two, [] {});
  EXPECT_FALSE(runs_within_a_while(queued));
  EXPECT_EQ(two.statistics().spares, 0U);
  enough.raise();
  queued.get();
}

TEST(spares, rule_24_the_limit_holds_and_the_rest_waits) {
  errand::pool one{{.workers = 1, .spares = 2}};
  blocking_pipe pipe;
  auto blocked = block_all(one, pipe, 3);
  auto queued = errand::async(one, [] {});
  EXPECT_FALSE(runs_within_a_while(queued));
  EXPECT_EQ(one.statistics().spares, 2U);
  pipe.write(3);
  for (auto& f : blocked) f.get();
  queued.get();
}

TEST(spares, rule_24_a_pool_that_is_to_have_none_and_a_pinned_one_have_none) {
  errand::pool none{{.workers = 1, .spares = 0}};
  errand::pool pinned{{.workers = 1, .pinned = true}};
  for (auto* const p : {&none, &pinned}) {
    blocking_pipe pipe;
    auto blocked = block_all(*p, pipe, 1);
    auto queued = errand::async(*p, [] {});
    EXPECT_FALSE(runs_within_a_while(queued));
    EXPECT_EQ(p->statistics().spares, 0U);
    pipe.write();
    queued.get();
  }
}

TEST(spares, rule_24_more_spares_than_there_may_be_are_refused) {
  EXPECT_THROW((errand::pool{{.workers = 1, .spares = 4097}}), std::invalid_argument);
}

TEST(spares, rule_24_a_pool_can_be_destroyed_while_its_workers_are_blocked_and_spares_are_there) {
  blocking_pipe pipe;
  flag done;
  {
    errand::pool two{2};
    auto blocked = block_all(two, pipe, 4);
    for (auto& f : blocked) f.detach();
    errand::async(two, [&] {
      pipe.write(4);
      done.raise();
    }).detach();
  }
  EXPECT_TRUE(done.is_raised());
}

TEST(spares, rule_24_spares_have_numbers_of_their_own) {
  std::mutex guard;
  std::multiset<unsigned> numbers;
  {
    errand::pool two{{.workers = 2}, [&](unsigned number) {
                       std::lock_guard const held{guard};
                       numbers.insert(number);
                     }};
    blocking_pipe pipe;
    auto blocked = block_all(two, pipe, 4);
    errand::async(two, [&] { pipe.write(4); }).get();
    for (auto& f : blocked) f.get();
  }
  EXPECT_GE(numbers.size(), 5U);
  for (unsigned const n : numbers) EXPECT_EQ(numbers.count(n), 1U);
  EXPECT_EQ(*numbers.rbegin(), numbers.size() - 1);
}

TEST(spares, rule_24_the_child_of_a_fork_has_spares_of_its_own) {
  if (!errand_test::threads_work_after_fork) GTEST_SKIP() << "not under this sanitizer";
  errand::pool two{2};
  auto const all_blocked_and_one_more = [&two] {
    blocking_pipe pipe;
    auto blocked = block_all(two, pipe, 2);
    errand::async(two, [&] { pipe.write(2); }).get();
    for (auto& f : blocked) f.get();
  };
  all_blocked_and_one_more();
  EXPECT_EQ(in_child([&] {
              require(two.statistics().spares == 0, "no spares yet");
              all_blocked_and_one_more();
              require(two.statistics().spares != 0, "spares");
            }),
            0);
  all_blocked_and_one_more();
}

class spares_death : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(spares_death, rule_24_the_environment_sets_the_limit) {
  EXPECT_EXIT(
      {
        ::setenv("ERRAND_SPARE_THREADS", "0", 1);
        errand::pool one{1};
        blocking_pipe pipe;
        auto blocked = block_all(one, pipe, 1);
        auto queued = errand::async(one, [] {});
        bool const ran = runs_within_a_while(queued);
        pipe.write();
        queued.get();
        std::exit(ran ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(spares_death, rule_24_a_limit_that_makes_no_sense_is_said_and_ignored) {
  EXPECT_EXIT(
      {
        ::setenv("ERRAND_SPARE_THREADS", "plenty", 1);
        errand::pool one{1};
        blocking_pipe pipe;
        auto blocked = block_all(one, pipe, 1);
        errand::async(one, [&] { pipe.write(); }).get();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "errand: ERRAND_SPARE_THREADS=plenty is ignored");
}

TEST_F(spares_death, rule_24_exit_inside_a_task_of_a_spare_ends_the_program) {
  EXPECT_EXIT(
      {
        errand::pool one{1};
        blocking_pipe pipe;
        auto blocked = block_all(one, pipe, 1);
        errand::async(one, [] { std::exit(5); }).get();
      },
      testing::ExitedWithCode(5), "");
}

}  // namespace
