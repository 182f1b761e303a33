// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: queue
//
// A serial queue whose items run on one certain thread, when that serves it: run(), run_until(), run_for(), poll(). main_queue()
// is that of the thread which runs main(). A toolkit's loop drives it by a descriptor or a hook. What the thread may do while it
// waits without serving, and how it is woken: src/queue/events.md.
#pragma once

#include <errand/queue.hpp>

namespace errand {

namespace detail {

class loop_core;

/// What on_wake() keeps.
struct loop_hook {
  virtual ~loop_hook() = default;
  virtual void call() noexcept = 0;
};
template <class F>
struct loop_hook_of final : loop_hook {
  template <class From>
  explicit loop_hook_of(From&& from) : function(std::forward<From>(from)) {}
  void call() noexcept override { function(); }
  F function;
};

[[nodiscard]] loop_core& make_loop(bool of_main_thread);
[[nodiscard]] queue_driver* driver_of(loop_core& l) noexcept;
void close_loop(loop_core& l) noexcept;
void run_loop_until_stopped(loop_core& l);
void run_loop_until_done(loop_core& l, record& r);
[[nodiscard]] bool run_loop_until(loop_core& l, std::int64_t deadline);
[[nodiscard]] std::size_t poll_loop(loop_core& l);
void stop_loop(loop_core& l) noexcept;
[[nodiscard]] int descriptor_of_loop(loop_core& l);
void set_loop_hook(loop_core& l, loop_hook* hook);  // takes it over

}  // namespace detail

/// A serial queue that one thread serves. Items run there alone, one at a time, first in, first out; while the thread does not
/// serve, they wait. It belongs to the thread that first serves it; main_queue() to the main thread. run(), run_until(), run_for(),
/// poll() on any other thread, or in a task on a pool, throw std::logic_error. All else may be used from anywhere.
///
/// In an item they may be called, too (a loop in a loop): then further items run before that one returns.
///
/// A wait of that thread in no item, as future::get(), serves nobody: but if it waits for an item of this very queue, it runs that in
/// place, before those that came earlier. One that could end only if the queue were served throws deadlock.
/// sync(loop, f) on another thread runs f here, as an item, and waits for it; on this thread, in no item, it runs f at once.
class run_loop : public queue {
 public:
  /// Throws as serial_queue's.
  explicit run_loop(std::string_view name = {}, std::source_location from = std::source_location::current())
      : run_loop{detail::make_loop(false), name, from} {}
  run_loop(run_loop const&) = delete;
  run_loop& operator=(run_loop const&) = delete;
  /// Runs what waits, if its thread calls it. What comes later, by a copy of the handle or as a coroutine that goes on, runs on the
  /// default pool: nothing hangs, but it is better that nothing comes.
  ~run_loop() { detail::close_loop(loop_); }

  /// Serves until stop(), which is remembered: one that came before ends it at once. The errors of items are their futures' business.
  void run() { detail::run_loop_until_stopped(loop_); }
  /// Serves until the task has ended, then as f.get(). stop() does not end it. Throws as get().
  template <class T>
  T run_until(future<T>& f) {
    detail::run_loop_until_done(loop_, detail::future_access::record_of(f, "errand::run_loop::run_until()"));
    return f.get();
  }
  template <class T>
  T run_until(future<T>&& f) {
    return run_until(f);
  }
  template <class T>
  decltype(auto) run_until(shared_future<T> const& f) {
    detail::run_loop_until_done(loop_, detail::future_access::record_of(f, "errand::run_loop::run_until()"));
    return f.get();
  }
  /// Serves as long as the span; false if stop() ended it before.
  template <class Rep, class Period>
  bool run_for(std::chrono::duration<Rep, Period> const& span) {
    return detail::run_loop_until(loop_, detail::deadline_of(span));
  }
  /// Runs what is there, and nothing that comes meanwhile; returns how many items began. Never waits, but as they do.
  std::size_t poll() { return detail::poll_loop(loop_); }
  /// The innermost run() or run_for() that is under way returns after the item that runs; if there is none, the next one at once.
  /// From anywhere, also from a signal handler.
  void stop() noexcept { detail::stop_loop(loop_); }

  /// A descriptor that can be read as long as poll() has something to do, for poll(2), epoll or a toolkit. It belongs to the
  /// loop: only look at it. The first call makes it; until then nobody pays for it. Throws std::system_error.
  [[nodiscard]] int descriptor() { return detail::descriptor_of_loop(loop_); }
  /// `hook()` is called by whoever brings something for poll() to do: once, and then not before the next poll() (or run...).
  /// At once if there is something. For toolkits that are woken by a call: it may be called on any thread, also while another
  /// task ends there; so it must neither throw nor wait nor use errand. Replaces the one before, which may just be running.
  /// nullptr: none. Throws std::bad_alloc.
  template <class F>
  void on_wake(F&& hook) {
    if constexpr (std::is_same_v<std::remove_cvref_t<F>, std::nullptr_t>)
      detail::set_loop_hook(loop_, nullptr);
    else
      detail::set_loop_hook(loop_, new detail::loop_hook_of<std::decay_t<F>>{std::forward<F>(hook)});
  }

 private:
  friend run_loop& main_queue();
  run_loop(detail::loop_core& loop, std::string_view name, std::source_location from)
      : queue{detail::queue_shape{name, threads, 0, false, 1, true, from, detail::driver_of(loop)}}, loop_{loop} {}
  detail::loop_core& loop_;
};

/// The queue of the main thread: the one that runs main(). It is always the same; the first call makes it. In the child of a
/// fork() the thread that forked is the main thread, and this a new queue. Items that are detached are run at the end of the
/// program, too, after main has returned. Throws as run_loop.
[[nodiscard]] run_loop& main_queue();

namespace detail {
template <>
inline constexpr bool is_place<errand::run_loop> = true;
}

}  // namespace errand
