// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Zygote, rings and dispatcher through the plain interface of process_job.hpp, without futures. The public face has its
// own tests in process_test.cpp.
#include "process/test_jobs.hpp"

#include "base/sanitizers.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <errand/process.hpp>
#include <string>
#include <thread>
#include <vector>

namespace errand::detail {
namespace {

int add(int a, int b) { return a + b; }

struct point {
  double x;
  double y;
};
point mirrored(point p) { return {p.y, p.x}; }

[[noreturn]] void crash() {
  ::signal(SIGSEGV, SIG_DFL);  // a sanitizer's own handler would make an exit of it
  ::raise(SIGSEGV);
  std::abort();
}

int crash_on_seventeen(int n) {
  if (n == 17) crash();
  return n;
}

// Counts in memory that the test and the workers share.
class shared_counters {
 public:
  explicit shared_counters(std::size_t count)
      : bytes_{count * sizeof(std::atomic<int>)},
        at_{static_cast<std::atomic<int>*>(
            ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))} {}
  shared_counters(shared_counters const&) = delete;
  shared_counters& operator=(shared_counters const&) = delete;
  ~shared_counters() { ::munmap(at_, bytes_); }
  std::atomic<int>& operator[](std::size_t i) { return at_[i]; }

 private:
  std::size_t bytes_;
  std::atomic<int>* at_;
};
shared_counters* counters = nullptr;  // made before the zygote, so that it is at the same address in the workers

void wait_until_one(std::atomic<int>& flag) {
  while (flag.load() == 0) std::this_thread::yield();
}

class processes_test : public ::testing::Test {
 protected:
  void SetUp() override {
    counters = &shared_;
    resources_ = resources_now();
    start_zygote();
  }
  void TearDown() override {
    shut_down_processes();
    EXPECT_EQ(resources_now(), resources_) << "descriptors, mappings of the shared file, child processes";
  }
  shared_counters shared_{1024};
  resources resources_;
};

TEST_F(processes_test, a_function_runs_in_another_process_and_its_result_comes_back) {
  EXPECT_EQ(test_call(add, 2, 3).get(), 5);
  EXPECT_NE(test_call([] { return ::getpid(); }).get(), ::getpid());
}

TEST_F(processes_test, structs_strings_and_nothing_cross_both_ways) {
  point const p = test_call(mirrored, point{1.5, 2.5}).get();
  EXPECT_EQ(p.x, 2.5);
  EXPECT_EQ(p.y, 1.5);
  EXPECT_EQ(test_call([](std::string s, int n) { return s + std::to_string(n); }, std::string{"n="}, 7).get(), "n=7");
  EXPECT_EQ(test_call([](std::string s) { return s; }, std::string{}).get(), "");
  EXPECT_NO_THROW(test_call([](int) {}, 1).get());
}

TEST_F(processes_test, messages_of_every_size_around_the_limits_of_the_ring_arrive_whole) {
  for (std::size_t size : {1U, 63U, 64U, 16'000U, 16'375U, 16'376U, 16'377U, 65'535U, 65'536U, 65'537U, 1'000'000U}) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
    EXPECT_EQ(test_call([](std::string s) { return s; }, text).get(), text) << size;
  }
}

TEST_F(processes_test, ten_mebibytes_go_there_and_back_many_times) {
  std::string const text(10U << 20U, 'q');
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(test_call([](std::string s) { return s + "!"; }, text).get() == text + "!");
}

TEST_F(processes_test, many_jobs_of_mixed_size_at_once_each_get_their_own_result) {
  std::vector<test_future<std::string>> all;
  auto const job = [](int n) {
    return std::string(static_cast<std::size_t>(n * n) % 40'000U, 'a') + std::to_string(n);
  };
  for (int n = 0; n < 2000; ++n) all.push_back(test_call(job, n));
  for (int n = 0; n < 2000; ++n) EXPECT_EQ(all[static_cast<std::size_t>(n)].get(), job(n));
}

TEST_F(processes_test, standard_exceptions_arrive_with_their_type_and_text) {
  auto const text_of = [](auto&& call) -> std::string {
    try {
      call.get();
    } catch (std::out_of_range const& e) {
      return std::string{"out_of_range: "} + e.what();
    } catch (std::invalid_argument const& e) {
      return std::string{"invalid_argument: "} + e.what();
    } catch (std::system_error const& e) {
      return std::string{"system_error: "} + std::to_string(e.code().value()) + " " + e.what();
    } catch (std::bad_alloc const&) {
      return "bad_alloc";
    } catch (remote_error const& e) {
      return "remote " + e.type_name() + ": " + e.what();
    }
    return "nothing";
  };
  EXPECT_EQ(text_of(test_call([] { throw std::out_of_range{"too far"}; })), "out_of_range: too far");
  EXPECT_EQ(text_of(test_call([] { throw std::invalid_argument{"no"}; })), "invalid_argument: no");
  EXPECT_EQ(text_of(test_call([] { throw std::bad_alloc{}; })), "bad_alloc");
  EXPECT_EQ(text_of(test_call([] { throw 42; })), "remote int: a worker process threw int");

  std::system_error const with_text(ENOENT, std::generic_category(), "open x");
  auto const throw_with_text = [] { throw std::system_error(ENOENT, std::generic_category(), "open x"); };
  EXPECT_EQ(text_of(test_call(throw_with_text)), std::string("system_error: 2 ") + with_text.what());
  std::system_error const bare(EPERM, std::system_category());
  auto const throw_bare = [] { throw std::system_error(EPERM, std::system_category()); };
  EXPECT_EQ(text_of(test_call(throw_bare)), std::string("system_error: 1 ") + bare.what());

  std::string const long_text = text_of(test_call([] { throw std::out_of_range{std::string(1U << 20U, 'z')}; }));
  EXPECT_TRUE(long_text == "out_of_range: " + std::string(1U << 20U, 'z')) << long_text.substr(0, 100);
}

struct uncopyable : std::exception {
  uncopyable() = default;
  uncopyable(uncopyable const&) = delete;
  char const* what() const noexcept override { return "only one of me"; }
};

TEST_F(processes_test, an_exception_that_cannot_be_copied_arrives_as_its_name_and_text) {
  try {
    test_call([] { throw uncopyable{}; }).get();
    FAIL() << "nothing was thrown";
  } catch (remote_error const& e) {
    EXPECT_TRUE(e.type_name().ends_with("uncopyable")) << e.type_name();
    EXPECT_STREQ(e.what(), "only one of me");
  }
}

TEST_F(processes_test, a_crash_fails_its_own_job_and_every_other_runs_exactly_once) {
  std::vector<test_future<int>> all;
  for (int n = 0; n < 41; ++n)
    all.push_back(test_call(
        [](int i) {
          (*counters)[static_cast<std::size_t>(i)].fetch_add(1);
          return crash_on_seventeen(i);
        },
        n));
  for (int n = 0; n < 41; ++n) {
    auto& call = all[static_cast<std::size_t>(n)];
    if (n != 17) {
      EXPECT_EQ(call.get(), n);
    } else {
      try {
        call.get();
        FAIL() << "the crash was not noticed";
      } catch (process_died const& died) {
        EXPECT_EQ(died.signal(), SIGSEGV);
        EXPECT_NE(std::string{died.what()}.find("killed by signal 11 (Segmentation fault)"), std::string::npos)
            << died.what();
      }
    }
    EXPECT_EQ((*counters)[static_cast<std::size_t>(n)].load(), 1) << "job " << n;
  }
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
}

TEST_F(processes_test, each_way_to_die_is_reported_with_its_signal_or_status) {
  auto const death = [](auto&& call) {
    try {
      call.get();
    } catch (process_died const& died) {
      return std::pair{died.signal(), died.status()};
    }
    return std::pair{-1, -1};
  };
  EXPECT_EQ(death(test_call([] {
              ::signal(SIGABRT, SIG_DFL);
              std::abort();
            })),
            (std::pair{SIGABRT, 0}));
  EXPECT_EQ(death(test_call([] { ::_exit(3); })), (std::pair{0, 3}));
  EXPECT_EQ(death(test_call([] { ::_exit(0); })), (std::pair{0, 0}));
  EXPECT_EQ(death(test_call([] { ::kill(::getpid(), SIGKILL); })), (std::pair{SIGKILL, 0}));
  EXPECT_EQ(death(test_call([] { ::raise(SIGTERM); })), (std::pair{SIGTERM, 0}));
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
}

TEST_F(processes_test, a_worker_killed_between_two_jobs_loses_none) {
  for (int round = 0; round < 20; ++round) {
    pid_t const worker = test_call([] { return ::getpid(); }).get();
    ::kill(worker, SIGKILL);
    EXPECT_EQ(test_call(add, round, 1).get(), round + 1);
  }
}

TEST_F(processes_test, two_hundred_crashes_in_a_row_leave_nothing_behind) {
  for (int round = 0; round < 200; ++round) {
    EXPECT_THROW(test_call([] { ::_exit(1); }).get(), process_died);
    if (round % 10 == 0) {
      EXPECT_EQ(test_call(add, round, 1).get(), round + 1);
    }
  }
}

TEST_F(processes_test, a_worker_that_overwrites_its_rings_is_killed_and_only_its_job_fails) {
  auto const vandal = [] {
    // Every mapping of the shared file, found as a wild pointer would not.
    for (auto const& [begin, end] : mappings_of_shared_file())
      std::memset(begin, 0x7f, static_cast<std::size_t>(end - begin));
    return 1;
  };
  EXPECT_THROW(test_call(vandal).get(), process_died);
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
}

TEST_F(processes_test, a_queued_job_is_stopped_without_having_run_and_a_running_one_is_killed) {
  unsigned const workers = process_worker_count();
  std::vector<test_future<void>> running;
  for (unsigned i = 0; i < workers; ++i)
    running.push_back(test_call(
        [](unsigned n) {
          (*counters)[n].store(1);
          for (;;) ::pause();
        },
        i));
  for (unsigned i = 0; i < workers; ++i) wait_until_one((*counters)[i]);
  auto queued = test_call([] { (*counters)[500].store(1); });
  auto kept = test_call(add, 20, 3);
  queued.stop();
  EXPECT_EQ(queued.end(), process_job_end::stopped);
  EXPECT_EQ((*counters)[500].load(), 0);
  for (auto& r : running) r.stop();
  for (auto& r : running) EXPECT_EQ(r.end(), process_job_end::stopped);
  EXPECT_EQ(kept.get(), 23);
}

TEST_F(processes_test, stopping_short_jobs_at_any_moment_loses_or_repeats_no_other) {
  std::uint32_t random = 12345;
  for (int round = 0; round < 100; ++round) {
    for (std::size_t i = 0; i < 32; ++i) (*counters)[i].store(0);
    std::vector<test_future<int>> all;
    for (int n = 0; n < 32; ++n)
      all.push_back(test_call(
          [](int i) {
            (*counters)[static_cast<std::size_t>(i)].fetch_add(1);
            return i;
          },
          n));
    random = random * 1664525U + 1013904223U;
    std::size_t const victim = (random >> 16U) % 32;
    all[victim].stop();
    for (std::size_t n = 0; n < 32; ++n) {
      if (n == victim) {
        auto const end = all[n].end();
        EXPECT_TRUE(end == process_job_end::stopped || end == process_job_end::value);
        EXPECT_LE((*counters)[n].load(), 1);
      } else {
        EXPECT_EQ(all[n].get(), static_cast<int>(n));
        EXPECT_EQ((*counters)[n].load(), 1) << "round " << round;
      }
    }
  }
}

TEST_F(processes_test, a_long_job_holds_up_none_of_the_short_ones_sent_with_it) {
  if (process_worker_count() < 2) GTEST_SKIP() << "needs two workers";
  for (int i = 0; i < 300; ++i) (void)test_call(add, i, i).get();
  std::vector<test_future<int>> all;
  for (int n = 0; n < 200; ++n)
    all.push_back(test_call(
        [](int i) {
          if (i == 3) wait_until_one((*counters)[0]);
          return i;
        },
        n));
  for (int n = 0; n < 200; ++n) {
    if (n != 3) {
      EXPECT_EQ(all[static_cast<std::size_t>(n)].get(), n);
    }
  }
  (*counters)[0].store(1);
  EXPECT_EQ(all[3].get(), 3);
}

TEST_F(processes_test, several_threads_may_submit_and_wait) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i)
        if (test_call(add, t, i).get() == t + i) right.fetch_add(1);
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(right.load(), 800);
}

TEST_F(processes_test, a_worker_holds_no_descriptor_of_the_program) {
  int const open_here = ::dup(STDERR_FILENO);
  ::close(open_here);
  int const descriptors = test_call([] { return resources_now().descriptors; }).get();
  // stdin, stdout, stderr and the shared file.
  EXPECT_EQ(descriptors, 4);
}

TEST_F(processes_test, a_worker_ignores_the_interrupt_key) {
  EXPECT_EQ(test_call([] {
              ::raise(SIGINT);
              return 1;
            }).get(),
            1);
}

TEST_F(processes_test, a_job_may_fork_and_its_child_cannot_answer_for_it) {
  EXPECT_EQ(test_call([] {
              pid_t const child = ::fork();
              if (child == 0) {
                ::signal(SIGSEGV, SIG_DFL);
                return 99;  // into the worker's loop, where the rings are not mapped
              }
              int status = 0;
              ::waitpid(child, &status, 0);
              return WIFSIGNALED(status) ? 1 : 2;
            }).get(),
            1);
}

TEST_F(processes_test, a_job_may_use_processes_of_its_own) {
  EXPECT_EQ(test_call([] {
              int const sum = test_call(add, 20, 3).get();
              shut_down_processes();
              return sum;
            }).get(),
            23);
}

TEST_F(processes_test, if_the_zygote_dies_the_job_that_had_begun_fails_and_says_so_and_another_zygote_goes_on) {
  pid_t const zygote = test_call([] { return ::getppid(); }).get();
  auto running = test_call([] {
    (*counters)[0].store(1);
    for (;;) ::pause();
  });
  wait_until_one(shared_[0]);
  ::kill(zygote, SIGKILL);
  try {
    running.get();
    FAIL() << "it cannot have ended";
  } catch (process_died const& died) {
    EXPECT_NE(std::string{died.what()}.find("zygote"), std::string::npos);
    EXPECT_EQ(died.signal(), SIGKILL);
  }
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
  EXPECT_NE(test_call([] { return ::getppid(); }).get(), zygote);
}

TEST_F(processes_test, a_child_that_the_program_forks_has_working_processes_of_its_own) {
  if (thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer: a child of a program with threads may not start any";
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
  pid_t const child = ::fork();
  if (child == 0) {
    bool const right = test_call(add, 2, 2).get() == 4;
    shut_down_processes();
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
}

struct family {
  pid_t worker;
  pid_t zygote;
};
family family_of_worker() { return {::getpid(), ::getppid()}; }

// A child of the test starts an endless job and ends as `end` makes it. Its zygote and worker, whose parent we become by
// that, must end too.
void expect_no_orphan_after(void (*end)(pid_t self)) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  shared_counters shared{4};
  counters = &shared;
  pid_t const child = ::fork();
  if (child == 0) {
    start_zygote();
    family const f = test_call(family_of_worker).get();
    auto endless = test_call([] {
      (*counters)[2].store(1);
      for (;;) ::pause();
    });
    wait_until_one((*counters)[2]);
    (*counters)[0].store(f.worker);
    (*counters)[1].store(f.zygote);
    (*counters)[3].store(1);
    end(::getpid());
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(shared[3].load(), 1) << "the child did not come so far: " << status;
  // Waits for as long as any lives: an orphan would hang the test.
  while (::waitpid(-1, &status, 0) > 0) {
  }
  EXPECT_EQ(::kill(shared[0].load(), 0), -1);
  EXPECT_EQ(::kill(shared[1].load(), 0), -1);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(processes, a_program_that_is_killed_leaves_no_orphan) {
  expect_no_orphan_after([](pid_t self) { ::kill(self, SIGKILL); });
}

TEST(processes, a_program_that_ends_without_a_word_leaves_no_orphan) {
  expect_no_orphan_after([](pid_t) { ::_exit(0); });
}

TEST(processes, the_end_of_the_thread_that_forked_the_zygote_is_not_the_end_of_the_program) {
  if (thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer does not survive the end of the first thread";
  pid_t const child = ::fork();
  if (child == 0) {
    start_zygote();
    std::thread{[main_thread = ::pthread_self()] {
      ::pthread_join(main_thread, nullptr);
      bool const right = test_call(add, 1, 2).get() == 3;
      shut_down_processes();
      ::_exit(right ? 0 : 1);
    }}.detach();
    ::syscall(SYS_exit, 0);  // of this thread; pthread_exit() would unwind through the test's own catch
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(processes, what_a_job_printed_is_out_when_it_ends_and_what_the_program_had_printed_is_not_repeated) {
  std::fflush(stdout);
  int const terminal = ::dup(STDOUT_FILENO);
  int const file = ::memfd_create("stdout", 0);
  ::dup2(file, STDOUT_FILENO);
  std::printf("before,");  // into a buffer, which the fork must not copy
  EXPECT_EQ(test_call([] { return std::printf("job,"); }).get(), 4);
  EXPECT_THROW(test_call([] { std::exit(1); }).get(), process_died);
  shut_down_processes();
  std::printf("after");
  std::fflush(stdout);
  ::dup2(terminal, STDOUT_FILENO);
  char text[64] = {};
  EXPECT_GT(::pread(file, text, sizeof text - 1, 0), 0);
  EXPECT_STREQ(text, "before,job,after");
  ::close(file);
  ::close(terminal);
}

TEST(processes, without_a_zygote_a_program_with_threads_is_told_what_to_do) {
  std::atomic<bool> done{false};
  std::thread other{[&] { done.wait(false); }};
  try {
    (void)test_call(add, 1, 1);
    FAIL() << "it was forked with threads";
  } catch (std::runtime_error const& e) {
    EXPECT_NE(std::string{e.what()}.find("errand::process_support"), std::string::npos) << e.what();
  }
  done = true;
  done.notify_one();
  other.join();
}

TEST(processes, a_program_whose_threads_have_ended_may_begin) {
  std::thread{[] {}}.join();
  EXPECT_EQ(test_call(add, 1, 1).get(), 2);
  shut_down_processes();
}

}  // namespace
}  // namespace errand::detail
