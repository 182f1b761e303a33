// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: sync
//
// What tasks wait for beside the ends of others: a semaphore, and what is to be done once. Waiting parks a task, so its worker goes
// on with others; a foreign thread sleeps. Neither may be used in a signal handler.
#pragma once

#include <errand/detail/invoke.hpp>
#include <errand/detail/record.hpp>
#include <errand/detail/time.hpp>

namespace errand {

namespace detail {

struct sync_waiter;

/// Who waits, in a row, under a lock of its own.
struct sync_waiters {
  std::atomic<std::uint32_t> lock{0};  // a small_lock
  sync_waiter* first = nullptr;
  sync_waiter* last = nullptr;
};

}  // namespace detail

/// As std::counting_semaphore: a number of permits; who acquires takes one, or waits for it. First come, first served, also
/// by those who come while others wait. Any thread or task may release, whoever has acquired. What happened before a release
/// happens before the end of the acquire that got its permit. May be destroyed as soon as nobody waits or is about to.
/// Cost of a pair where nobody waits: two locked additions.
class semaphore {
 public:
  /// Throws std::invalid_argument if `permits` is negative.
  explicit semaphore(std::ptrdiff_t permits = 0);
  semaphore(semaphore const&) = delete;
  semaphore& operator=(semaphore const&) = delete;
  /// Ends the program with a message if somebody waits.
  ~semaphore();

  /// Takes a permit, waiting for it if there is none. Where it waits a point of cancellation: throws operation_cancelled, and then
  /// has none; std::bad_alloc if there is no stack for the task's worker.
  void acquire() {
    if (value_.fetch_sub(1, std::memory_order_acquire) <= 0) acquire_slowly(detail::no_deadline);  // (SE1)
  }
  /// Takes one if it is there. Never waits.
  [[nodiscard]] bool try_acquire() noexcept {
    auto there = value_.load(std::memory_order_relaxed);
    while (there > 0)
      if (value_.compare_exchange_weak(there, there - 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;  // (SE1)
    return false;
  }
  /// acquire() up to a span or a point of time: false if there was none. Throws as acquire().
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> const& span) {
    return try_acquire() || acquire_until(detail::deadline_of(span));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> const& at) {
    return try_acquire() || acquire_until(detail::deadline_of(at));
  }
  /// Gives so many permits back, or adds them; those who wait get them first. Ends the program with a message if `permits` is
  /// negative, or if there would be more than max().
  void release(std::ptrdiff_t permits = 1) noexcept {
    if (permits < 0 || permits > max()) [[unlikely]]
      refuse(permits);
    // (SE1) release: what was done before; pairs with the acquires.
    auto const before = value_.fetch_add(permits, std::memory_order_acq_rel);
    if (before < 0) return release_slowly(before < -permits ? permits : -before);
    if (before > max() - permits) [[unlikely]]
      refuse(permits);
  }
  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return PTRDIFF_MAX / 2; }

 private:
  void acquire_slowly(std::int64_t deadline);
  [[nodiscard]] bool acquire_until(std::int64_t deadline);
  [[nodiscard]] bool wait(std::int64_t deadline);
  void release_slowly(std::ptrdiff_t permits) noexcept;
  [[noreturn]] static void refuse(std::ptrdiff_t permits) noexcept;

  std::atomic<std::ptrdiff_t> value_;  // permits; less than 0: how many have come for one in vain, and wait or are about to
  detail::sync_waiters waiters_{};
  std::ptrdiff_t granted_ = 0;         // under their lock: permits for those who are about to wait
};

/// Something that is done by the first who comes: `once opened; opened.call([] { ... });`. Others wait meanwhile; what it did happens
/// before they go on. If it throws, that goes to its caller, and the next one does it. Where it is done already: one load.
class once {
 public:
  constexpr once() noexcept = default;
  once(once const&) = delete;
  once& operator=(once const&) = delete;

  /// Calls f(args...), unless it is done. Where it waits a point of cancellation: throws operation_cancelled. Throws deadlock if it
  /// is called by what it is to do itself; std::bad_alloc if there is no stack for the task's worker.
  template <class F, class... Args>
    requires std::is_invocable_v<F, Args...>
  void call(F&& f, Args&&... args) {
    if (done() || !begin()) return;
    struct attempt {
      once& self;
      bool ended = false;
      ~attempt() { self.end(ended); }
    } now{*this};
    detail::call(std::forward<F>(f), std::forward<Args>(args)...);
    now.ended = true;
  }
  /// Whether it has been done.
  [[nodiscard]] bool done() const noexcept { return state_.load(std::memory_order_acquire) == is_done; }  // (ON1)

 private:
  [[nodiscard]] bool begin();  // waits; true: the caller does it
  void end(bool ended) noexcept;
  void hand_on() noexcept;

  static constexpr std::uint8_t untouched = 0, is_running = 1, is_done = 2;
  // (ON1) release by who has done it; pairs with the acquire in done(). Changed under the lock.
  std::atomic<std::uint8_t> state_{untouched};
  detail::sync_waiters waiters_{};
  void const* runner_ = nullptr;        // under the lock: the task that does it, or the thread if there is none
};

}  // namespace errand
