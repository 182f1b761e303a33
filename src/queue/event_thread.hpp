// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The thread that waits in the kernel for all sources: epoll over their descriptors, each watched for one event at a time; and a
// bell, an eventfd, for those who may be in a signal handler. It only tells sources that something may be there: taking it is the
// business of who wants it. Started by the first source, asleep while nothing happens, never joined.
#pragma once

#include "base/descriptor.hpp"
#include "queue/event_core.hpp"

#include <mutex>
#include <unordered_map>

namespace errand::detail {

/// A source that others tell of data, perhaps in a signal handler.
class rung_core : public event_core {
 public:
  /// There may be something. Async-signal-safe; by who refers to the source.
  void ring() noexcept;

 private:
  friend class event_thread;
  std::atomic<bool> rung_{false};  // it stands in the list, which has a reference
  rung_core* next_rung_ = nullptr;
};

class event_thread {
 public:
  /// The process's own, made and started by the first call. Throws std::system_error, std::bad_alloc.
  [[nodiscard]] static event_thread& of_process();
  /// The same if it is there. Async-signal-safe.
  [[nodiscard]] static event_thread* if_there() noexcept;

  /// Whose events of this descriptor are to be told: what to call it by. Throws std::system_error, which says `what`.
  [[nodiscard]] std::uint64_t add(event_core& s, int fd, std::string const& what);
  /// Once, when one of these events is there (or the peer has closed): s.arrived().
  void watch(std::uint64_t id, int fd, std::uint32_t events) noexcept;
  void remove(std::uint64_t id, int fd) noexcept;

  /// Async-signal-safe: has the thread look at the rung sources, and at the signals.
  void ring_bell() noexcept;
  void push_rung(rung_core& s) noexcept;
  /// What it calls each time the bell has rung: for signals.
  void on_bell(void (*call)() noexcept) noexcept { on_bell_.store(call, std::memory_order_release); }  // (ET1)

 private:
  explicit event_thread(event_thread* parents);
  void start();
  [[noreturn]] void run() noexcept;
  void tell(std::uint64_t id) noexcept;
  void tell_rung() noexcept;

  [[maybe_unused]] event_thread* const parents_;
  descriptor epoll_;
  descriptor bell_;
  std::once_flag started_;
  std::atomic<rung_core*> rung_{nullptr};
  std::atomic<void (*)() noexcept> on_bell_{nullptr};
  small_lock guard_;
  std::unordered_map<std::uint64_t, event_core*> sources_;  // under it
  std::uint64_t last_id_ = 0;                              // likewise; 0 is the bell

  friend struct event_thread_renewal;
};

}  // namespace errand::detail
