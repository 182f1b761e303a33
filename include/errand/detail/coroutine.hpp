// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: coro
//
// The coroutine face of the core: task<T>, a coroutine not yet begun, and co_await of a future or of a task.
// A coroutine that waits suspends with no stack; it goes on in the pool where it ran. One task is one chain of
// coroutines: the awaited ones run as part of the task of whoever awaits them.
#pragma once

#include <errand/detail/future.hpp>

#include <coroutine>

namespace errand {

template <class T>
class task;

namespace detail {

/// A suspended coroutine as somebody who waits, and as something a worker can carry on.
struct coroutine_waiter : waiter, runnable {
  wait_request request_;
  void* frame_ = nullptr;
  record* task_ = nullptr;      // the task it is part of; null outside any
  pool_core* home_ = nullptr;   // where it goes on,
  std::uint32_t only_ = any_worker;  // and on which of its workers, in a pinned pool
  bool suspended_ = false;      // there is something to unhook
};

/// Whether the coroutine need not suspend: the awaited task is done, could be run in place, or the caller is on no
/// pool, where a wait blocks the thread. Throws deadlock, operation_cancelled.
[[nodiscard]] bool await_without_suspending(record& awaited);
/// Hooks the suspended coroutine to the awaited task. False if it should go on at once. The waiter may be gone when
/// this returns true: the coroutine may already run elsewhere.
[[nodiscard]] bool suspend_until_done(coroutine_waiter& w, record& awaited, void* frame) noexcept;
/// Back on a thread: unhooks; throws operation_cancelled if it was a stop that ended the wait.
void after_suspension(coroutine_waiter& w);
/// A coroutine's last step as a task: the result stands in the record.
void complete_coroutine(record& r) noexcept;

/// Resumes a coroutine, and then, one after the other and never one on top of the other, those that it hands on to.
void run_coroutine(void* frame);
/// For the running coroutine `from`, about to suspend: `next` goes on in its stead. Compilers turn symmetric transfer into a
/// jump only when they optimise; this keeps the stack from growing with the number of awaits at any level.
[[nodiscard]] std::coroutine_handle<> hand_on(std::coroutine_handle<> from, std::coroutine_handle<> next) noexcept;

template <class T>
class [[nodiscard]] future_awaiter {
 public:
  explicit future_awaiter(future<T>& f) : future_{f}, record_{future_access::record_of(f, "co_await of an errand::future")} {}
  bool await_ready() { return await_without_suspending(record_); }
  bool await_suspend(std::coroutine_handle<> h) noexcept { return suspend_until_done(waiter_, record_, h.address()); }
  T await_resume() {
    after_suspension(waiter_);
    return future_access::take(future_);
  }

 private:
  future<T>& future_;
  record& record_;
  coroutine_waiter waiter_;
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
    else if constexpr (!std::is_void_v<T>)
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

class promise_base {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  // Frames come from the same recycled blocks as records.
  static void* operator new(std::size_t size) { return allocate_record(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { deallocate_record(frame, size); }

  /// Who goes on when the coroutine has ended: a coroutine that awaits it, or the task whose root it is.
  std::coroutine_handle<> awaited_by_ = nullptr;
  void (*finish_task_)(promise_base& self) noexcept = nullptr;
  record* task_ = nullptr;
};

template <class T>
class promise;

struct final_awaiter {
  bool await_ready() const noexcept { return false; }
  template <class T>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<promise<T>> h) noexcept {
    promise_base& p = h.promise();
    if (p.finish_task_ == nullptr) return hand_on(h, p.awaited_by_);
    p.finish_task_(p);  // ends the task; the frame is gone after this
    return std::noop_coroutine();
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
  void return_void() noexcept { result_.set(unit{}); }
  promise_result<void> result_;
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
    struct awaiter {
      std::coroutine_handle<promise_type> frame;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> by) const noexcept {
        frame.promise().awaited_by_ = by;
        return detail::hand_on(by, frame);
      }
      T await_resume() const { return frame.promise().result_.take(); }
    };
    return awaiter{frame_};
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
detail::future_awaiter<T> operator co_await(future<T>& f) {
  return detail::future_awaiter<T>{f};
}
template <class T>
detail::future_awaiter<T> operator co_await(future<T>&& f) {
  return detail::future_awaiter<T>{f};
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

/// A task whose body is a coroutine: either a task<T> given to async(), or what a coroutine function returns. `Make` is
/// called on the pool and yields the task<T>; it lives, with its captures and arguments, as long as the coroutine.
template <class Base, class T, class Make>
struct coroutine_record final : result_record<T, Base> {
  template <class From>
  coroutine_record(std::source_location from, From&& make)
      : result_record<T, Base>{&act, sizeof(coroutine_record), from}, body_{std::forward<From>(make)} {
    this->inplace_allowed_ = false;
  }
  ~coroutine_record() { drop_body(); }

 private:
  struct body_type {
    template <class From>
    explicit body_type(From&& from) : make{std::forward<From>(from)} {}
    ~body_type() {
      if (frame) frame.destroy();
    }
    Make make;
    std::coroutine_handle<promise<T>> frame = nullptr;
  };

  static bool act(record* base, record_verb verb) noexcept {
    auto* self = static_cast<coroutine_record*>(base);
    switch (verb) {
      case record_verb::run:
        return self->begin();
      case record_verb::drop:
        self->drop_body();
        self->drop_value();
        return true;
      case record_verb::destroy:
        self->~coroutine_record();
        deallocate_record(self, sizeof(coroutine_record));
        return true;
    }
    return true;
  }

  /// Answers whether the task has ended already: only if there is no coroutine to run.
  bool begin() noexcept {
    try {
      task<T> made = body_.make(*this);
      body_.frame = std::exchange(task_access::frame(made), nullptr);
      if (!body_.frame) throw_no_task("errand::async() of an errand::task");
    } catch (operation_cancelled const&) {
      this->stopped_ = true;
    } catch (...) {
      this->error_ = std::current_exception();
    }
    if (!body_.frame) {
      drop_body();
      return true;
    }
    auto& p = body_.frame.promise();
    p.task_ = this;
    p.finish_task_ = [](promise_base& ended) noexcept {
      auto* self = static_cast<coroutine_record*>(ended.task_);
      run_into<T>(*self, [&ended]() -> T { return static_cast<promise<T>&>(ended).result_.take(); });
      self->drop_body();
      complete_coroutine(*self);
    };
    run_coroutine(body_.frame.address());
    return false;
  }

  void drop_body() noexcept {
    if (std::exchange(this->body_alive_, false)) body_.~body_type();
  }

  union {
    body_type body_;
  };
};

}  // namespace detail
}  // namespace errand
