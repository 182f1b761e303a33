// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/zygote.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <system_error>
#include <vector>

#include "base/fork.hpp"

namespace errand::detail {

namespace {

struct order {
  enum : std::uint32_t { fork_worker, kill_worker } what;
  std::uint64_t serial;
  worker_birth birth;
};

void close_range_of(unsigned first, unsigned last) noexcept {
  if (first > last) return;
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, first, last, 0) == 0) return;
#endif
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  auto const end = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, 65536));
  for (unsigned fd = first; fd <= last && fd < end; ++fd) ::close(static_cast<int>(fd));
}

// Everything of the program's but its stdout, stderr and what is named here.
void close_all_except(int a, int b) noexcept {
  int kept[] = {STDERR_FILENO, a, b};
  std::sort(std::begin(kept), std::end(kept));
  for (std::size_t i = 0; i + 1 < std::size(kept); ++i)
    close_range_of(static_cast<unsigned>(kept[i]) + 1, static_cast<unsigned>(kept[i + 1]) - 1);
  close_range_of(static_cast<unsigned>(kept[std::size(kept) - 1]) + 1, ~0U);
  // A job must not eat the program's input.
  int const null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null > STDIN_FILENO) {
    ::dup2(null, STDIN_FILENO);
    ::close(null);
  }
}

// The zygote and its workers find errand as the program had it before its first thread.
pid_t fork_quietly() noexcept {
  own_fork const ours;
  return ::fork();
}

// The process on the other side of the fork.
class zygote_loop {
 public:
  zygote_loop(worker_world const& world, int socket, sigset_t const& program_mask) noexcept
      : world_(world), socket_(socket), program_mask_(program_mask) {}

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

    while (::getppid() == program) {
      auto const wanted_of_socket = static_cast<short>(untold_.empty() ? POLLIN : POLLIN | POLLOUT);
      pollfd watched[] = {{socket_, wanted_of_socket, 0}, {signals_, POLLIN, 0}};
      if (::poll(watched, 2, -1) < 0 && errno != EINTR) break;
      if (watched[1].revents != 0) {
        signalfd_siginfo info;
        while (::read(signals_, &info, sizeof info) > 0) {
        }
        report_deaths();
      }
      tell_the_rest();
      if ((watched[0].revents & ~POLLOUT) != 0 && !serve()) break;
    }
    end();
  }

 private:
  struct child {
    pid_t pid;
    std::uint64_t serial;
  };

  // False when the program has closed its end: it has ended, or ends us.
  bool serve() noexcept {
    order o{};
    auto const got = ::recv(socket_, &o, sizeof o, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got != sizeof o) return false;
    if (o.what == order::fork_worker)
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
      tell({.serial = serial, .error = ENOMEM});
      return;
    }
    pid_t const self = ::getpid();
    pid_t const pid = fork_quietly();
    if (pid == 0) become_worker(self, birth);
    if (pid < 0) return tell({.serial = serial, .error = errno});
    ::setpgid(pid, pid);  // here too: an order to kill it may come before it has got so far
    children_.push_back({pid, serial});
  }

  [[noreturn]] void become_worker(pid_t self, worker_birth const& birth) noexcept {
    ::prctl(PR_SET_NAME, "errand-worker");
    ::setpgid(0, 0);  // what its jobs start dies with it, unless they put it elsewhere
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) ::_exit(EXIT_FAILURE);  // it died before the line above
    ::close(socket_);
    ::close(signals_);
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
      zygote::news n{.serial = at->serial};
      if (stopped) {
        n.stopped = true;
      } else {
        children_.erase(at);
        (info.si_code == CLD_EXITED ? n.status : n.signal) = info.si_status;
      }
      tell(n);
    }
  }

  // Never waits for the program to read: it may be waiting for us to.
  void tell(zygote::news const& n) noexcept {
    try {
      untold_.push_back(n);
    } catch (...) {
      ::_exit(EXIT_FAILURE);  // it was reserved; without the news the program would wait for ever
    }
    tell_the_rest();
  }
  void tell_the_rest() noexcept {
    std::size_t told = 0;
    while (told < untold_.size() &&
           ::send(socket_, &untold_[told], sizeof untold_[told], MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
      ++told;
    untold_.erase(untold_.begin(), untold_.begin() + static_cast<std::ptrdiff_t>(told));
  }

  [[noreturn]] void end() noexcept {
    for (child const& c : children_) kill(c);
    for (child const& c : children_)
      while (::waitpid(c.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    ::_exit(EXIT_SUCCESS);
  }

  worker_world const& world_;
  int socket_;
  int signals_ = -1;
  sigset_t program_mask_;
  std::vector<child> children_;
  std::vector<zygote::news> untold_;  // the program is slow to read
};

bool give(int socket, order const& o) noexcept {
  ssize_t sent;
  do sent = ::send(socket, &o, sizeof o, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == sizeof o;
}

}  // namespace

zygote zygote::start(worker_world const& world) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::system_error(errno, std::system_category(), "errand: cannot make a socket for the zygote of workers");
  descriptor ours(ends[0]);
  descriptor theirs(ends[1]);

  // What is in stdio's buffers would be written once by us and once by every worker that flushes or calls exit().
  std::fflush(nullptr);
  pid_t const self = ::getpid();
  // Blocked over the fork, so that no handler of the program's runs in the zygote.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t const pid = fork_quietly();
  if (pid == 0) {
    close_all_except(theirs.get(), world.shared_fd);
    zygote_loop(world, theirs.get(), before).run(self);
  }
  int const reason = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    throw std::system_error(reason, std::system_category(), "errand: cannot fork the zygote of worker processes");

  zygote z;
  z.socket_ = std::move(ours);
  z.pid_ = pid;
  return z;
}

bool zygote::order_worker(worker_birth const& birth, std::uint64_t serial) noexcept {
  return give(socket_.get(), {order::fork_worker, serial, birth});
}

bool zygote::order_kill(std::uint64_t serial) noexcept { return give(socket_.get(), {order::kill_worker, serial, {}}); }

bool zygote::wait_for(news& found) noexcept {
  ssize_t got;
  do got = ::recv(socket_.get(), &found, sizeof found, 0);
  while (got < 0 && errno == EINTR);
  return got == sizeof found;
}

void zygote::hang_up() noexcept { ::shutdown(socket_.get(), SHUT_RDWR); }

void zygote::end() noexcept {
  socket_.reset();
  if (pid_ < 0) return;
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void zygote::forget() noexcept {
  socket_.reset();
  pid_ = -1;
}

}  // namespace errand::detail
