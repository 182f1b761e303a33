// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All that a job may do to its worker process, and others to the workers. Each deed happens among innocent jobs, in a pool
// of its own. Always: the guilty job ends as it should, every innocent one runs exactly once and gives its own result, the
// pool goes on, and nothing is left over. The pool's counters must say the same as the test's: the sum at the end.
#include <gtest/gtest.h>
#include <errand/process.hpp>
#include <errand/shared_vector.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/sanitizers.hpp"
#include "crashes/family.hpp"
#include "crashes/fates.hpp"
#include "process/test_jobs.hpp"

namespace {

using namespace std::chrono_literals;
using errand::process_pool;
using errand_test::as_without_sanitizers;
using errand_test::fate;
using errand_test::judge;
using errand_test::verdict;
using errand_test::wait_until_gone;

// ---- what the test and the workers share: made before main, so before the zygote

struct shared_page {
  std::array<std::atomic<int>, 4096> runs;  // of each innocent job
  std::atomic<int> pid;                     // of the guilty one's worker, or of what it has started
  std::atomic<int> flag;
};
shared_page& shared = *static_cast<shared_page*>(
    ::mmap(nullptr, sizeof(shared_page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

int innocent(int i) {
  shared.runs[static_cast<std::size_t>(i)].fetch_add(1);
  return i * 3 + 1;
}

// ---- the deeds

void for_ever() {
  shared.pid.store(::getpid());
  for (volatile bool always = true; always;) {
  }
}

volatile int deepest = 1 << 30;  // no stack is so deep
[[gnu::noinline]] int deeper(int n) {
  volatile char room[4096];
  room[0] = static_cast<char>(n);
  return n < deepest ? deeper(n + 1) + room[0] : 0;
}

void close_all() { ::syscall(SYS_close_range, 0U, ~0U, 0U); }
void close_all_but_output() { ::syscall(SYS_close_range, 3U, ~0U, 0U); }
// Every descriptor that it can have is now a file of the job's own.
void replace_all() {
  char name[] = "/tmp/errand-test-XXXXXX";
  int const file = ::mkstemp(name);
  ::unlink(name);
  for (int fd = 0; fd < 64; ++fd)
    if (fd != file) ::dup2(file, fd);
}

struct uncopyable : std::runtime_error {
  uncopyable() : std::runtime_error{"only one of me"} {}
  uncopyable(uncopyable const&) = delete;
};

struct big {
  char bytes[1 << 20];
};

// ---- the books

struct sum_of_all {
  std::uint64_t given = 0, right = 0, guilty = 0, lost = 0;
};
sum_of_all sum;  // of all tests of this program

class what_it_must_survive : public ::testing::Test {
 protected:
  void SetUp() override {
    for (auto& r : shared.runs) r.store(0);
    shared.pid.store(0);
    shared.flag.store(0);
    EXPECT_EQ(errand::async(errand::processes, [] { return 1; }).get(), 1);  // what is there once per program is there
    before_ = errand::detail::resources_now();
  }
  void TearDown() override {
    EXPECT_EQ(errand::detail::resources_now(), before_) << "descriptors, mappings of the shared file, children";
  }

  // Twenty innocent jobs before the guilty one, and twenty after.
  template <class Begin>
  verdict among_innocents(process_pool& pool, Begin begin) {
    int const first = next_;
    next_ += 40;
    std::vector<errand::future<int>> all;
    for (int i = first; i < first + 20; ++i) all.push_back(errand::async(pool, innocent, i));
    auto guilty = begin();
    for (int i = first + 20; i < first + 40; ++i) all.push_back(errand::async(pool, innocent, i));
    verdict const v = judge(std::move(guilty));
    std::uint64_t right = 0;
    for (int i = first; i < first + 40; ++i)
      right += all[static_cast<std::size_t>(i - first)].get() == i * 3 + 1 ? 1 : 0;
    EXPECT_EQ(right, 40U);
    for (int i = first; i < first + 40; ++i)
      EXPECT_EQ(shared.runs[static_cast<std::size_t>(i)].load(), 1) << "job " << i;
    sum.given += 41;
    sum.right += right;
    sum.guilty += 1;
    if (v.how == fate::died) sum.lost += 1;
    died_ += v.how == fate::died ? 1 : 0;
    return v;
  }
  template <class F>
  verdict deed(process_pool& pool, F f) {
    return among_innocents(pool, [&] { return errand::async(pool, f); });
  }
  template <class F>
  verdict deed_with_deadline(process_pool& pool, F f) {
    return among_innocents(pool, [&] { return errand::async({.on = pool, .timeout = 50ms}, f); });
  }

  // After all of them: the pool's books agree.
  void expect_books_right(process_pool const& pool) {
    auto const s = pool.statistics();
    EXPECT_EQ(s.jobs, s.ended) << to_string(s);
    EXPECT_EQ(s.lost, died_) << to_string(s);
    EXPECT_EQ(s.workers_started, s.workers + s.workers_died + s.workers_killed + s.workers_recycled) << to_string(s);
  }

  errand::detail::resources before_;
  int next_ = 0;
  std::uint64_t died_ = 0;
};

// ---- each line of the list

TEST_F(what_it_must_survive, signals_and_exits) {
  process_pool pool{2};
  struct {
    void (*act)();
    int signal;
    int status;
  } const deeds[] = {
      {[] { as_without_sanitizers(), ::raise(SIGSEGV); }, SIGSEGV, 0},
      {[] { as_without_sanitizers(), std::abort(); }, SIGABRT, 0},
      {[] { ::raise(SIGKILL); }, SIGKILL, 0},
      {[] { ::raise(SIGTERM); }, SIGTERM, 0},
      {[] { ::alarm(1), ::raise(SIGALRM); }, SIGALRM, 0},
      {[] { std::exit(3); }, 0, 3},
      {[] { ::_exit(4); }, 0, 4},
      {[] { ::_exit(0); }, 0, 0},
      {[] { as_without_sanitizers(), std::terminate(); }, SIGABRT, 0},
  };
  for (auto const& d : deeds) {
    auto const v = deed(pool, d.act);
    EXPECT_EQ(v.how, fate::died) << v.text;
    EXPECT_EQ(v.signal, d.signal) << v.text;
    EXPECT_EQ(v.status, d.status) << v.text;
  }
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, sigkill_from_outside) {
  process_pool pool{2};
  auto const v = among_innocents(pool, [&] {
    auto f = errand::async(pool, for_ever);
    while (shared.pid.load() == 0) std::this_thread::yield();
    ::kill(shared.pid.load(), SIGKILL);
    return f;
  });
  EXPECT_EQ(v.how, fate::died);
  EXPECT_EQ(v.signal, SIGKILL);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, stack_overflow) {
  process_pool pool{2};
  auto const v = deed(pool, [] {
    as_without_sanitizers();
    return deeper(0);
  });
  EXPECT_EQ(v.how, fate::died) << v.text;
  EXPECT_EQ(v.signal, SIGSEGV) << v.text;
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, out_of_memory) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's allocator ends the process instead of throwing";
  process_pool pool{2, {.memory = 32U << 20U}};
  auto const eat = []() -> std::size_t {
    std::vector<std::string> kept;
    for (;;) kept.emplace_back(1U << 20U, 'x');
  };
  auto v = deed(pool, eat);
  EXPECT_EQ(v.how, fate::thrown);
  EXPECT_EQ(v.text, "std::bad_alloc");
  // One that cannot cope with it.
  v = deed(pool, []() noexcept -> std::size_t {
    as_without_sanitizers();
    std::vector<std::string> kept;
    for (;;) kept.emplace_back(1U << 20U, 'x');
  });
  EXPECT_EQ(v.how, fate::died) << v.text;
  EXPECT_EQ(v.signal, SIGABRT) << v.text;
  expect_books_right(pool);
}

// Once the results before it have been taken: those that still lie in the ring are overwritten with it (README, Limits).
TEST_F(what_it_must_survive, a_wild_write_over_the_ring) {
  process_pool pool{2};
  auto const v = among_innocents(pool, [&] {
    while (pool.statistics().ended < 20) std::this_thread::yield();
    return errand::async(pool, [] {
      for (auto const& [begin, end] : errand::detail::mappings_of_shared_file())
        std::memset(begin, 0x7f, static_cast<std::size_t>(end - begin));
    });
  });
  // It may still come to answer by itself; mostly it does not.
  EXPECT_TRUE(v.how == fate::died || v.how == fate::thrown || v.how == fate::value) << v.text;
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_worker_that_stops_reading_in_a_job_dies_at_its_deadline_or_by_a_stop) {
  process_pool pool{2};
  EXPECT_EQ(deed_with_deadline(pool, [] { ::raise(SIGSTOP); }).how, fate::late);
  auto const v = among_innocents(pool, [&] {
    auto f = errand::async(pool, [] {
      shared.flag.store(1);
      ::raise(SIGSTOP);
    });
    while (shared.flag.load() == 0) std::this_thread::yield();
    f.request_stop();
    return f;
  });
  EXPECT_EQ(v.how, fate::stopped);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_worker_that_is_stopped_while_idle_costs_no_job) {
  process_pool pool{1};
  for (int round = 0; round < 5; ++round) {
    pid_t const worker = errand::async(pool, [] { return ::getpid(); }).get();
    ::kill(worker, SIGSTOP);
    auto const v = deed(pool, [] { return 0; });
    EXPECT_EQ(v.how, fate::value) << v.text;
  }
  EXPECT_EQ(pool.statistics().lost, 0U);
}

TEST_F(what_it_must_survive, a_job_that_is_stopped_and_continued_gives_its_value) {
  process_pool pool{2};
  auto const v = among_innocents(pool, [&] {
    auto f = errand::async(pool, [] {
      shared.pid.store(::getpid());
      ::raise(SIGSTOP);
      return 1;
    });
    while (shared.pid.load() == 0) std::this_thread::yield();
    for (char state = ' '; state != 'T';) {  // /proc says when it has stopped
      std::ifstream stat{"/proc/" + std::to_string(shared.pid.load()) + "/stat"};
      std::string pid;
      std::string name;
      stat >> pid >> name >> state;
    }
    ::kill(shared.pid.load(), SIGCONT);
    return f;
  });
  EXPECT_EQ(v.how, fate::value);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_runaway_loop) {
  process_pool pool{2};
  EXPECT_EQ(deed_with_deadline(pool, for_ever).how, fate::late);
  EXPECT_EQ(deed_with_deadline(pool,
                               [] {
                                 sigset_t all;
                                 ::sigfillset(&all);
                                 ::sigprocmask(SIG_SETMASK, &all, nullptr);
                                 for_ever();
                               })
                .how,
            fate::late);
  EXPECT_EQ(deed_with_deadline(pool,
                               [] {
                                 for (;;) ::pause();
                               })
                .how,
            fate::late);
  process_pool limited{2, {.time = 50ms}};
  EXPECT_EQ(deed(limited, for_ever).how, fate::late);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_throw_of_a_type_that_cannot_be_copied) {
  process_pool pool{2};
  auto v = deed(pool, [] { throw uncopyable{}; });
  EXPECT_EQ(v.how, fate::thrown);
  EXPECT_EQ(v.text, "only one of me");
  v = deed(pool, [] { throw std::string{"not even an exception"}; });
  EXPECT_EQ(v.how, fate::thrown);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, descriptors_that_are_closed_or_replaced) {
  process_pool pool{2};
  for (auto const close : {&close_all, &close_all_but_output, &replace_all}) {
    // Small results go on as if nothing had happened, in this job and in those after it.
    EXPECT_EQ(deed(pool, close).how, fate::value);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(errand::async(pool, [] { return 5; }).get(), 5);
  }
}

// What needs the shared file finds it again, in this job and in those after it, and takes no file of a job's for it. Not among
// the tests that count mappings: the parent keeps those of its large arguments.
TEST(large_messages, find_the_shared_file_though_a_job_has_closed_or_replaced_it) {
  for (auto const close : {+[] {
                             close_all();
                             return big{};
                           },
                           +[] {
                             as_without_sanitizers();
                             replace_all();
                             return big{};
                           }}) {
    process_pool pool{1};
    EXPECT_EQ(judge(errand::async(pool, close)).how, fate::value);
    std::string const text(1 << 20, 'x');
    EXPECT_EQ(errand::async(pool, [](std::string s) { return s + "y"; }, text).get(), text + "y");
    auto there_and_back = errand::async(
        pool,
        [](errand::shared_vector<int> v) {
          for (int& each : v) ++each;
          return v;
        },
        errand::shared_vector<int>(1 << 20, 7));
    EXPECT_EQ(there_and_back.get(), errand::shared_vector<int>(1 << 20, 8));
  }
}

TEST_F(what_it_must_survive, a_job_that_forks_and_whose_child_returns) {
  process_pool pool{2};
  auto const v = deed(pool, [] {
    as_without_sanitizers();
    pid_t const child = ::fork();
    if (child == 0) return 99;
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 1 : 2;
  });
  EXPECT_EQ(v.how, fate::value);
  // The child throws.
  EXPECT_EQ(deed(pool,
                 [] {
                   as_without_sanitizers();
                   pid_t const child = ::fork();
                   if (child == 0) throw std::runtime_error{"from the child"};
                   int status = 0;
                   ::waitpid(child, &status, 0);
                   return WIFSIGNALED(status) ? 1 : 2;
                 })
                .how,
            fate::value);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, jobs_that_start_processes_of_their_own) {
  process_pool pool{2};
  EXPECT_EQ(deed(pool, [] { return std::system("true"); }).how, fate::value);
  // What it has started dies with it when it is killed,
  EXPECT_EQ(deed_with_deadline(pool,
                               [] {
                                 if (::fork() == 0) for_ever();
                                 for (;;) ::pause();
                               })
                .how,
            fate::late);
  wait_until_gone(shared.pid.load());
  // and when it dies by itself.
  shared.pid.store(0);
  EXPECT_EQ(deed(pool,
                 [] {
                   if (::fork() == 0) for_ever();
                   while (shared.pid.load() == 0) std::this_thread::yield();
                   ::_exit(1);
                 })
                .how,
            fate::died);
  wait_until_gone(shared.pid.load());
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_job_that_becomes_another_program) {
  process_pool pool{2};
  auto const v = deed(pool, [] { ::execl("/bin/sh", "sh", "-c", "exit 7", nullptr); });
  EXPECT_EQ(v.how, fate::died);
  EXPECT_EQ(v.status, 7) << v.text;
  EXPECT_EQ(deed_with_deadline(pool, [] { ::execl("/bin/sh", "sh", "-c", "while :; do :; done", nullptr); }).how,
            fate::late);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_job_that_ends_its_thread) {
  process_pool pool{2};
  auto const v = deed(pool, [] {
    as_without_sanitizers();
    ::pthread_exit(nullptr);
  });
  EXPECT_EQ(v.how, fate::died) << v.text;
  EXPECT_EQ(deed(pool, [] { ::syscall(SYS_exit, 0); }).how, fate::died);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, a_job_that_ends_its_first_thread_while_others_of_its_own_run) {
  if (errand::detail::thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer: a worker may not start threads";
  process_pool pool{2};
  auto const beheaded = [] {
    std::thread{[] {
      for (;;) ::pause();
    }}.detach();
    ::syscall(SYS_exit, 0);
  };
  auto const expect_found_out = [](verdict const& v) {
    EXPECT_EQ(v.how, fate::died) << v.text;
    EXPECT_NE(v.text.find("its first thread had ended"), std::string::npos) << v.text;
  };
  expect_found_out(deed(pool, beheaded));
  expect_books_right(pool);
  // In a program that does nothing else, and in one that has slept for long.
  expect_found_out(judge(errand::async(pool, beheaded)));
  std::this_thread::sleep_for(2500ms);
  expect_found_out(judge(errand::async(pool, beheaded)));
  EXPECT_EQ(pool.statistics().workers_died, 3U);
}

TEST_F(what_it_must_survive, a_job_that_changes_its_process) {
  process_pool pool{2};
  EXPECT_EQ(deed(pool,
                 [] {
                   ::prctl(PR_SET_PDEATHSIG, 0);
                   for (int s = 1; s < 32; ++s) ::signal(s, SIG_IGN);
                   return ::chdir("/");
                 })
                .how,
            fate::value);
  EXPECT_EQ(deed(pool, [] { return ::setsid(); }).how, fate::value);  // refused, as it leads its group; or granted
  EXPECT_EQ(deed(pool,
                 [] {
                   rlimit const none{0, 0};
                   ::setrlimit(RLIMIT_NOFILE, &none);
                   ::setrlimit(RLIMIT_FSIZE, &none);
                   return 0;
                 })
                .how,
            fate::value);
  expect_books_right(pool);
}

TEST_F(what_it_must_survive, nested_use_from_a_worker) {
  if (errand::detail::thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer: a worker may not start threads";
  process_pool pool{2};
  auto const nested = [] {
    try {
      errand::async(errand::processes, [] { ::_exit(9); }).get();
    } catch (errand::process_died const& e) {
      return e.status();
    }
    return 0;
  };
  EXPECT_EQ(errand::async(pool, nested).get(), 9);
  // A worker that is killed takes its own workers with it.
  EXPECT_EQ(deed_with_deadline(pool, [] { errand::async(errand::processes, for_ever).get(); }).how, fate::late);
  if (shared.pid.load() != 0) wait_until_gone(shared.pid.load());
}

TEST_F(what_it_must_survive, a_thousand_crashes_in_a_row) {
  process_pool pool{2};
  std::uint64_t lost = 0;
  std::uint64_t right = 0;
  std::vector<errand::future<int>> all;
  for (int i = 0; i < 2000; ++i)
    all.push_back(errand::async(
        pool,
        [](int n) {
          shared.runs[static_cast<std::size_t>(n)].fetch_add(1);
          if (n % 2 == 0) ::_exit(n % 100 + 1);
          return n;
        },
        i));
  for (int i = 0; i < 2000; ++i) {
    try {
      right += all[static_cast<std::size_t>(i)].get() == i && i % 2 != 0 ? 1 : 0;
    } catch (errand::process_died const& e) {
      lost += e.status() == i % 100 + 1 && i % 2 == 0 ? 1 : 0;
    }
  }
  EXPECT_EQ(right, 1000U);
  EXPECT_EQ(lost, 1000U);
  for (std::size_t i = 0; i < 2000; ++i) EXPECT_EQ(shared.runs[i].load(), 1) << "job " << i;
  auto const s = pool.statistics();
  EXPECT_EQ(s.jobs, 2000U);
  EXPECT_EQ(s.ended, 2000U);
  EXPECT_EQ(s.lost, 1000U);
  EXPECT_EQ(s.workers_died, 1000U);
  sum.given += 2000;
  sum.right += right;
  sum.guilty += 1000;
  sum.lost += lost;
}

TEST_F(what_it_must_survive, everything_at_once) {
  process_pool pool{3, {.time = 20s, .recycle_after = 50}};
  using job = int (*)(int);
  std::array<job, 7> const deeds{
      [](int) -> int { ::_exit(1); },
      [](int) -> int {
        as_without_sanitizers();
        std::abort();
      },
      [](int) -> int { throw uncopyable{}; },
      [](int) -> int {
        for_ever();
        return 0;
      },
      [](int) -> int { return ::raise(SIGSTOP); },
      [](int n) -> int {
        close_all();
        return n;
      },
      [](int n) -> int {
        if (::fork() == 0) ::_exit(0);
        return n;
      },
  };
  std::array<fate, 7> const expected{fate::died, fate::died,  fate::thrown, fate::late,
                                     fate::late, fate::value, fate::value};
  std::uint32_t random = 20;
  std::vector<std::pair<std::size_t, errand::future<int>>> all;  // 7: innocent
  std::uint64_t lost = 0;
  for (int i = 0; i < 600; ++i) {
    random = random * 1664525U + 1013904223U;
    std::size_t const which = (random >> 16U) % 40;
    if (which < 7)
      all.emplace_back(which,
                       errand::async({.on = pool, .timeout = which == 3 || which == 4 ? 100ms : 1h}, deeds[which], i));
    else
      all.emplace_back(7, errand::async(pool, innocent, i));
  }
  std::uint64_t right = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto& [which, f] = all[i];
    if (which == 7) {
      right += f.get() == static_cast<int>(i) * 3 + 1 && shared.runs[i].load() == 1 ? 1 : 0;
    } else {
      auto const v = judge(std::move(f));
      // A deadline may come while it is queued behind others.
      EXPECT_EQ(v.how, expected[which]) << "deed " << which << ": " << v.text;
      lost += v.how == fate::died ? 1 : 0;
      ++sum.guilty;
    }
  }
  auto const s = pool.statistics();
  EXPECT_EQ(s.jobs, 600U);
  EXPECT_EQ(s.ended, 600U);
  EXPECT_EQ(s.lost, lost);
  EXPECT_EQ(s.workers_started, s.workers + s.workers_died + s.workers_killed + s.workers_recycled) << to_string(s);
  sum.given += 600;
  sum.right += right;
  sum.lost += lost;
}

// The last one, so it stands last: gtest runs them in their order.
TEST(what_it_must_survive_in_sum, jobs_given_are_results_that_are_right_and_jobs_of_the_guilty) {
  EXPECT_EQ(sum.given, sum.right + sum.guilty);
  EXPECT_LE(sum.lost, sum.guilty);
  std::printf("jobs given %llu = right %llu + guilty %llu (of these lost %llu)\n",
              static_cast<unsigned long long>(sum.given), static_cast<unsigned long long>(sum.right),
              static_cast<unsigned long long>(sum.guilty), static_cast<unsigned long long>(sum.lost));
}

}  // namespace
