// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A large result through a pipe: a child that has it writes, the parent reads into memory that it has touched before.
#include "process_values.hpp"

#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace microbench {

namespace {

void write_all(int fd, void const* from, std::size_t bytes) {
  auto const* at = static_cast<char const*>(from);
  while (bytes != 0) {
    ssize_t const done = ::write(fd, at, bytes);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) ::_exit(1);
    at += done;
    bytes -= static_cast<std::size_t>(done);
  }
}
void read_all(int fd, void* to, std::size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes != 0) {
    ssize_t const done = ::read(fd, at, bytes);
    if (done < 0 && errno == EINTR) continue;
    require(done > 0, "the pipe ended early");
    at += done;
    bytes -= static_cast<std::size_t>(done);
  }
}

// `capacity` of the pipe, or 0 for what the system gives.
repetition through_pipe(settings const& s, int capacity) {
  return [s, capacity] {
    auto const count = large_count(s);
    int asks[2], answers[2];
    require(::pipe(asks) == 0 && ::pipe(answers) == 0, "no pipe");
    if (capacity != 0) (void)::fcntl(answers[1], F_SETPIPE_SZ, capacity);
    pid_t const child = ::fork();
    require(child >= 0, "no child");
    if (child == 0) {
      ::close(asks[1]);
      std::vector<number> numbers(count);
      for (number round; ::read(asks[0], &round, sizeof round) == sizeof round;) {
        fill(numbers, round);
        std::int64_t const ready = now_ns();
        write_all(answers[1], &ready, sizeof ready);
        write_all(answers[1], numbers.data(), count * sizeof(number));
      }
      ::_exit(0);
    }
    ::close(asks[0]);
    std::vector<number> numbers(count);
    auto const result = median_on_its_way(s, [&](number round) {
      write_all(asks[1], &round, sizeof round);
      std::int64_t ready = 0;
      read_all(answers[0], &ready, sizeof ready);
      read_all(answers[0], numbers.data(), count * sizeof(number));
      auto const got = now_ns();
      require_filled(numbers, count, round);
      return got - ready;
    });
    for (int const fd : {asks[1], answers[0], answers[1]}) ::close(fd);
    int status = 0;
    ::waitpid(child, &status, 0);
    return result;
  };
}

add const usual{"process-large", role::rival, "pipe", [](settings const& s) { return through_pipe(s, 0); },
                place::own_process};
add const wide{"process-large", role::rival, "pipe of 1 MiB", [](settings const& s) { return through_pipe(s, 1 << 20); },
               place::own_process};

}  // namespace

}  // namespace microbench
