// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Worker processes where the system lacks something: no /proc, a full /dev/shm, no program. Each in a
// program of its own, whose zygote is forked under these conditions.
#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <string>
#include <vector>

#include "base/sanitizers.hpp"
#include "crashes/fates.hpp"
#include "faults/own_program.hpp"
#include "support/in_child.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::expect_well;
using errand_test::in_own_program;
using errand_test::require;

int add(int a, int b) { return a + b; }

// A file system of one MiB lies over that directory from now on; nobody else sees it. Ends the program if it may not.
void cover(char const* directory) {
  auto const users = "0 " + std::to_string(::geteuid()) + " 1";
  auto const groups = "0 " + std::to_string(::getegid()) + " 1";
  if (!errand_test::own_program_detail::mount_disk(directory, "size=1m", users, groups))
    ::_exit(errand_test::refused_here);
}

// What all promise, in short.
void expect_all_works() {
  errand::process_pool pool{2, {.memory = std::size_t{1} << 30U, .time = 20s}};
  require(errand::async(errand::processes, add, 1, 2).get() == 3, "a result");
  std::vector<int> const xs(500, 2);
  require(errand::map(pool, xs, [](int x) { return x + 1; }) == std::vector<int>(500, 3), "a map");
  std::string const large(3U << 20U, 'x');
  require(errand::async(
              pool, [](std::string s) { return s + '!'; }, large)
                  .get() == large + '!',
          "three mebibytes");
  bool died = false;
  try {
    errand::async(pool, [] { ::_exit(2); }).get();
  } catch (errand::process_died const& e) {
    died = e.status() == 2;
  }
  require(died, "a death");
  bool late = false;
  try {
    errand::async({.on = pool, .timeout = 20ms}, [] {
      for (;;) ::pause();
    }).get();
  } catch (errand::timed_out const&) {
    late = true;
  }
  require(late, "a deadline");
}

TEST(processes_survive, no_proc) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's runtime needs /proc";
  expect_well(in_own_program({}, [](auto const&) {
    cover("/proc");
    require(::access("/proc/self", F_OK) != 0, "no /proc");
    expect_all_works();
  }));
}

TEST(processes_survive, a_full_dev_shm) {
  expect_well(in_own_program({}, [](auto const&) {
    cover("/dev/shm");
    int const file = ::open("/dev/shm/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::string const block(4096, 'x');
    while (::write(file, block.data(), block.size()) > 0) {
    }
    ::close(file);
    expect_all_works();
  }));
}

TEST(processes_survive, a_program_that_is_killed_leaves_no_worker_of_any_pool) {
  expect_well(in_own_program({}, [](auto const&) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what is left over would be ours, and the wait below would not end
    int const status = errand_test::in_child([] {
      errand::process_pool pool{2};
      auto a = errand::async(pool, [] {
        for (;;) ::pause();
      });
      auto b = errand::async(errand::processes, [] {
        ::prctl(PR_SET_PDEATHSIG, 0);
        for (;;) ::pause();
      });
      static_cast<void>(errand::async(pool, add, 1, 2).get());
      ::kill(::getpid(), SIGKILL);
    });
    require(status == -SIGKILL, "it was killed");
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
  }));
}

}  // namespace
