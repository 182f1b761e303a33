// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/zygote_loop.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <errand/detail/process_job.hpp>
#include <initializer_list>
#include <memory>
#include <new>
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

int pidfd_open(pid_t pid) noexcept { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)); }

// Of the kernel's headers, since Linux 6.9.
constexpr unsigned to_process_group = 1U << 2U;

int pidfd_kill(int pidfd, unsigned flags) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, flags));
}

bool is_our_child(pid_t pid) noexcept {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

// What one who serves has among his workers, for the guardian that may have to bury them: shared by the two alone.
struct worker_table {
  struct entry {
    std::atomic<std::uint64_t> serial;  // of an order that was begun, and whose end was not told yet; or 0
    std::atomic<pid_t> pid;             // 0: there is none, or it has not come to its second line
  };
  std::atomic<std::uint64_t> births;
  entry at[most_process_workers + 1];  // by slot

  static worker_table* make() noexcept {
    void* const at = ::mmap(nullptr, sizeof(worker_table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? nullptr : ::new (at) worker_table{};
  }
  struct unmap {
    void operator()(worker_table* table) const noexcept { ::munmap(table, sizeof(worker_table)); }
  };
};
using worker_table_owner = std::unique_ptr<worker_table, worker_table::unmap>;

class zygote_loop {
 public:
  zygote_loop(worker_world const& world, int socket, pid_t program, sigset_t const& program_mask) noexcept
      : world_(world),
        socket_(socket),
        program_(program),
        program_mask_(program_mask),
        program_files_(raise_limit_of_descriptors()) {}

  [[noreturn]] void run() noexcept {
    begin();
    while (turn()) {
    }
    end();
  }

 private:
  struct child {
    pid_t pid;
    std::uint64_t serial;
    unsigned slot;
    descriptor handle;  // a pidfd; none on a kernel that is older than they are
    bool ours = true;   // false: the guardian's, from the time when it served
  };
  struct news {
    zygote_news_header header;
    std::string last_words;
  };

  // Of each who serves or guards.
  void begin() noexcept {
    // Only the kernel's reaper and the death notice are of interest, and both are read from a descriptor. The notice
    // comes when the forking *thread* ends, so it is only a reason to look who the parent is.
    ::prctl(PR_SET_PDEATHSIG, SIGUSR1);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // of what workers leave behind: the first process of a container may not reap
    ::signal(SIGCHLD, SIG_DFL);
    sigset_t wanted;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGCHLD);
    ::sigaddset(&wanted, SIGUSR1);
    signals_ = descriptor(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) ::_exit(EXIT_FAILURE);
  }

  [[nodiscard]] bool serves() const noexcept { return guardian_ != 0 || alone_; }

  // Sleeps until there is something to do, and does it. False when the program has closed its end: it has ended, or ends us.
  bool turn() noexcept {
    if (ending_ && heir_ == 0) return false;
    if (!ending_ && heir_ == 0 && !serves()) raise_heir();  // from here on this may be the heir
    if (look_up()) return true;
    try {
      auto const of_socket = static_cast<short>((serves() ? POLLIN : 0) | (untold_.empty() ? 0 : POLLOUT));
      watched_.clear();
      watched_.push_back({ending_ ? -1 : socket_, of_socket, 0});
      watched_.push_back({signals_.get(), POLLIN, 0});
      relay_.watch(watched_);
    } catch (...) {
      // No memory: what cannot be watched is looked after when something else happens.
    }
    int const happened = ::poll(watched_.data(), watched_.size(), ending_ ? patience : -1);
    if (happened < 0) return errno == EINTR;
    if (happened == 0) ::kill(heir_, SIGKILL);  // it does not end by itself; its death is what happens next
    bool const hung_up = (watched_[0].revents & (POLLHUP | POLLERR)) != 0;
    bool const orders = (watched_[0].revents & POLLIN) != 0 || hung_up;
    if (watched_[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(signals_.get(), &info, sizeof info) > 0) {
      }
      report_deaths();
    }
    tell_the_rest();
    relay_.work();
    if (serves()) return !orders || serve();
    if (hung_up) ending_ = true;
    return true;
  }

  // ---- who guards whom

  // The guardian stays as it is, and sleeps; its child serves.
  void raise_heir() noexcept {
    worker_table_owner table{worker_table::make()};
    pid_t const self = ::getpid();
    pid_t const pid = table && idle_heirs_ < most_idle_heirs ? fork_quietly() : -1;
    if (pid != 0) {
      alone_ = pid < 0;
      heir_ = std::max(pid, 0);
      if (pid > 0) heirs_table_ = std::move(table);
      return;
    }
    guardian_ = self;
    table_ = std::move(table);
    heirs_table_.reset();
    for (child& c : children_) c.ours = false;
    relay_.forget_all();
    untold_.clear();
    begin();
  }

  // Whether who stands above us has died, and what is to be done is another thing now.
  bool look_up() noexcept {
    pid_t const above = ::getppid();
    if (guardian_ != 0 && above != guardian_) {
      guardian_ = program_ = 0;
      bury_guardians_workers();
      tell({.header = {.guardian = ::getpid()}, .last_words = {}});  // the next turn raises an heir
      return true;
    }
    // Of a guardian that was an heir the program is not the parent: it sees its end by the socket.
    if (guardian_ != 0 || program_ == 0 || above == program_ || ending_) return false;
    return ending_ = true;
  }

  // They die with their parent; one that has cut the tie is killed. Nobody else tells of them any more.
  void bury_guardians_workers() noexcept {
    for (child const& c : children_) {
      if (c.ours) continue;
      kill(c);
      pollfd dead{c.handle.get(), POLLIN, 0};
      while (c.handle && ::poll(&dead, 1, -1) < 0 && errno == EINTR) {
      }
      tell({.header = {.serial = c.serial, .signal = SIGKILL, .zygote_died = true}, .last_words = {}});
    }
    std::erase_if(children_, [](child const& c) { return !c.ours; });
  }

  bool heir_is_dead() const noexcept {
    siginfo_t info{};
    return heir_ != 0 && ::waitid(P_PID, static_cast<id_t>(heir_), &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0;
  }

  // The heir has died, and its workers are our children now: each one dies, and is told of. What was ordered and not yet begun is
  // done by the next heir.
  void bury_heir() noexcept {
    heir_ = 0;
    zygote_order next{};
    auto const got = ::recv(socket_, &next, sizeof next, MSG_DONTWAIT | MSG_PEEK);
    if (got == 0) ending_ = true;  // it was told to end
    bool const waits = got == sizeof next && next.what == zygote_order::fork_worker;
    for (unsigned slot = 1; slot <= most_process_workers; ++slot) {
      auto const& entry = heirs_table_->at[slot];
      std::uint64_t const serial = entry.serial.load(std::memory_order_relaxed);
      if (serial == 0) continue;
      pid_t const pid = entry.pid.load(std::memory_order_relaxed);
      bool const was_last_order = waits && next.serial == serial;
      if (was_last_order && pid == 0) continue;  // it will be begun anew
      if (was_last_order) ::recv(socket_, &next, sizeof next, MSG_DONTWAIT);
      if (pid != 0 && is_our_child(pid)) {
        ::kill(pid, SIGKILL);
        ::kill(-pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
      }
      if (!ending_) tell({.header = {.serial = serial, .signal = SIGKILL, .zygote_died = true}, .last_words = {}});
    }
    idle_heirs_ = heirs_table_->births.load(std::memory_order_relaxed) == 0 ? idle_heirs_ + 1 : 0;
    heirs_table_.reset();
  }

  // ---- orders

  // Each is taken out of the socket when it has been done: if we die before, the next heir does it.
  bool serve() noexcept {
    zygote_order o{};
    auto const got = ::recv(socket_, &o, sizeof o, MSG_DONTWAIT | MSG_PEEK);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got != sizeof o) return false;
    if (o.what == zygote_order::fork_worker)
      fork_worker(o.birth, o.serial);
    else
      for (child const& c : children_)
        if (c.serial == o.serial) kill(c);
    ::recv(socket_, &o, sizeof o, MSG_DONTWAIT);
    tell_the_rest();
    return true;
  }

  // If it is ours it is not yet reaped, so its number is its own, and so is that of its group. Of the guardian's worker the
  // guardian kills the group, when it reaps it.
  static void kill(child const& c) noexcept {
    bool const sent = c.handle && pidfd_kill(c.handle.get(), 0) == 0;
    if (!sent && (c.ours || !c.handle)) ::kill(c.pid, SIGKILL);
    if (c.ours)
      ::kill(-c.pid, SIGKILL);
    else if (c.handle)
      pidfd_kill(c.handle.get(), to_process_group);
  }

  void fork_worker(worker_birth const& birth, std::uint64_t serial) noexcept {
    note(birth.slot, serial, 0);
    try {
      children_.reserve(children_.size() + 1);
      untold_.reserve(children_.capacity() + 2);  // one death each, and two lines more
    } catch (...) {
      return put_off({.header = {.serial = serial, .slot = birth.slot, .error = ENOMEM}, .last_words = {}});
    }
    pid_t const self = ::getpid();
    descriptor const errors = relay_.open(serial);
    pid_t const pid = fork_quietly();
    if (pid == 0) become_worker(self, birth, errors);
    if (pid < 0) {
      int const reason = errno;
      relay_.forget(serial);
      return put_off({.header = {.serial = serial, .slot = birth.slot, .error = reason}, .last_words = {}});
    }
    note(birth.slot, serial, pid);
    ::setpgid(pid, pid);  // here too: an order to kill it may come before it has got so far
    children_.push_back({pid, serial, birth.slot, descriptor(pidfd_open(pid))});
  }

  // For the guardian; alone there is none.
  void note(unsigned slot, std::uint64_t serial, pid_t pid) noexcept {
    if (!table_) return;
    table_->at[slot].pid.store(pid, std::memory_order_relaxed);
    table_->at[slot].serial.store(serial, std::memory_order_relaxed);
    if (pid != 0) table_->births.fetch_add(1, std::memory_order_relaxed);
  }

  [[noreturn]] void become_worker(pid_t self, worker_birth const& birth, descriptor const& errors) noexcept {
    // If the zygote dies before this line, the next one below ends us; if after it, its guardian knows of us.
    if (table_) table_->at[birth.slot].pid.store(::getpid(), std::memory_order_relaxed);
    table_.reset();
    ::prctl(PR_SET_NAME, "errand-worker");
    ::setpgid(0, 0);  // what its jobs start dies with it, unless they put it elsewhere
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) ::_exit(EXIT_FAILURE);
    if (errors) ::dup2(errors.get(), STDERR_FILENO);
    close_all_except({world_.shared_fd});
    ::setrlimit(RLIMIT_NOFILE, &program_files_);
    ::signal(SIGINT, SIG_IGN);  // Ctrl-C is for the program, which decides what becomes of its jobs
    ::pthread_sigmask(SIG_SETMASK, &program_mask_, nullptr);
    worker_main(world_, birth, self);
  }

  // ---- deaths

  void report_deaths() noexcept {
    for (;;) {
      siginfo_t info{};
      if (::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
      if (heir_is_dead()) {  // its workers are our children by then, and perhaps this is one
        bury_heir();
        continue;
      }
      pid_t const pid = info.si_pid;
      auto const at = std::find_if(children_.begin(), children_.end(), [&](child const& c) { return c.ours && c.pid == pid; });
      bool const stopped = info.si_code == CLD_STOPPED;
      if (at != children_.end() && !stopped) kill(*at);  // what it has left behind: before the number of its group is free
      ::waitid(P_PID, static_cast<id_t>(pid), &info, stopped ? WSTOPPED | WNOHANG : WEXITED);
      if (at == children_.end()) continue;  // the orphan of a worker
      news n{.header = {.serial = at->serial, .slot = at->slot}, .last_words = {}};
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
    put_off(std::move(n));
    tell_the_rest();
  }
  void put_off(news n) noexcept {
    try {
      untold_.push_back(std::move(n));
    } catch (...) {
      ::_exit(EXIT_FAILURE);  // it was reserved; without the news the program would wait for ever
    }
  }
  void tell_the_rest() noexcept {
    std::size_t told = 0;
    for (; told < untold_.size() && tell_now(untold_[told]); ++told)
      if (auto const& header = untold_[told].header; header.slot != 0 && !header.stopped) note(header.slot, 0, 0);
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
      while (c.ours && ::waitpid(c.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    relay_.finish();
    ::_exit(EXIT_SUCCESS);
  }

  static constexpr int patience = 3000;            // milliseconds that a guardian gives its heir for its end
  static constexpr unsigned most_idle_heirs = 100;  // in a row, that died before they had forked a worker: it is no use

  worker_world const& world_;
  int socket_;
  pid_t program_;        // our parent; 0: it is not
  pid_t guardian_ = 0;   // our parent; 0: it is not, and we need an heir
  pid_t heir_ = 0;       // or 0
  bool alone_ = false;   // there is no memory for an heir
  bool ending_ = false;  // when the heir has
  unsigned idle_heirs_ = 0;
  worker_table_owner table_;        // our workers, for the guardian
  worker_table_owner heirs_table_;
  descriptor signals_;
  sigset_t program_mask_;
  rlimit program_files_;
  stderr_relay relay_;
  std::vector<child> children_;
  std::vector<news> untold_;  // the program is slow to read
  std::vector<pollfd> watched_ = std::vector<pollfd>(2);
};

}  // namespace

void run_zygote(worker_world const& world, int socket, pid_t program, sigset_t const& program_mask) noexcept {
  ::prctl(PR_SET_NAME, "errand-zygote");
  close_all_except({std::min(socket, world.shared_fd), std::max(socket, world.shared_fd)});
  char const ready = 0;
  ::send(socket, &ready, sizeof ready, MSG_NOSIGNAL);  // zygote::start() waits for it; if nobody does any more, poll() will say so
  // Before the first three are filled: where the program has no stderr, there is none to pass anything on to.
  zygote_loop loop(world, socket, program, program_mask);
  fill_first_three();
  loop.run();
}

}  // namespace errand::detail
