// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A fork of the running test: the child runs a function and is gone, without the test framework's end. What it requires
// and what escapes it is said on stderr, and its status tells the parent. A child that hangs is killed.
#pragma once

#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include "base/sanitizers.hpp"

namespace errand_test {

/// What a skipped test says: the child of a process with threads may neither start some nor allocate. ThreadSanitizer's runtime
/// refuses threads there; AddressSanitizer's leaves the locks of its allocator as the parent's threads held them.
inline constexpr bool threads_work_after_fork = !errand::detail::sanitized_memory;
inline constexpr char const* no_threads_after_fork = "a sanitizer's runtime does not survive the fork of a process with threads";

/// For the child: fails it.
inline void require(bool holds, std::string const& what) {
  if (!holds) throw std::runtime_error{"not so in the child: " + what};
}

/// Waits for a child: the status it exited with, or minus the signal that ended it.
inline int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1000;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/// Forks and returns the child's number; the child runs `body()` and exits with 0, or with 1 if that throws.
template <class Body>
pid_t fork_child(Body body) {
  std::fflush(nullptr);
  pid_t const child = ::fork();
  if (child != 0) return child;
  ::alarm(120);
  try {
    body();
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    ::_exit(1);
  } catch (...) {
    std::fprintf(stderr, "the child threw something else\n");
    ::_exit(2);
  }
  ::_exit(0);
}

/// The same, and waits: 0 if all went well.
template <class Body>
int in_child(Body body) {
  return status_of(fork_child(body));
}

}  // namespace errand_test
