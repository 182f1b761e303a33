// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// The handle: future<T>, a started task's result to come, and outcome<T>, what came of it when one would rather
// look than be thrown at. The same handle is waited for by an ordinary function (the thread sleeps), by a task on a
// pool (the task parks, its worker goes on) and by a coroutine (it suspends with no stack).
#pragma once

#include <errand/detail/result_record.hpp>
#include <errand/detail/time.hpp>

namespace errand {

template <class T>
class future;
template <class T>
class shared_future;
class error_list;

namespace detail {

[[noreturn]] void throw_no_task(char const* operation);
[[noreturn]] void throw_inherited(record const& r, char const* operation);
[[noreturn]] void throw_stopped();
/// The exception of a task that is done and failed; timed_out for one its deadline stopped; none for a value or a stop.
[[nodiscard]] std::exception_ptr failure_of(record& r);
/// What a record that stands for others, and is done, has beside its own error. Who asks is told, and then nobody else.
[[nodiscard]] error_list further_errors_of(record& r);

/// Access for errand's own modules: a handle from a record, the record of a handle.
struct future_access {
  template <class T>
  static future<T> make(result_record<T>* r) noexcept {
    return future<T>{r};
  }
  template <template <class> class Handle, class T>
  static result_record<T>& record_of(Handle<T> const& f, char const* operation) {
    if (f.record_ == nullptr) throw_no_task(operation);
    if (f.record_->inherited()) throw_inherited(*f.record_, operation);
    return *f.record_;
  }
  /// Takes the task out of a future: the handle is the caller's.
  template <class T>
  static result_record<T>* release(future<T>& f) noexcept {
    return std::exchange(f.record_, nullptr);
  }
  /// Takes the result out of a future whose task is done, and lets go of the task.
  template <class T>
  static T take(future<T>& f);
  /// A copy of a shared one keeps the task and its result.
  template <class T>
  static decltype(auto) take(shared_future<T> const& f) {
    return f.get();
  }
};

}  // namespace detail

/// Some exceptions in a row.
class error_list {
 public:
  error_list() noexcept = default;
  error_list(error_list&& other) noexcept
      : first_{std::exchange(other.first_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
  error_list& operator=(error_list&&) = delete;
  ~error_list() {
    if (first_ != nullptr) free();
  }
  [[nodiscard]] std::exception_ptr const* begin() const noexcept { return first_; }
  [[nodiscard]] std::exception_ptr const* end() const noexcept { return first_ + size_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::exception_ptr const& operator[](std::size_t i) const noexcept { return first_[i]; }

 private:
  friend error_list detail::further_errors_of(detail::record& r);
  explicit error_list(std::size_t size);
  void free() noexcept;

  std::exception_ptr* first_ = nullptr;
  std::size_t size_ = 0;
};

/// What came of a task: a value, an exception, or a stop. Never throws the task's error by itself.
template <class T>
class [[nodiscard]] outcome {
 public:
  /// True if the task returned.
  [[nodiscard]] bool has_value() const noexcept { return has_value_; }
  [[nodiscard]] explicit operator bool() const noexcept { return has_value_; }
  /// True if the task ended because it was asked to stop, other than by its own deadline.
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }
  /// What the task threw (timed_out if its deadline stopped it); null if it returned or was stopped.
  [[nodiscard]] std::exception_ptr const& error() const noexcept { return error_; }
  /// Of when_all(): what the others threw beside error(), the first. Empty for everything else.
  [[nodiscard]] error_list const& further_errors() const noexcept { return further_errors_; }
  /// The value; throws what the task threw, or operation_cancelled if it was stopped.
  T value() && {
    if (error_) std::rethrow_exception(error_);
    if (stopped_) detail::throw_stopped();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return std::move(value_);
  }

  outcome(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<detail::stored<T>>)
      : error_{std::move(other.error_)},
        further_errors_{std::move(other.further_errors_)},
        has_value_{other.has_value_},
        stopped_{other.stopped_} {
    if (has_value_) ::new (static_cast<void*>(std::addressof(value_))) stored_type(std::move(other.value_));
  }
  outcome& operator=(outcome&&) = delete;
  ~outcome() {
    if (has_value_) value_.~stored_type();
  }

 private:
  template <class>
  friend class future;
  template <class>
  friend class shared_future;
  using stored_type = detail::stored<T>;

  // `value` gives what stored_type is made of, if there is a value.
  template <class Value>
  outcome(detail::record& r, Value value)
      : error_{detail::failure_of(r)},
        further_errors_{r.has_value_ ? error_list{} : detail::further_errors_of(r)},
        has_value_{r.has_value_},
        stopped_{!has_value_ && !error_} {
    if (has_value_) ::new (static_cast<void*>(std::addressof(value_))) stored_type(value());
  }

  std::exception_ptr error_;
  error_list further_errors_;
  bool has_value_;
  bool stopped_;
  union {
    stored_type value_;
  };
};

/// A started task's result to come. Move-only; one owner. Dropping it asks the task to stop and waits for its end
/// (`detach()` lets it go instead), so a task never outlives what it refers to by accident.
///
/// One thread at a time may use a future, as any object; the task itself may run anywhere. Waiting blocks a foreign
/// thread, parks a task (its worker goes on with others), and is a point of cancellation of the task that waits.
/// A wait ends only after all that the task did: its writes are visible to whoever has waited for it.
///
/// In the child of a fork() a future of the parent's is abandoned: whatever waits for it or takes its result throws
/// std::logic_error, which names the task; stopping, detaching and dropping it do nothing.
template <class T>
class [[nodiscard("dropping a future asks its task to stop and waits for it; keep it, or say .detach()")]] future {
 public:
  /// A future of no task: only assignment, `valid()` and destruction are of use.
  future() noexcept = default;
  future(future&& other) noexcept : record_{std::exchange(other.record_, nullptr)} {}
  /// Drops the task that was held (asks it to stop, waits for it), then takes over the other's.
  future& operator=(future&& other) noexcept {
    if (this != &other) {
      reset();
      record_ = std::exchange(other.record_, nullptr);
    }
    return *this;
  }
  /// Asks the task to stop and waits for its end. An exception nobody took is reported on stderr, with the task's line.
  /// Inside the task itself, where it can neither wait nor throw, it ends the program with a message.
  ~future() { reset(); }

  /// Waits, then returns the value or rethrows what the task threw; operation_cancelled if it was stopped, timed_out if
  /// its deadline stopped it. Throws deadlock if the task waits for the caller, operation_cancelled if the waiting task was
  /// asked to stop (the future then still holds the task), std::logic_error if there is no task. Leaves the future empty.
  /// A task that would have to park throws std::bad_alloc if there is no stack to be had for its worker.
  /// Cost where the result is there: some nanoseconds. On a worker of the task's pool, a task that nobody has begun and
  /// that the waiting task itself started is run in place.
  T get() {
    wait_for_end("errand::future::get()");
    return detail::future_access::take(*this);
  }

  /// Waits, then returns what came of the task without throwing its error. Leaves the future empty. Throws as wait().
  outcome<T> result() {
    auto& r = wait_for_end("errand::future::result()");
    struct release {
      future& self;
      ~release() { self.let_go(); }
    } after{*this};
    r.observed_.store(true, std::memory_order_relaxed);
    return outcome<T>{r, [&r]() -> auto&& { return std::move(r.value_); }};
  }

  /// Waits for the task's end, whatever came of it. Throws deadlock, operation_cancelled (of the waiting task), and
  /// std::logic_error if there is no task.
  void wait() { wait_for_end("errand::future::wait()"); }
  /// The same up to a span or a point of time; `ready` or `timeout`. The task is never run in place.
  template <class Rep, class Period>
  std::future_status wait_for(std::chrono::duration<Rep, Period> const& span) {
    return wait_to(detail::deadline_of(span), "errand::future::wait_for()");
  }
  template <class Clock, class Duration>
  std::future_status wait_until(std::chrono::time_point<Clock, Duration> const& at) {
    return wait_to(detail::deadline_of(at), "errand::future::wait_until()");
  }

  /// Whether the task has ended, so that nobody would have to wait for it. Neither waits nor throws; false for a future of no
  /// task. True for one that was inherited by fork(): get() throws at once.
  [[nodiscard]] bool ready() const noexcept { return record_ != nullptr && (record_->done() || record_->inherited()); }
  /// Whether there is a task.
  [[nodiscard]] bool valid() const noexcept { return record_ != nullptr; }

  /// Goes on with f when the task has ended: a new task, which gets the value (nothing for void), on the pool where the first
  /// one ran; on the default pool if it ran on none. Its future is returned; this one is left empty. `f` is never called
  /// inside then(). It may take a std::stop_token first, and may be a coroutine function or return a task<U>, whose value
  /// the future then gives. An error or a stop passes `f` by, to the future returned, and needs no worker for that. A stop
  /// of the new task before `f` has begun is a stop of what it waits for. Throws std::logic_error if there is no task,
  /// std::bad_alloc, std::system_error (the default pool's threads), and then still holds the task.
  template <class F>
  auto then(F&& f, std::source_location from = std::source_location::current());
  /// The same at a place.
  template <class Where, class F>
  auto then(Where&& where, F&& f, std::source_location from = std::source_location::current());

  /// Makes it a future of which there may be copies, and several that wait. Leaves this one empty. Throws std::bad_alloc, and
  /// std::logic_error if there is no task.
  shared_future<T> share();

  /// Asks the task and the tasks it waits for to stop, and returns at once. One that has not begun is stopped there and
  /// then; one that runs ends at its next point of cancellation, or when it looks at its stop token. Nothing if empty.
  void request_stop() noexcept {
    if (record_ != nullptr) detail::request_stop(*record_);
  }

  /// Lets the task go on by itself; it is finished before the program ends. An exception that leaves it is reported on
  /// stderr. Leaves the future empty. Nothing if it was. Throws std::bad_alloc, and then still holds the task.
  void detach() {
    if (record_ != nullptr) detail::detach(*record_);
    record_ = nullptr;
  }

 private:
  friend struct detail::future_access;

  explicit future(detail::result_record<T>* r) noexcept : record_{r} {}

  detail::result_record<T>& wait_for_end(char const* operation) {
    auto& r = detail::future_access::record_of(*this, operation);
    if (!r.done()) detail::wait(r);
    return r;
  }
  std::future_status wait_to(std::int64_t deadline, char const* operation) {
    auto& r = detail::future_access::record_of(*this, operation);
    return r.done() || detail::wait_until(r, deadline) ? future_status::ready : future_status::timeout;
  }
  void let_go() noexcept { detail::release_handle(*std::exchange(record_, nullptr)); }
  void reset() noexcept {
    if (record_ != nullptr) detail::drop(*std::exchange(record_, nullptr));
  }

  detail::result_record<T>* record_ = nullptr;
};

template <class T>
T detail::future_access::take(future<T>& f) {
  struct release {
    future<T>& self;
    ~release() { self.let_go(); }
  } after{f};
  result_record<T>& r = *f.record_;
  if (!r.has_value_) rethrow_failure(r);
  return r.take();
}

}  // namespace errand
