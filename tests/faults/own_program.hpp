// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What must not happen to the test's own process (limits, refused system calls, a full disk, signals) happens to the same
// program run once more, from its begin: so errand starts there afresh, which the sanitizers bear too.
#pragma once

#include "io/testing.hpp"
#include "support/in_child.hpp"
#include "support/scratch.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace errand_test {

/// Where it shall run.
struct own_program {
  char const* io = nullptr;  // ERRAND_IO, if not null
  unsigned disk = 0;         // MiB of a file system of its own, mounted at its folder
};

/// The status of a program that could not have what it was to have.
inline constexpr int refused_here = 77;

namespace own_program_detail {

inline bool say(char const* file, char const* text, std::size_t size) noexcept {
  int const fd = ::open(file, O_WRONLY | O_CLOEXEC);
  bool const said = fd >= 0 && ::write(fd, text, size) == static_cast<ssize_t>(size);
  if (fd >= 0) ::close(fd);
  return said;
}

// A tmpfs that nobody else sees. System calls alone: it is called between fork and exec.
inline bool mount_disk(char const* at, char const* options, std::string_view users, std::string_view groups) noexcept {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
    if (!say("/proc/self/setgroups", "deny", 4) || !say("/proc/self/uid_map", users.data(), users.size()) ||
        !say("/proc/self/gid_map", groups.data(), groups.size()))
      return false;
  } else if (::unshare(CLONE_NEWNS) != 0) {
    return false;
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("none", at, "tmpfs", 0, options) == 0;
}

}  // namespace own_program_detail

/// Runs the running test once more in a new program, and there, instead of this call, body(folder), which may require(); what it
/// says on stdout is not seen. 0 if all went well, minus the signal that ended it, refused_here. What comes before it in the test is run there too.
template <class Body>
int in_own_program(own_program const& how, Body body) {
  constexpr char const* which_variable = "ERRAND_TEST_BODY";
  constexpr char const* folder_variable = "ERRAND_TEST_FOLDER";
  static int calls = 0;
  ++calls;
  if (char const* const which = std::getenv(which_variable); which != nullptr) {
    if (std::atoi(which) != calls) return 0;  // this one was for another
    int status = 1;
    try {
      body(std::filesystem::path{std::getenv(folder_variable)});
      status = testing::Test::HasFailure() ? 1 : 0;
    } catch (std::exception const& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    std::fflush(nullptr);
    ::_exit(status);
  }
  scratch const folder;
  auto const* const test = testing::UnitTest::GetInstance()->current_test_info();
  std::string const filter = std::string{"--gtest_filter="} + test->test_suite_name() + '.' + test->name();
  std::vector<std::string> variables{std::string{which_variable} + '=' + std::to_string(calls),
                                     std::string{folder_variable} + '=' + folder.path().string()};
  if (how.io != nullptr) variables.push_back(std::string{"ERRAND_IO="} + how.io);
  std::vector<char*> environment;
  for (auto& v : variables) environment.push_back(v.data());
  for (char** v = environ; *v != nullptr; ++v)
    if (how.io == nullptr || !std::string_view{*v}.starts_with("ERRAND_IO=")) environment.push_back(*v);
  environment.push_back(nullptr);
  char* const arguments[] = {program_invocation_name, const_cast<char*>(filter.c_str()),
                             const_cast<char*>("--gtest_also_run_disabled_tests"), nullptr};
  auto const options = "size=" + std::to_string(how.disk) + 'm';
  auto const users = "0 " + std::to_string(::geteuid()) + " 1";
  auto const groups = "0 " + std::to_string(::getegid()) + " 1";
  std::fflush(nullptr);
  pid_t const child = ::fork();
  if (child == 0) {
    ::alarm(300);
    if (int const nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO);
    if (how.disk != 0 && !own_program_detail::mount_disk(folder.path().c_str(), options.c_str(), users, groups))
      ::_exit(refused_here);
    ::execve("/proc/self/exe", arguments, environment.data());
    ::_exit(127);
  }
  return status_of(child);
}

/// A test's whole body in such a program, with rings and with threads.
template <class Body>
void in_own_programs(own_program how, Body body) {
  for (char const* const io : {"ring", "threads"}) {
    how.io = io;
    if (how.io == std::string_view{"ring"} && !ring_works()) continue;
    int const status = in_own_program(how, body);
    if (status == refused_here) GTEST_SKIP() << "the system refuses what this needs";
    EXPECT_EQ(status, 0) << "ERRAND_IO=" << io;
  }
}

}  // namespace errand_test
