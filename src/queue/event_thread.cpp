// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "queue/event_thread.hpp"

#include "base/check.hpp"
#include "base/fork.hpp"
#include "sched/threads.hpp"

#include <array>
#include <cerrno>
#include <memory>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>

namespace errand::detail {

namespace {

constinit std::atomic<event_thread*> made{nullptr};
constinit event_thread* parents = nullptr;  // of the process that forked this one; keeps reachable what is there

[[noreturn]] void throw_os(std::string const& what, int error = errno) {
  throw std::system_error{error, std::generic_category(), what};
}

}  // namespace

// The parent's descriptors are shared with it: closed here, they stay as they are there.
struct event_thread_renewal {
  static void renew() noexcept {
    auto* const left = made.exchange(nullptr, std::memory_order_relaxed);
    if (left == nullptr) return;
    parents = left;
    ::close(left->epoll_.get());
    ::close(left->bell_.get());
    static_cast<void>(left->epoll_.release());
    static_cast<void>(left->bell_.release());
  }
};
[[gnu::init_priority(101)]] static in_forked_child const renewal{&event_thread_renewal::renew};

event_thread::event_thread(event_thread* p)
    : parents_{p}, epoll_{::epoll_create1(EPOLL_CLOEXEC)}, bell_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (!epoll_) throw_os("errand: an event source needs epoll");
  if (!bell_) throw_os("errand: an event source needs an eventfd");
  epoll_event bell{.events = EPOLLIN, .data = {.u64 = 0}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, bell_.get(), &bell) != 0) throw_os("errand: an event source needs epoll");
}

void event_thread::start() {
  run_first_thread_hooks();
  std::call_once(started_, [this] { start_thread("errand/events", [this] { run(); }).detach(); });
}

event_thread* event_thread::if_there() noexcept { return made.load(std::memory_order_acquire); }  // (ET2)

event_thread& event_thread::of_process() {
  // Tempting: a static. Fails because a child that is forked meanwhile inherits its guard taken.
  event_thread* there = made.load(std::memory_order_acquire);  // (ET2) as made
  if (there == nullptr) {
    std::unique_ptr<event_thread> fresh{new event_thread{parents}};
    if (made.compare_exchange_strong(there, fresh.get(), std::memory_order_acq_rel)) there = fresh.release();  // (ET2)
  }
  there->start();
  return *there;
}

std::uint64_t event_thread::add(event_core& s, int fd, std::string const& what) {
  std::uint64_t id = 0;
  {
    std::lock_guard const held{guard_};
    id = ++last_id_;
    sources_.emplace(id, &s);
  }
  // Nothing is asked for yet; that the peer has closed is told all the same, once, and finds nobody watching.
  epoll_event nothing{.events = EPOLLONESHOT | EPOLLET, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &nothing) == 0) return id;
  int const error = errno;
  {
    std::lock_guard const held{guard_};
    sources_.erase(id);
  }
  if (error == EPERM) throw_os(what + " cannot be waited for: a regular file or a directory is always ready", error);
  throw_os(what + " cannot be waited for", error);
}

void event_thread::watch(std::uint64_t id, int fd, std::uint32_t events) noexcept {
  epoll_event once{.events = events | EPOLLONESHOT, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &once) != 0) fatal_os("epoll_ctl of an event source", errno);
}

void event_thread::remove(std::uint64_t id, int fd) noexcept {
  {
    std::lock_guard const held{guard_};
    sources_.erase(id);
  }
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

// ---- the bell --------------------------------------------------------------------------------------------------------------

void event_thread::ring_bell() noexcept {
  int const saved = errno;
  ::eventfd_write(bell_.get(), 1);
  errno = saved;
}

void event_thread::push_rung(rung_core& s) noexcept {
  auto* before = rung_.load(std::memory_order_relaxed);
  do
    s.next_rung_ = before;
  // (ET3) release: the link; pairs with tell_rung().
  while (!rung_.compare_exchange_weak(before, &s, std::memory_order_release, std::memory_order_relaxed));
  ring_bell();
}

void rung_core::ring() noexcept {
  if (inherited() || rung_.exchange(true, std::memory_order_acq_rel)) return;  // (ET4) what was brought before
  auto* const thread = event_thread::if_there();
  if (thread == nullptr) return;
  add_reference();
  thread->push_rung(*this);
}

void event_thread::tell_rung() noexcept {
  rung_core* s = rung_.exchange(nullptr, std::memory_order_acquire);  // (ET3)
  while (s != nullptr) {
    rung_core* const next = s->next_rung_;
    s->rung_.exchange(false, std::memory_order_acq_rel);  // (ET4) who brings more from now on rings again
    s->arrived();
    s->drop_reference();
    s = next;
  }
}

// ---- the thread ------------------------------------------------------------------------------------------------------------

void event_thread::tell(std::uint64_t id) noexcept {
  event_core* s = nullptr;
  {
    std::lock_guard const held{guard_};
    if (auto const found = sources_.find(id); found != sources_.end()) {
      s = found->second;  // it stands here only as long as it has not been closed
      s->add_reference();
    }
  }
  if (s == nullptr) return;
  s->arrived();
  s->drop_reference();
}

[[noreturn]] void event_thread::run() noexcept {
  std::array<epoll_event, 64> events;
  for (;;) {
    int const count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) fatal_os("epoll_wait", errno);
    for (int i = 0; i < count; ++i) {
      auto const id = events[static_cast<std::size_t>(i)].data.u64;
      if (id != 0) {
        tell(id);
        continue;
      }
      eventfd_t rings = 0;
      ::eventfd_read(bell_.get(), &rings);
      tell_rung();
      if (auto const call = on_bell_.load(std::memory_order_acquire); call != nullptr) call();  // (ET1)
    }
  }
}

}  // namespace errand::detail
