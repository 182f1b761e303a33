// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The program's side. The other one is zygote_loop.
#include "process/zygote.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "base/fork.hpp"
#include "process/zygote_loop.hpp"
#include "process/zygote_messages.hpp"

namespace errand::detail {

namespace {

bool give(int socket, zygote_order const& o) noexcept {
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
  descriptor ours = beyond_stderr(descriptor(ends[0]));
  descriptor theirs = beyond_stderr(descriptor(ends[1]));
  if (!ours || !theirs)
    throw std::system_error(EMFILE, std::system_category(), "errand: cannot make a socket for the zygote of workers");

  // What is in stdio's buffers would be written once by us and once by every worker that flushes or calls exit().
  std::fflush(nullptr);
  pid_t const self = ::getpid();
  // Blocked over the fork, so that no handler of the program's runs in the zygote.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid;
  {
    own_fork const quietly;
    pid = ::fork();
  }
  if (pid == 0) run_zygote(world, theirs.get(), self, before);
  int const reason = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    throw std::system_error(reason, std::system_category(), "errand: cannot fork the zygote of worker processes");

  // Until it has let go of what it inherited: a pipe that the program closes from now on is closed. If it dies, its end is.
  theirs.reset();
  char ready;
  while (::recv(ours.get(), &ready, sizeof ready, 0) < 0 && errno == EINTR) {
  }

  zygote z;
  z.socket_ = std::move(ours);
  z.pid_ = pid;
  return z;
}

bool zygote::order_worker(worker_birth const& birth, std::uint64_t serial) noexcept {
  return give(socket_.get(), {zygote_order::fork_worker, serial, birth});
}

bool zygote::order_kill(std::uint64_t serial) noexcept {
  return give(socket_.get(), {zygote_order::kill_worker, serial, {}});
}

bool zygote::wait_for(news& found) noexcept {
  for (;;) {
    char bytes[most_news_bytes];
    ssize_t got;
    do got = ::recv(socket_.get(), bytes, sizeof bytes, 0);
    while (got < 0 && errno == EINTR);
    zygote_news_header header{};
    if (got < static_cast<ssize_t>(sizeof header)) return false;
    std::memcpy(&header, bytes, sizeof header);
    if (header.guardian != 0) {
      reap();  // the last one
      pid_ = header.guardian;
      continue;
    }
    found = {header.serial, header.error, header.signal, header.status, header.stopped, header.zygote_died, {}};
    try {
      found.last_words.assign(bytes + sizeof header, static_cast<std::size_t>(got) - sizeof header);
    } catch (...) {
      // No memory: the death is told without them.
    }
    return true;
  }
}

// It is dead, or about to end. Another's child, if it was an heir, unless those whose parents have died become ours.
void zygote::reap() noexcept {
  while (pid_ > 0 && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void zygote::hang_up() noexcept { ::shutdown(socket_.get(), SHUT_WR); }

// Its end closes its socket, which poll() tells without being asked for anything.
void zygote::let_go(std::chrono::milliseconds most) noexcept {
  hang_up();
  pollfd other_end{socket_.get(), 0, 0};
  while (::poll(&other_end, 1, static_cast<int>(most.count())) < 0 && errno == EINTR) {
  }
}

void zygote::end() noexcept {
  if (!socket_) return;
  hang_up();
  for (news n; wait_for(n);) {
  }
  socket_.reset();
  reap();
}

void zygote::forget() noexcept {
  socket_.reset();
  pid_ = -1;
}

}  // namespace errand::detail
