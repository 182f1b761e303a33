// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: coro
//
// The coroutine face of the core: task<T>, a coroutine not yet begun, and co_await of a future or of a task.
// A coroutine that waits suspends with no stack; it goes on in the pool where it ran. One task is one chain of
// coroutines: the awaited ones run as part of the task of whoever awaits them.
#pragma once

#include <errand/detail/shared_future.hpp>
#include <errand/detail/timer.hpp>

#include <coroutine>

namespace errand {

template <class T>
class task;

namespace detail {

/// The flow of control of a task that is a coroutine, as somebody who waits. It lies in front of the task's record, in the
/// same block, and not in the frames: one task waits for one thing at a time, however many co_awaits its coroutines have.
struct coroutine_flow : waiter {
  // (A1) release: the last touch by whoever has suspended it; what goes on acquires it before the flow may wait again.
  std::atomic<bool> armed_{false};
  bool interruptible_ = false;  // own flow: a stop shall end the wait
  std::uint32_t only_ = any_worker;  // own flow, when it is resumed: which worker alone may go on with it, in a pinned pool
  void* frame_ = nullptr;       // own flow, before it suspends or ends: the coroutine that did; who resumes it reads it
};

/// Whether the coroutine need not suspend: the awaited task is done, could be run in place, or the caller is on no
/// pool, where a wait blocks the thread. Throws deadlock, operation_cancelled.
[[nodiscard]] bool await_without_suspending(record& awaited);
/// Suspends the running coroutine until the awaited task is done. False if it should go on at once. Otherwise it may already
/// run elsewhere when this returns, and its frame be gone. A coroutine that is none of errand's, or is resumed by others,
/// waits as a function does; then it throws as wait() does.
[[nodiscard]] bool suspend_until_done(record& awaited, void* frame);
/// Goes on after that: nobody knows of the wait any more.
void after_suspension(record& awaited) noexcept;

/// The same three for the time's passing. The timer lies in the frame that sleeps.
[[nodiscard]] bool sleep_without_suspending(std::int64_t deadline);
[[nodiscard]] bool suspend_until(timer_entry& timer, void* frame);
void after_sleep(timer_entry& timer) noexcept;
/// Throws operation_cancelled if the running task was asked to stop.
void check_cancelled();

/// Whether the running coroutine runs in that pool, or in that queue, already.
[[nodiscard]] bool runs_on(place_core const& where) noexcept;
/// The running coroutine, and with it its task, goes on there from now on. Throws std::logic_error, std::bad_alloc.
void move_to(place_core& where, void* frame);
/// The pool or queue, if it is one. Throws std::invalid_argument for `inplace` and `blocking`.
[[nodiscard]] place_core& place_to_resume_on(place_core* where);

/// A task's root coroutine has ended: takes its result, and with it the task's.
void end_coroutine(record& task, void* frame) noexcept;

/// Resumes the coroutine of a task, and then, one after the other and never one on top of the other, those that it hands
/// on to.
void run_coroutine(record& task, void* frame);
/// By the coroutine `from`, suspended already, as the last thing it does: `next` goes on in its stead. Compilers turn
/// symmetric transfer into a jump only when they optimise; this keeps the stack from growing with the number of awaits.
void hand_on(void* from, void* next);

class promise_base {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  // Frames come from the same recycled blocks as records.
  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { deallocate_frame(frame, size); }

  /// It is awaited by another coroutine, which goes on when it has ended;
  void awaited_by(std::coroutine_handle<> h) noexcept { then_ = reinterpret_cast<std::uintptr_t>(h.address()); }
  /// or it is the root of a task, which ends with it.
  void root_of(record& task) noexcept { then_ = reinterpret_cast<std::uintptr_t>(&task) | is_root; }
  /// What the coroutine `self` does last, suspended already. Its frame may be gone after this.
  void end(void* self) const {
    if ((then_ & is_root) == 0)
      hand_on(self, reinterpret_cast<void*>(then_));
    else
      end_coroutine(*reinterpret_cast<record*>(then_ - is_root), self);
  }

 private:
  static constexpr std::uintptr_t is_root = 1;
  std::uintptr_t then_ = 0;  // one of the two in one word: each frame has it
};

/// co_await of anything with a record behind it. `Future` has its overloads in future_access.
template <class Future>
class [[nodiscard]] future_awaiter {
 public:
  explicit future_awaiter(Future& f) : future_{reinterpret_cast<std::uintptr_t>(&f)} { static_cast<void>(awaited()); }
  bool await_ready() { return await_without_suspending(awaited()); }
  bool await_suspend(std::coroutine_handle<> h) {
    future_ |= suspended;
    if (suspend_until_done(awaited(), h.address())) return true;  // nothing of ours is touched any more
    future_ &= ~suspended;
    return false;
  }
  auto await_resume() -> decltype(future_access::take(std::declval<Future&>())) {
    if ((future_ & suspended) != 0) after_suspension(awaited());
    if (!awaited().done()) throw_stopped();  // a stop of the task that waits has ended the wait
    return future_access::take(future());
  }

 private:
  static constexpr std::uintptr_t suspended = 1;
  Future& future() const noexcept { return *reinterpret_cast<Future*>(future_ & ~suspended); }
  record& awaited() const { return future_access::record_of(future(), "co_await of an errand::future"); }

  std::uintptr_t future_;  // its address, and one bit: there is one of these in the frame for each co_await in the source
};

class [[nodiscard("sleep_for() and sleep_until() of a coroutine do nothing unless they are co_awaited")]] sleep_awaiter {
 public:
  explicit sleep_awaiter(std::int64_t deadline) noexcept { timer_.at = deadline; }
  bool await_ready() const { return sleep_without_suspending(timer_.at); }
  bool await_suspend(std::coroutine_handle<> h) {
    suspended_ = true;
    if (suspend_until(timer_, h.address())) return true;  // nothing of ours is touched any more
    suspended_ = false;
    return false;
  }
  void await_resume() {
    if (suspended_) after_sleep(timer_);
    check_cancelled();
  }

 private:
  timer_entry timer_;
  bool suspended_ = false;
};

class [[nodiscard("resume_on() does nothing unless it is co_awaited")]] resume_on_awaiter {
 public:
  explicit resume_on_awaiter(place_core* where) : to_{place_to_resume_on(where)} {}
  bool await_ready() const noexcept { return runs_on(to_); }
  void await_suspend(std::coroutine_handle<> h) const { move_to(to_, h.address()); }  // nothing of ours is touched any more
  void await_resume() const noexcept {}

 private:
  place_core& to_;
};

/// Where a coroutine keeps what it returned or threw until its awaiter, or its task's record, takes it.
template <class T>
class promise_result {
 public:
  promise_result() noexcept {}
  promise_result(promise_result const&) = delete;
  promise_result& operator=(promise_result const&) = delete;
  ~promise_result() {
    if (state_ == state::value) value_.~stored_type();
    if (state_ == state::error) error_.~exception_ptr();
  }
  template <class From>
  void set(From&& from) {
    if constexpr (std::is_reference_v<T>)
      ::new (static_cast<void*>(std::addressof(value_))) stored_type{std::addressof(from)};
    else
      ::new (static_cast<void*>(std::addressof(value_))) stored_type(std::forward<From>(from));
    state_ = state::value;
  }
  void set_current_exception() noexcept {
    ::new (static_cast<void*>(std::addressof(error_))) std::exception_ptr{std::current_exception()};
    state_ = state::error;
  }
  T take() {
    if (state_ == state::error) std::rethrow_exception(error_);
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else
      return std::move(value_);
  }

 private:
  using stored_type = stored<T>;
  enum class state : std::uint8_t { empty, value, error };
  union {
    stored_type value_;
    std::exception_ptr error_;
  };
  state state_ = state::empty;
};

template <>
class promise_result<void> {
 public:
  void set_current_exception() noexcept { error_ = std::current_exception(); }
  void take() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
};

template <class T>
class promise;

struct final_awaiter {
  bool await_ready() const noexcept { return false; }
  template <class T>
  void await_suspend(std::coroutine_handle<promise<T>> h) const noexcept {
    h.promise().end(h.address());
  }
  void await_resume() const noexcept {}
};

template <class T>
class promise final : public promise_base {
 public:
  task<T> get_return_object() noexcept;
  final_awaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { result_.set_current_exception(); }
  template <class From = T>
    requires std::is_constructible_v<stored<T>, From&&> || std::is_reference_v<T>
  void return_value(From&& from) {
    result_.set(std::forward<From>(from));
  }
  promise_result<T> result_;
};

template <>
class promise<void> final : public promise_base {
 public:
  task<void> get_return_object() noexcept;
  final_awaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { result_.set_current_exception(); }
  void return_void() const noexcept {}
  promise_result<void> result_;
};

/// Runs a child coroutine in the stead of the one that awaits it.
template <class T>
struct child_awaiter {
  std::coroutine_handle<promise<T>> child;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> by) const noexcept {
    child.promise().awaited_by(by);
    hand_on(by.address(), child.address());
  }
  T await_resume() const { return child.promise().result_.take(); }
};

struct task_access;

}  // namespace detail

/// A coroutine that has not begun. `co_await` it from another coroutine (it then runs as part of the same task),
/// `get()` it from anywhere, or hand it to async(), which starts it and gives its future. Move-only; dropped before it
/// has begun, it is merely destroyed, with its arguments.
template <class T = void>
class [[nodiscard("a task<T> does nothing until it is co_awaited, got, or given to async()")]] task {
 public:
  using promise_type = detail::promise<T>;
  using value_type = T;

  task(task&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() {
    if (frame_) frame_.destroy();
  }

  /// Starts it on the default pool and waits: `async(std::move(t)).get()`. Leaves it empty. Throws as future::get().
  T get();

  /// Runs it as part of the awaiting coroutine's task; gives its value or rethrows its exception.
  auto operator co_await() && {
    if (!frame_) detail::throw_no_task("co_await of an errand::task");
    return detail::child_awaiter<T>{frame_};
  }
  auto operator co_await() & { return std::move(*this).operator co_await(); }

 private:
  friend promise_type;
  friend detail::task_access;
  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}

  std::coroutine_handle<promise_type> frame_;
};

/// Waits for the future's task with no stack, then gives its value or rethrows its exception, as get() does.
template <class T>
detail::future_awaiter<future<T>> operator co_await(future<T>& f) {
  return detail::future_awaiter<future<T>>{f};
}
template <class T>
detail::future_awaiter<future<T>> operator co_await(future<T>&& f) {
  return detail::future_awaiter<future<T>>{f};
}

/// `co_await errand::sleep_for(span)`: the coroutine sleeps with no stack, where this_task::sleep_for() parks one; a million may.
/// Points of cancellation: throw operation_cancelled. Off a pool the thread sleeps. Throws std::system_error if the thread
/// that keeps the time cannot be started.
template <class Rep, class Period>
detail::sleep_awaiter sleep_for(std::chrono::duration<Rep, Period> const& span) {
  return detail::sleep_awaiter{detail::deadline_of(span)};
}
template <class Clock, class Duration>
detail::sleep_awaiter sleep_until(std::chrono::time_point<Clock, Duration> const& at) {
  return detail::sleep_awaiter{detail::deadline_of(at)};
}
/// Waits for the shared task with no stack, then gives what get() gives.
template <class T>
detail::future_awaiter<shared_future<T> const> operator co_await(shared_future<T> const& f) {
  return detail::future_awaiter<shared_future<T> const>{f};
}

namespace detail {

template <class T>
task<T> promise<T>::get_return_object() noexcept {
  return task<T>{std::coroutine_handle<promise<T>>::from_promise(*this)};
}
inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>{std::coroutine_handle<promise<void>>::from_promise(*this)};
}

struct task_access {
  template <class T>
  static std::coroutine_handle<promise<T>>& frame(task<T>& t) noexcept {
    return t.frame_;
  }
};

template <class>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

/// What makes the coroutine of a task: a coroutine function with its arguments, which live as long as the coroutine,
template <class F, class... Args>
struct coroutine_function {
  template <class Callable, class... From>
  explicit coroutine_function(Callable&& f, From&&... from)
      : function(std::forward<Callable>(f)), arguments(std::forward<From>(from)...) {}
  auto operator()(record& r) {
    return std::apply(
        [&](Args&... each) {
          if constexpr (wants_stop_token<F, Args...>)
            return call(function, stop_token_of(r), std::move(each)...);
          else
            return call(function, std::move(each)...);
        },
        arguments);
  }
  [[no_unique_address]] F function;
  [[no_unique_address]] std::tuple<Args...> arguments;
};
/// or a task<T> that was made already.
template <class T>
struct made_coroutine {
  explicit made_coroutine(task<T>&& t) noexcept : made{std::move(t)} {}
  task<T> operator()(record&) noexcept { return std::move(made); }
  task<T> made;
};

// Fills up what lies before a flow, so that nothing comes between it and a record that is aligned to more than its size.
template <std::size_t Bytes>
struct room_before {
  std::byte room[Bytes];
};
template <>
struct room_before<0> {};

/// A task whose body is a coroutine. `Make` is called on the pool and yields the task<T>. The library finds the flow from
/// the record and the record from the flow by their places in the block: one right behind the other.
template <class Base, class T, class Make>
struct coroutine_record
    : room_before<(alignof(result_record<T, Base>) > sizeof(coroutine_flow)
                       ? alignof(result_record<T, Base>) - sizeof(coroutine_flow)
                       : 0)>,
      coroutine_flow,
      result_record<T, Base> {
  static constexpr bool packed = true;  // its memory comes from allocate_frame()

  template <class... From>
  explicit coroutine_record(std::source_location from, From&&... make)
      : result_record<T, Base>{&act, from}, body_(std::forward<From>(make)...) {
    this->inplace_allowed_ = false;
  }
  ~coroutine_record() { drop_body(); }

 protected:
  static bool act(record* base, record_verb verb) noexcept {
    auto* self = static_cast<coroutine_record*>(base);
    switch (verb) {
      case record_verb::run:
        return self->begin();
      case record_verb::end:
        self->take_result();
        return true;
      case record_verb::drop:
        self->drop_body();
        self->drop_value();
        return true;
      case record_verb::destroy:
        self->~coroutine_record();
        deallocate_frame(self, sizeof(coroutine_record));
        return true;
      case record_verb::stop:
      case record_verb::inputs:
        return true;  // it stands for itself alone
    }
    return true;
  }

 private:
  /// Answers whether the task has ended already: only if there is no coroutine to run.
  bool begin() noexcept {
    std::coroutine_handle<promise<T>> root = nullptr;
    try {
      task<T> made = body_(*this);
      root = std::exchange(task_access::frame(made), nullptr);
      if (!root) throw_no_task("errand::async() of an errand::task");
    } catch (operation_cancelled const&) {
      this->stopped_ = true;
    } catch (...) {
      this->error_ = std::current_exception();
    }
    if (!root) {
      drop_body();
      return true;
    }
    root.promise().root_of(*this);
    run_coroutine(*this, root.address());  // the record may be gone after this
    return false;
  }

  void take_result() noexcept {
    auto const root = std::coroutine_handle<promise<T>>::from_address(this->frame_);
    run_into<T>(*this, [root]() -> T { return root.promise().result_.take(); });
    root.destroy();
    drop_body();
  }

  void drop_body() noexcept {
    if (std::exchange(this->body_alive_, false)) body_.~Make();
  }

  union {
    Make body_;
  };
};

}  // namespace detail
}  // namespace errand
