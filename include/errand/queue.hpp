// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: queue
//
// Queues: an object of a few words that says in which order, and how many at a time, its items run; the threads are those of a
// pool. serial_queue runs one item at a time, first in, first out; concurrent_queue many, and barriers alone. A queue is a
// place: async(queue, f) returns the same future as everywhere. sync(queue, f) runs f here and now, in its turn.
// Who may run what on whose stack, and why it is sound: src/queue/README.md.
#pragma once

#include <errand/detail/queue.hpp>
#include <errand/task.hpp>

#include <string>
#include <string_view>

namespace errand {

/// Which of a queue's waiting items comes first; among equals, the one that came first. Strictly: lower ones wait as long as
/// there are higher ones. Of that queue alone: it says nothing about items of other queues, nor about a queue among those with
/// the same target.
enum class priority : std::uint8_t { low, normal, high };

/// What async() does when a queue with a bound is full.
enum class when_full : std::uint8_t {
  wait,    // waits for room: a task parks, a foreign thread sleeps. A point of cancellation
  refuse,  // throws queue_full
};

/// Thrown by async() for an item that a full queue refuses; the item was not begun, and what it captured is gone.
class queue_full : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a queue may be told at its making, by name: `serial_queue log{{.name = "log", .bound = 1000}}`.
struct queue_options {
  /// What messages and to_string() call it; copied.
  std::string_view name = {};
  /// The target: a pool, whose threads then run the items; or another queue, whose items this one's then are. Fixed for ever.
  /// Queues with a common serial target, however far down, are one domain: at most one item of all of them is under way.
  place on = threads;
  /// How many items may wait, begun ones not counted; 0: any number. What comes by then() or goes on as a coroutine is let in
  /// all the same.
  std::size_t bound = 0;
  when_full full = when_full::wait;
  /// Of a concurrent queue: how many of its items, at most, are under way at a time; 0: as many as there are.
  unsigned width = 0;
};

/// What a queue has done so far. Exact while nobody uses it; else each number was true a moment ago.
struct queue_statistics {
  std::uint64_t submitted;  // turns asked for: items, syncs, and each time a coroutine comes back
  std::uint64_t begun;      // of those, how many have begun, or were skipped because they had been stopped
  std::uint64_t waiting;    // the rest
  unsigned running;         // items and syncs that hold the queue now: at most one of a serial queue
  unsigned suspended;       // how many suspensions are in force
};

class queue_suspension;

/// What serial and concurrent queues have in common: a handle. Copies refer to the same queue. It is there as long as a handle,
/// an item or a queue that has it for a target is; so a handle may go while items wait. Any thread may use it at any time.
/// A pool that it has for a target must outlive it.
///
/// A plain item holds its place in the queue until it returns, parked or not. A coroutine holds it only between suspensions, and
/// comes back to the queue after each. Waiting in an item of a serial queue for an item that comes later in it throws deadlock.
/// What then() adds to an item's future with no place given is an item of the same queue.
///
/// In the child of a fork() the queues of the parent are abandoned: to use one throws std::logic_error.
class queue {
 public:
  queue(queue const& other) noexcept : core_{other.core_} { detail::add_handle(*core_); }
  queue& operator=(queue const& other) noexcept {
    detail::add_handle(*other.core_);
    detail::drop_handle(*std::exchange(core_, other.core_));
    return *this;
  }
  /// Neither waits nor stops anything: items that are waiting run all the same, and the program's end waits for those that were
  /// detached.
  ~queue() { detail::drop_handle(*core_); }

  /// The name it was given, or nothing.
  [[nodiscard]] std::string_view name() const noexcept { return detail::name_of(*core_); }
  /// Whether the caller runs in an item of it, or in what sync() runs in it; or of a queue that has it for a target.
  [[nodiscard]] bool is_current() const noexcept { return detail::is_current(*core_); }
  /// Throws std::logic_error unless is_current(): it says where the caller runs instead.
  void assert_current(std::source_location from = std::source_location::current()) const {
    detail::assert_current(*core_, from);
  }
  [[nodiscard]] queue_statistics statistics() const noexcept;

  /// From now on no item begins, until the guard goes. One that is running goes on; one that was about to begin on another
  /// thread may still do. Counted: each guard is one. sync() waits meanwhile. Items of queues that have this one for a target
  /// are held back as well.
  [[nodiscard]] queue_suspension suspend() const noexcept;

  /// The same queue, where each item has that priority: `async(q.at(priority::high), f)`.
  [[nodiscard]] place at(priority p) const noexcept;

  friend bool operator==(queue const& a, queue const& b) noexcept { return a.core_ == b.core_; }

 protected:
  friend struct detail::queue_access;
  queue(detail::queue_shape const& shape) : core_{&detail::make_queue(shape)} {}

 private:
  detail::queue_core* core_;
};

/// One item at a time, first in, first out (within a priority); each sees all that those before it did. It has no thread: it
/// runs on its pool's, never on two at a time. Making and dropping one costs some tens of nanoseconds, an item no more than a
/// task.
class serial_queue : public queue {
 public:
  /// Throws std::bad_alloc, std::system_error (the default pool's threads could not be started), and std::invalid_argument if
  /// its target is `inplace` or `blocking`, or stands on 100 others.
  explicit serial_queue(std::string_view name = {}, place on = threads,
                        std::source_location from = std::source_location::current())
      : serial_queue{queue_options{.name = name, .on = on}, from} {}
  explicit serial_queue(queue_options const& options, std::source_location from = std::source_location::current())
      : queue{detail::queue_shape{options.name, options.on, options.bound, options.full == when_full::refuse, 1, true,
                                  from}} {}
};

/// Items in any number and any order, begun in the order in which they came; a barrier waits for all before it, runs alone, and
/// holds back all after it: many readers or one writer, never both. On a serial target it is serial.
class concurrent_queue : public queue {
 public:
  /// Throws as serial_queue's.
  explicit concurrent_queue(std::string_view name = {}, place on = threads,
                            std::source_location from = std::source_location::current())
      : concurrent_queue{queue_options{.name = name, .on = on}, from} {}
  explicit concurrent_queue(queue_options const& options, std::source_location from = std::source_location::current())
      : queue{detail::queue_shape{options.name, options.on, options.bound, options.full == when_full::refuse,
                                  options.width, false, from}} {}
};

/// As long as it lives, the queue begins no item.
class [[nodiscard("a suspension ends with its guard; give it a name")]] queue_suspension {
 public:
  queue_suspension(queue_suspension&& other) noexcept : core_{std::exchange(other.core_, nullptr)} {}
  queue_suspension& operator=(queue_suspension&& other) noexcept {
    if (this != &other) {
      resume();
      core_ = std::exchange(other.core_, nullptr);
    }
    return *this;
  }
  ~queue_suspension() { resume(); }
  /// Ends it now. Nothing if it has ended.
  void resume() noexcept {
    if (core_ != nullptr) detail::resume(*std::exchange(core_, nullptr));
  }

 private:
  friend class queue;
  explicit queue_suspension(detail::queue_core& core) noexcept : core_{&core} { detail::suspend(core); }
  detail::queue_core* core_;
};

/// `serial queue "cart" (main.cpp:12) on threads: 3 waiting, running task "add" (main.cpp:40)`. Throws std::bad_alloc.
[[nodiscard]] std::string to_string(queue const& q);

// ---- async, then, resume_on: those of <errand/task.hpp>. A queue is a place ------------------------------------------------
//
// async(queue, f, args...), async({.on = queue, ...}, f, args...), future.then(queue, f), task_group group{queue},
// co_await resume_on(queue). async() also throws queue_full, and deadlock where an item of a full queue would wait for room in
// it. A stopped item that has not begun is skipped. Loops (map, for_each...) take pools only, and throw std::invalid_argument.

namespace detail {
template <>
inline constexpr bool is_place<queue> = true;
template <>
inline constexpr bool is_place<serial_queue> = true;
template <>
inline constexpr bool is_place<concurrent_queue> = true;

struct queue_access {
  static queue_core& core(queue const& q) noexcept { return *q.core_; }
  static place at(queue const& q, lane l) noexcept { return place_access::make(place_of(*q.core_, l)); }
};

inline place_core* place_access::core(queue const& q) { return &place_of(queue_access::core(q), lane::normal); }
}  // namespace detail

inline place::place(queue const& q) noexcept : place{detail::queue_access::at(q, detail::lane::normal)} {}
inline queue_suspension queue::suspend() const noexcept { return queue_suspension{*core_}; }
inline place queue::at(priority p) const noexcept {
  return detail::queue_access::at(*this, p == priority::high  ? detail::lane::high
                                         : p == priority::low ? detail::lane::low
                                                              : detail::lane::normal);
}

/// As async(queue, f, args...), but the item runs alone: after all that were given to the queue before it, before all that are
/// given later. Barriers of a queue that has this one for a target hold back only that one's items.
template <class F, class A, class... Args>
  requires detail::runs<F, A, Args...>
auto async_barrier(concurrent_queue const& q, F&& f, A&& a, Args&&... args) {
  return async(how{.on = detail::queue_access::at(q, detail::lane::barrier), .from = std::source_location{}},
               std::forward<F>(f), std::forward<A>(a), std::forward<Args>(args)...);
}
template <class F>
  requires detail::runs<F>
auto async_barrier(concurrent_queue const& q, F&& f, std::source_location from = std::source_location::current()) {
  return detail::start(&detail::place_of(detail::queue_access::core(q), detail::lane::barrier), from,
                       std::forward<F>(f));
}

// ---- sync --------------------------------------------------------------------------------------------------------------

namespace detail {
/// Of a queue whose items run on a thread of its own: as an item there, which the caller waits for.
template <class F, class... Args>
decltype(auto) sync_elsewhere(place const& where, F&& f, Args&&... args) {
  using result = std::invoke_result_t<F, Args...>;
  auto item = async(how{.on = where, .from = std::source_location{}}, [&]() -> decltype(auto) {
    if constexpr (std::is_rvalue_reference_v<result>) {
      auto&& made = call(std::forward<F>(f), std::forward<Args>(args)...);
      return std::addressof(made);
    } else {
      return call(std::forward<F>(f), std::forward<Args>(args)...);
    }
  });
  if constexpr (std::is_rvalue_reference_v<result>)
    return static_cast<result>(*item.get());
  else
    return item.get();
}
}  // namespace detail

/// Runs f(args...) on the calling thread, in its turn: after all that waits in the queue, alone in it as an item is. Returns
/// what f returns, and lets through what it throws; nothing is copied, and no task is made: `f` is part of the caller's.
///
/// If the queue is idle it costs two exchanges of a word. Else a task parks and a foreign thread waits; but first a foreign
/// thread, if the queue runs on the default pool, runs what waits ahead of it by itself, except coroutines (which could not
/// suspend there). An item that parks there blocks that thread, and f comes after it in any case.
///
/// A point of cancellation while it waits. Throws deadlock onto a queue one is on (is_current()), and where it closes a cycle of
/// waits; operation_cancelled; std::bad_alloc if it has to wait.
template <class F, class... Args>
  requires std::is_invocable_v<F, Args...>
decltype(auto) sync(queue const& q, F&& f, Args&&... args) {
  detail::queue_turn const turn{detail::queue_access::core(q), false};
  if (turn.is_elsewhere()) return detail::sync_elsewhere(q, std::forward<F>(f), std::forward<Args>(args)...);
  return detail::call(std::forward<F>(f), std::forward<Args>(args)...);
}
/// The same as a barrier.
template <class F, class... Args>
  requires std::is_invocable_v<F, Args...>
decltype(auto) sync_barrier(concurrent_queue const& q, F&& f, Args&&... args) {
  detail::queue_turn const turn{detail::queue_access::core(q), true};
  if (turn.is_elsewhere())
    return detail::sync_elsewhere(detail::queue_access::at(q, detail::lane::barrier), std::forward<F>(f),
                                  std::forward<Args>(args)...);
  return detail::call(std::forward<F>(f), std::forward<Args>(args)...);
}

// ---- values of a queue -----------------------------------------------------------------------------------------------------

/// A value that a queue may have: `queue_local<User> user; user.set(q, {...});` and, in an item, `user.get()`.
/// It is looked up along the targets: the nearest queue that has one. Make it with static storage, as a thread_local.
template <class T>
class queue_local {
 public:
  queue_local() noexcept : key_{detail::new_local_key()} {}
  queue_local(queue_local const&) = delete;
  queue_local& operator=(queue_local const&) = delete;

  /// The value of the queue that the caller runs in, or of the nearest target that has one; null if none has. Valid until it is
  /// replaced or the queue is gone, which its owner sees to: mostly, by replacing it in an item of that queue.
  [[nodiscard]] T* get() const noexcept { return static_cast<T*>(detail::local_here(key_)); }
  /// The same of a queue named.
  [[nodiscard]] T* of(queue const& q) const noexcept {
    return static_cast<T*>(detail::local_of(detail::queue_access::core(q), key_));
  }
  /// Gives the queue a value in place of the one it has, which is destroyed here. Throws std::bad_alloc, and what moving throws.
  void set(queue const& q, T value) {
    detail::set_local(detail::queue_access::core(q), key_, new T(std::move(value)), &destroy);
  }
  /// Takes the queue's own value away, if it has one.
  void reset(queue const& q) noexcept { detail::reset_local(detail::queue_access::core(q), key_); }

 private:
  static void destroy(void* value) noexcept { delete static_cast<T*>(value); }
  std::uint64_t const key_;
};

}  // namespace errand

// ---- time ------------------------------------------------------------------------------------------------------------------

#include <errand/detail/after.hpp>    // after(), every()
#include <errand/detail/sources.hpp>  // signals, descriptors, children, files, data

// ---- the main thread -------------------------------------------------------------------------------------------------------

#include <errand/detail/run_loop.hpp>  // main_queue(), run_loop
