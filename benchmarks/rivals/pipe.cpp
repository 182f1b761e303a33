// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The plain way to have a large result from another process: fork, write, read.
#include "process_result.hpp"

#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace microbench {

namespace {

// read() or write(), until all is done.
template <class Call, class Byte>
bool all_of(Call call, int fd, Byte* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes;) {
    auto const done = call(fd, data + at, bytes - at);
    if (done <= 0 && !(done < 0 && errno == EINTR)) return false;
    if (done > 0) at += static_cast<std::size_t>(done);
  }
  return true;
}

struct view {
  char const* data() const { return bytes; }
  std::size_t size() const { return length; }
  char const* bytes;
  std::size_t length;
};

// Reads into memory that has been used before, and through the largest pipe that anybody may have: what is best for it.
view through_a_pipe(std::vector<char>& into, std::size_t bytes, std::uint64_t salt) {
  into.resize(bytes);
  int ends[2];
  require(::pipe2(ends, O_CLOEXEC) == 0, "no pipe");
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20));
  auto const child = ::fork();
  require(child >= 0, "no fork");
  if (child == 0) {
    std::vector<char> made(bytes);
    finish_result(made.data(), bytes, salt);
    ::_exit(all_of(&::write, ends[1], made.data(), bytes) ? 0 : 1);
  }
  ::close(ends[1]);
  bool const complete = all_of(&::read, ends[0], into.data(), bytes);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  require(complete && status == 0, "the pipe broke");
  return {into.data(), bytes};
}

add const piped{"process-result", role::rival, "fork and a pipe",
                [](settings const& s) -> repetition {
                  auto into = std::make_shared<std::vector<char>>();
                  return [=] {
                    return results_taken(s, [&](std::size_t bytes, std::uint64_t salt) {
                      return through_a_pipe(*into, bytes, salt);
                    });
                  };
                },
                place::own_process};

}  // namespace

}  // namespace microbench
