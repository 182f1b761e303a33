// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What jobs write to stderr: it is seen while they run, it is in the error if they die, nothing waits for who does not read
// it, and nothing of it is lost. Where the program's stderr must be another, in a program of its own.
#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/sanitizers.hpp"
#include "crashes/fates.hpp"
#include "faults/own_program.hpp"
#include "process/test_jobs.hpp"
#include "support/in_child.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::expect_well;
using errand_test::in_own_program;
using errand_test::require;

// Made before main, so before the zygote.
struct shared_page {
  std::atomic<int> step;
  std::atomic<int> pid;
};
shared_page& shared = *static_cast<shared_page*>(
    ::mmap(nullptr, sizeof(shared_page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

void reach(int step) { shared.step.store(step); }
void wait_for(int step) {
  while (shared.step.load() < step) std::this_thread::yield();
}

// A line of its own, that begins with its number: nothing can be missing, or there twice, without being seen.
std::string numbered_lines(int from, int to) {
  std::string all;
  for (int i = from; i < to; ++i) all += "line " + std::to_string(i) + " of the job\n";
  return all;
}
void write_all(std::string const& text) {
  for (std::size_t done = 0; done < text.size();) {
    ssize_t const n = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (n < 0) ::_exit(70);
    done += static_cast<std::size_t>(n);
  }
}

errand::process_died death_of(errand::future<void> f) {
  try {
    f.get();
  } catch (errand::process_died const& e) {
    return e;
  }
  throw std::runtime_error{"it did not die"};
}

// The program's stderr from now on, which nobody reads but who asks.
class pipe_for_stderr {
 public:
  pipe_for_stderr() {
    int ends[2];
    require(::pipe2(ends, O_CLOEXEC) == 0, "a pipe");
    before_ = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
    reading_ = ends[0];
  }
  // Reads until it has so many bytes.
  std::string read(std::size_t count) {
    std::string got;
    char bytes[4096];
    while (got.size() < count) {
      ssize_t const n = ::read(reading_, bytes, std::min(sizeof bytes, count - got.size()));
      require(n > 0, "the pipe's end came too early");
      got.append(bytes, static_cast<std::size_t>(n));
    }
    return got;
  }
  // No more than what fits is written to it.
  void fill() {
    int const own = ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    require(own >= 0, "the pipe once more");
    std::string const block(4096, '-');
    while (::write(own, block.data(), block.size()) > 0) filled_ += block.size();
    ::close(own);
  }
  std::size_t filled() const { return filled_; }
  ~pipe_for_stderr() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(reading_);
  }

 private:
  int before_ = -1;
  int reading_ = -1;
  std::size_t filled_ = 0;
};

TEST(stderr_of_processes, the_last_words_of_a_worker_are_in_the_error_of_its_job) {
  auto const e = death_of(errand::async(errand::processes, [] {
    std::fputs("a line before\nthe reason\n\n", stderr);
    ::_exit(3);
  }));
  EXPECT_EQ(e.stderr_tail(), "a line before\nthe reason\n\n");
  std::string const what = e.what();
  EXPECT_TRUE(what.ends_with("exited with status 3; the last lines on its stderr:\na line before\nthe reason")) << what;
  EXPECT_EQ(e.status(), 3);
}

TEST(stderr_of_processes, one_that_said_nothing_is_quoted_with_nothing) {
  auto const e = death_of(errand::async({.on = errand::processes, .name = "mute"}, [] { ::_exit(3); }));
  EXPECT_EQ(e.stderr_tail(), "");
  EXPECT_EQ(std::string{e.what()}.find("on its stderr"), std::string::npos) << e.what();
}

TEST(stderr_of_processes, of_much_the_end_is_kept_and_whole_lines_are_quoted) {
  auto const e = death_of(errand::async(errand::processes, [] {
    write_all(numbered_lines(0, 3000));
    ::_exit(3);
  }));
  std::string const all = numbered_lines(0, 3000);
  EXPECT_EQ(e.stderr_tail(), all.substr(all.size() - 8192));
  std::string const what = e.what();
  EXPECT_TRUE(what.ends_with("\nline 2999 of the job")) << what;
  EXPECT_NE(what.find("stderr:\nline 29"), std::string::npos) << what;
  EXPECT_LT(what.size(), 2500U);
}

TEST(stderr_of_processes, what_a_failed_check_or_a_sanitizer_says_is_there) {
  auto e = death_of(errand::async({.on = errand::processes, .name = "checked"}, [] {
    ::signal(SIGABRT, SIG_DFL);
    ::__assert_fail("one == two", "some.cpp", 7, "f");
  }));
  EXPECT_NE(std::string{e.what()}.find("Assertion `one == two' failed."), std::string::npos) << e.what();
  if (!errand::detail::address_sanitizer) return;
  e = death_of(errand::async(errand::processes, [] {
    int* volatile gone = new int{1};
    delete gone;
    *gone = 2;
  }));
  EXPECT_NE(std::string{e.what()}.find("SUMMARY: AddressSanitizer: heap-use-after-free"), std::string::npos) << e.what();
}

TEST(stderr_of_processes, each_death_has_its_own_words_though_many_die_at_once) {
  errand::process_pool pool{4};
  std::vector<errand::future<void>> all;
  for (int i = 0; i < 200; ++i)
    all.push_back(errand::async(
        pool,
        [](int n) {
          write_all("word " + std::to_string(n) + '\n');
          ::_exit(1);
        },
        i));
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(death_of(std::move(all[static_cast<std::size_t>(i)])).stderr_tail(), "word " + std::to_string(i) + '\n');
}

TEST(stderr_of_processes, the_zygote_keeps_no_descriptor_of_the_dead) {
  auto const descriptors = [](pid_t process) {
    int count = 0;
    for ([[maybe_unused]] auto const& each : std::filesystem::directory_iterator{"/proc/" + std::to_string(process) + "/fd"})
      ++count;
    return count;
  };
  errand::process_pool pool{1};
  auto const crash = [&] { static_cast<void>(death_of(errand::async(pool, [] { ::_exit(1); }))); };
  crash();
  pid_t const zygote = errand::async(pool, [] { return ::getppid(); }).get();
  int const before = descriptors(zygote);
  for (int i = 0; i < 50; ++i) crash();
  EXPECT_EQ(errand::async(pool, [] { return ::getppid(); }).get(), zygote);
  EXPECT_EQ(descriptors(zygote), before);
}

TEST(stderr_of_processes, it_is_seen_while_the_job_runs) {
  expect_well(in_own_program({}, [](auto const&) {
    pipe_for_stderr err;
    auto job = errand::async(errand::processes, [] {
      write_all("I have begun\n");
      wait_for(1);
    });
    require(err.read(13) == "I have begun\n", "it is read before the job has ended");
    require(!job.ready(), "it runs");
    reach(1);
    job.get();
  }));
}

TEST(stderr_of_processes, who_does_not_read_it_holds_up_its_writer_and_nobody_else_and_loses_nothing) {
  expect_well(in_own_program({}, [](auto const&) {
    pipe_for_stderr err;
    errand::process_pool pool{1};
    errand::process_pool others{1};
    auto writer = errand::async(pool, [] {
      write_all(numbered_lines(0, 40'000));  // more than all the pipes on its way can hold
      return 1;
    });
    err.fill();
    // A death is reported with its last words, a limit of time is kept, workers are forked.
    require(death_of(errand::async(others, [] {
              write_all("help\n");
              ::_exit(1);
            })).stderr_tail() == "help\n",
            "words that nobody has read");
    bool late = false;
    try {
      errand::async({.on = others, .timeout = 20ms}, [] {
        for (;;) ::pause();
      }).get();
    } catch (errand::timed_out const&) {
      late = true;
    }
    require(late, "a deadline");
    require(!writer.ready(), "the writer waits");
    // In what order two processes' bytes come is not said; each one's are in order.
    std::string const all = numbered_lines(0, 40'000);
    std::string got = err.read(err.filled() + all.size() + 5);
    std::erase(got, '-');
    if (auto const at = got.find("help\n"); at != std::string::npos) got.erase(at, 5);
    require(got == all, "all lines");
    require(writer.get() == 1, "the writer goes on");
  }));
}

TEST(stderr_of_processes, a_program_without_stderr_and_one_whose_stderr_is_full_have_the_last_words_all_the_same) {
  for (char const* const where : {"", "/dev/full"}) {
    auto const body = [&](auto const&) {
      if (*where == '\0')
        for (int fd = 0; fd < 3; ++fd) ::close(fd);
      else
        ::dup2(::open(where, O_WRONLY | O_CLOEXEC), STDERR_FILENO);
      require(errand::async(errand::processes, [] {
                write_all(numbered_lines(0, 20'000));
                return 4;
              }).get() == 4,
              "a job that writes much");
      require(death_of(errand::async(errand::processes, [] {
                write_all("done for\n");
                ::_exit(1);
              })).stderr_tail().ends_with("done for\n"),
              "the last words");
      std::string const large(3U << 20U, 'x');
      require(errand::async(
                  errand::processes, [](std::string s) { return s + '!'; }, large)
                      .get() == large + '!',
              "large messages still work");
    };
    expect_well(in_own_program({}, body));
  }
}

TEST(stderr_of_processes, what_has_left_its_workers_group_may_write_when_the_worker_is_dead) {
  expect_well(in_own_program({}, [](auto const&) {
    pipe_for_stderr err;
    static_cast<void>(death_of(errand::async(errand::processes, [] {
      if (::fork() == 0) {
        ::setsid();
        shared.pid.store(::getpid());
        wait_for(2);
        write_all("I am still here\n");
        ::_exit(0);
      }
      while (shared.pid.load() == 0) std::this_thread::yield();
      ::_exit(1);
    })));
    reach(2);
    require(err.read(16) == "I am still here\n", "what it wrote");
  }));
}

TEST(stderr_of_processes, one_that_writes_without_end_keeps_nobody_from_killing_it) {
  expect_well(in_own_program({}, [](auto const&) {
    ::dup2(::open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    errand::process_pool pool{2};
    auto const chatter = [] {
      for (std::string const block(65536, '.');;) write_all(block);
    };
    for (int round = 0; round < 5; ++round) {
      auto loud = errand::async({.on = pool, .timeout = 50ms}, chatter);
      require(errand::async(pool, [] { return 3; }).get() == 3, "others work");
      bool late = false;
      try {
        loud.get();
      } catch (errand::timed_out const&) {
        late = true;
      }
      require(late, "it is killed");
    }
  }));
}

TEST(stderr_of_processes, the_report_names_no_other_stream_than_stderr) {
  auto const e = death_of(errand::async(errand::processes, [] {
    std::printf("to stdout\n");
    std::fflush(stdout);
    write_all("to stderr\n");
    ::_exit(1);
  }));
  EXPECT_EQ(e.stderr_tail(), "to stderr\n");
}

}  // namespace
