// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/isolate.hpp"

#include "bench/failure.hpp"
#include "bench/interrupt.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

namespace bench {
namespace {

// What the child says: a tag, then the result's bytes or the failure's text.
constexpr char tag_result = '+';
constexpr char tag_failure = '-';

void write_all(int fd, std::string const& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    ssize_t const n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR) return;  // the parent has gone, and nobody is left to tell
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

[[noreturn]] void be_the_child(int out, pid_t parent, std::function<std::string()> const& work) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before the line above
  forget_interrupts();
  // A background process group must not touch the terminal's input.
  if (int const null = open("/dev/null", O_RDONLY | O_CLOEXEC); null >= 0) dup2(null, STDIN_FILENO);

  std::string message;
  try {
    message = tag_result + work();
  } catch (std::exception const& e) {
    message = tag_failure + std::string(e.what());
  }
  std::size_t const size = message.size();
  write_all(out, std::string(reinterpret_cast<char const*>(&size), sizeof size) + message);
  _exit(0);
}

// Owns the child and whatever it started: all of its process group is killed and the child reaped.
class child_group {
 public:
  explicit child_group(pid_t leader)
      : leader_(leader), exit_fd_(static_cast<int>(syscall(SYS_pidfd_open, leader, 0))) {}
  ~child_group() { end(); }
  child_group(child_group const&) = delete;
  child_group& operator=(child_group const&) = delete;

  int exit_fd() const { return exit_fd_; }

  // Not before the child is reaped may its number name another group, so kill first.
  // Returns the child's wait status.
  int end() {
    if (leader_ <= 0) return 0;
    kill(-leader_, SIGKILL);
    int status = 0;
    while (waitpid(leader_, &status, 0) < 0 && errno == EINTR) {
    }
    if (exit_fd_ >= 0) close(exit_fd_);
    leader_ = 0;
    return status;
  }

 private:
  pid_t leader_;
  int exit_fd_;
};

// The message as it arrives. Grandchildren may hold the pipe open, so its end says nothing:
// complete is when as many bytes are here as were announced.
class inbox {
 public:
  explicit inbox(int fd) : fd_(fd) {}
  ~inbox() { close(fd_); }
  inbox(inbox const&) = delete;
  inbox& operator=(inbox const&) = delete;

  // Takes what is in the pipe now; false when nothing was.
  bool take() {
    char buffer[4096];
    ssize_t const n = read(fd_, buffer, sizeof buffer);
    if (n > 0) bytes_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  bool complete() const {
    return bytes_.size() >= sizeof(std::size_t) && bytes_.size() >= sizeof(std::size_t) + size();
  }
  std::string message() const { return bytes_.substr(sizeof(std::size_t)); }
  int fd() const { return fd_; }

 private:
  std::size_t size() const {
    std::size_t announced = 0;
    std::memcpy(&announced, bytes_.data(), sizeof announced);
    return announced;
  }

  int fd_;
  std::string bytes_;
};

std::string how_it_died(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("its process was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("its process ended with status {} before it had a result", WEXITSTATUS(status));
}

}  // namespace

std::string run_isolated(std::function<std::string()> const& work) {
  check_interrupt();
  std::fflush(nullptr);
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) throw os_failure("make a pipe", errno);
  pid_t const parent = getpid();
  pid_t const pid = fork();
  if (pid == 0) {
    close(pipe_ends[0]);
    fcntl(pipe_ends[1], F_SETFL,
          0);  // the child's own end waits; its file description is not shared with the parent's end
    be_the_child(pipe_ends[1], parent, work);
  }
  close(pipe_ends[1]);
  inbox from_child(pipe_ends[0]);
  if (pid < 0) throw os_failure("start a process", errno);
  setpgid(pid, pid);  // both sides do it: whoever comes first
  child_group child(pid);
  if (child.exit_fd() < 0) throw os_failure("watch a process", errno);

  bool alive = true;
  while (!from_child.complete()) {
    check_interrupt();
    pollfd events[2] = {{from_child.fd(), POLLIN, 0}, {child.exit_fd(), POLLIN, 0}};
    // The limit covers a signal that arrives between the check and the wait.
    poll(events, 2, 200);
    bool const ended = (events[1].revents & POLLIN) != 0;
    while (from_child.take()) {
    }
    if (ended && !from_child.complete()) {
      alive = false;
      break;
    }
  }
  if (!alive) throw failure(how_it_died(child.end()));

  std::string const message = from_child.message();
  if (message.front() == tag_failure) throw failure(message.substr(1));
  return message.substr(1);
}

}  // namespace bench
