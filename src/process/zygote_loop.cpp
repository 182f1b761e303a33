// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/zygote_loop.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "base/fork.hpp"
#include "process/stderr_relay.hpp"
#include "process/zygote_messages.hpp"

namespace errand::detail {

namespace {

void close_range_of(int first, int last) noexcept {
  if (first > last) return;
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), static_cast<unsigned>(last), 0) == 0) return;
#endif
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  auto const end = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 65536));
  for (int fd = first; fd <= last && fd < end; ++fd) ::close(fd);
}

// Everything but the first three and what is named here, in rising order.
void close_all_except(std::initializer_list<int> kept) noexcept {
  int first = STDERR_FILENO + 1;
  for (int const fd : kept) {
    close_range_of(first, fd - 1);
    first = std::max(first, fd + 1);
  }
  close_range_of(first, ~0U >> 1U);
}

// A job must not eat the program's input. And of the first three none is missing, so that nothing else gets such a number.
void fill_first_three() noexcept {
  int const null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (fd != null && (fd == STDIN_FILENO || ::fcntl(fd, F_GETFD) < 0)) ::dup2(null, fd);
  if (null > STDERR_FILENO)
    ::close(null);
  else
    ::fcntl(null, F_SETFD, 0);
}

// A descriptor for each worker may be more than the program needs for itself. Returns what it had.
rlimit raise_limit_of_descriptors() noexcept {
  rlimit before{};
  if (::getrlimit(RLIMIT_NOFILE, &before) != 0) return {RLIM_INFINITY, RLIM_INFINITY};
  rlimit const raised{before.rlim_max, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &raised);
  return before;
}

// The zygote and its workers find errand as the program had it before its first thread.
pid_t fork_quietly() noexcept {
  own_fork const ours;
  return ::fork();
}

class zygote_loop {
 public:
  zygote_loop(worker_world const& world, int socket, sigset_t const& program_mask) noexcept
      : world_(world), socket_(socket), program_mask_(program_mask), program_files_(raise_limit_of_descriptors()) {}

  [[noreturn]] void run(pid_t program) noexcept {
    ::prctl(PR_SET_NAME, "errand-zygote");
    // Only the kernel's reaper and the death notice are of interest, and both are read from a descriptor. The notice
    // comes when the forking *thread* ends, so it is only a reason to look who the parent is.
    ::prctl(PR_SET_PDEATHSIG, SIGUSR1);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // of what workers leave behind: the first process of a container may not reap
    ::signal(SIGCHLD, SIG_DFL);
    sigset_t wanted;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGCHLD);
    ::sigaddset(&wanted, SIGUSR1);
    signals_ = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) ::_exit(EXIT_FAILURE);

    while (::getppid() == program && turn()) {
    }
    end();
  }

 private:
  struct child {
    pid_t pid;
    std::uint64_t serial;
  };
  struct news {
    zygote_news_header header;
    std::string last_words;
  };

  // Sleeps until there is something to do, and does it. False when the program has closed its end: it has ended, or ends us.
  bool turn() noexcept {
    try {
      watched_.clear();
      watched_.push_back({socket_, static_cast<short>(untold_.empty() ? POLLIN : POLLIN | POLLOUT), 0});
      watched_.push_back({signals_, POLLIN, 0});
      relay_.watch(watched_);
    } catch (...) {
      // No memory: what cannot be watched is looked after when something else happens.
    }
    if (::poll(watched_.data(), watched_.size(), -1) < 0) return errno == EINTR;
    if (watched_[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(signals_, &info, sizeof info) > 0) {
      }
      report_deaths();
    }
    tell_the_rest();
    relay_.work();
    return (watched_[0].revents & ~POLLOUT) == 0 || serve();
  }

  bool serve() noexcept {
    zygote_order o{};
    auto const got = ::recv(socket_, &o, sizeof o, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got != sizeof o) return false;
    if (o.what == zygote_order::fork_worker)
      fork_worker(o.birth, o.serial);
    else
      for (child const& c : children_)
        if (c.serial == o.serial) kill(c);
    return true;
  }

  // It is not yet reaped, so the number is its own, as a pidfd would be; and so is that of its group.
  static void kill(child const& c) noexcept {
    ::kill(c.pid, SIGKILL);
    ::kill(-c.pid, SIGKILL);
  }

  void fork_worker(worker_birth const& birth, std::uint64_t serial) noexcept {
    try {
      children_.reserve(children_.size() + 1);
      untold_.reserve(children_.capacity() + 1);  // one death each, and the line below
    } catch (...) {
      return tell({.header = {.serial = serial, .error = ENOMEM}, .last_words = {}});
    }
    pid_t const self = ::getpid();
    descriptor const errors = relay_.open(serial);
    pid_t const pid = fork_quietly();
    if (pid == 0) become_worker(self, birth, errors);
    if (pid < 0) {
      int const reason = errno;
      relay_.forget(serial);
      return tell({.header = {.serial = serial, .error = reason}, .last_words = {}});
    }
    ::setpgid(pid, pid);  // here too: an order to kill it may come before it has got so far
    children_.push_back({pid, serial});
  }

  [[noreturn]] void become_worker(pid_t self, worker_birth const& birth, descriptor const& errors) noexcept {
    ::prctl(PR_SET_NAME, "errand-worker");
    ::setpgid(0, 0);  // what its jobs start dies with it, unless they put it elsewhere
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) ::_exit(EXIT_FAILURE);  // it died before the line above
    if (errors) ::dup2(errors.get(), STDERR_FILENO);
    close_all_except({world_.shared_fd});
    ::setrlimit(RLIMIT_NOFILE, &program_files_);
    ::signal(SIGINT, SIG_IGN);  // Ctrl-C is for the program, which decides what becomes of its jobs
    ::pthread_sigmask(SIG_SETMASK, &program_mask_, nullptr);
    worker_main(world_, birth, self);
  }

  void report_deaths() noexcept {
    for (;;) {
      siginfo_t info{};
      if (::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
      pid_t const pid = info.si_pid;
      auto const at = std::find_if(children_.begin(), children_.end(), [&](child const& c) { return c.pid == pid; });
      bool const stopped = info.si_code == CLD_STOPPED;
      if (at != children_.end() && !stopped) kill(*at);  // what it has left behind: before the number of its group is free
      ::waitid(P_PID, static_cast<id_t>(pid), &info, stopped ? WSTOPPED | WNOHANG : WEXITED);
      if (at == children_.end()) continue;  // the orphan of a worker
      news n{.header = {.serial = at->serial}, .last_words = {}};
      if (stopped) {
        n.header.stopped = true;
      } else {
        n.last_words = relay_.last_words(at->serial);
        children_.erase(at);
        (info.si_code == CLD_EXITED ? n.header.status : n.header.signal) = info.si_status;
      }
      tell(std::move(n));
    }
  }

  // Never waits for the program to read: it may be waiting for us to.
  void tell(news n) noexcept {
    try {
      untold_.push_back(std::move(n));
    } catch (...) {
      ::_exit(EXIT_FAILURE);  // it was reserved; without the news the program would wait for ever
    }
    tell_the_rest();
  }
  void tell_the_rest() noexcept {
    std::size_t told = 0;
    while (told < untold_.size() && tell_now(untold_[told])) ++told;
    untold_.erase(untold_.begin(), untold_.begin() + static_cast<std::ptrdiff_t>(told));
  }
  bool tell_now(news& n) const noexcept {
    iovec parts[] = {{&n.header, sizeof n.header}, {n.last_words.data(), n.last_words.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = std::size(parts);
    return ::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
  }

  [[noreturn]] void end() noexcept {
    for (child const& c : children_) kill(c);
    for (child const& c : children_)
      while (::waitpid(c.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    relay_.finish();
    ::_exit(EXIT_SUCCESS);
  }

  worker_world const& world_;
  int socket_;
  int signals_ = -1;
  sigset_t program_mask_;
  rlimit program_files_;
  stderr_relay relay_;
  std::vector<child> children_;
  std::vector<news> untold_;  // the program is slow to read
  std::vector<pollfd> watched_ = std::vector<pollfd>(2);
};

}  // namespace

void run_zygote(worker_world const& world, int socket, pid_t program, sigset_t const& program_mask) noexcept {
  close_all_except({std::min(socket, world.shared_fd), std::max(socket, world.shared_fd)});
  // Before that: where the program has no stderr, there is none to pass anything on to.
  zygote_loop loop(world, socket, program_mask);
  fill_first_three();
  loop.run(program);
}

}  // namespace errand::detail
