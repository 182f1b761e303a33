// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: queue
//
// What all event sources have in common. A source gathers what happens until somebody takes it, in one of two ways: a loop in a
// task, which waits for the next event; or a handler, called at a place, one call at a time. What happens meanwhile coalesces.
// The untyped half, and who may touch what: src/queue/event_core.hpp.
#pragma once

#include <errand/task.hpp>

#include <optional>

namespace errand {

class handler;
template <class Event, class Raw>
class event_source;

namespace detail {

class event_core;
struct event_access;
[[noreturn]] void throw_no_source(char const* what);

/// A handler's function. Takes one event from the source, if there is one, and calls it.
struct event_function {
  virtual ~event_function() = default;
  virtual void call(event_core& from) = 0;
};

/// Whoever waits for the next event: in the frame that waits.
struct event_listener final : record {
  event_listener() noexcept;
  // Under the source's guard:
  bool told = false;               // it is being completed
  event_listener* next = nullptr;  // who waits for the same
};

void drop_source(event_core& s) noexcept;
void cancel_source(event_core& s) noexcept;
/// One refers to it more, or less.
void share_source(event_core& s) noexcept;
void release_source(event_core& s) noexcept;
/// Takes what has gathered; `raw` is of the type that the kind of source says. False if there is nothing.
[[nodiscard]] bool take_event(event_core& s, void* raw);
/// For the next event, by a function: false if there will be none. Throws operation_cancelled, deadlock, std::logic_error.
[[nodiscard]] bool wait_for_event(event_core& s, void* raw);
/// The three steps of it, for a coroutine. listen(): false if there may be something to take, or nothing will come.
[[nodiscard]] bool listen(event_core& s, event_listener& l);
void listen_no_more(event_core& s, event_listener& l) noexcept;
/// Whether nothing more will come, though something may be there to be taken. Throws std::logic_error for a source that cannot be
/// waited for.
[[nodiscard]] bool is_over(event_core& s);

void start_handler(event_core& s, place_core* where, event_function* f, std::source_location from);  // takes f over
void detach_handler(event_core& s) noexcept;
[[nodiscard]] bool handler_is_active(event_core& s) noexcept;
void wait_for_handler(event_core& s);

[[nodiscard]] event_core& make_timer_source(std::int64_t period, std::int64_t first);
void rearm_timer(event_core& s, std::int64_t period, std::int64_t first);

class arrival_awaiter {
 public:
  explicit arrival_awaiter(event_core& s) noexcept : source_{s} {}
  arrival_awaiter(arrival_awaiter const&) = delete;
  arrival_awaiter& operator=(arrival_awaiter const&) = delete;
  ~arrival_awaiter() { listen_no_more(source_, listener_); }
  bool await_ready() {
    if (!listen(source_, listener_)) return nothing_to_wait_for_ = true;
    return await_without_suspending(listener_);
  }
  bool await_suspend(std::coroutine_handle<> h) {
    suspended_ = true;
    if (suspend_until_done(listener_, h.address())) return true;  // nothing of ours is touched any more
    return suspended_ = false;
  }
  void await_resume() {
    if (suspended_) after_suspension(listener_);
    listen_no_more(source_, listener_);
    if (!nothing_to_wait_for_ && !listener_.done()) throw_stopped();  // a stop of the task has ended the wait
  }

 private:
  event_core& source_;
  event_listener listener_;
  bool nothing_to_wait_for_ = false;
  bool suspended_ = false;
};

template <class Event, class Raw>
std::optional<Event> take_typed(event_core& s, bool (*take)(event_core&, void*)) {
  if constexpr (std::is_same_v<Raw, void*>) {  // an Event on the heap
    void* raw = nullptr;
    if (!take(s, &raw)) return {};
    struct owner {
      Event* made;
      ~owner() { delete made; }
    } const held{static_cast<Event*>(raw)};
    return std::optional<Event>{std::move(*held.made)};
  } else {
    std::optional<Event> raw;
    if (!take(s, &raw)) return {};
    return raw;
  }
}

template <class Event, class Raw>
task<std::optional<Event>> await_event(event_core& s) {
  for (;;) {
    bool const over = is_over(s);
    if (auto event = take_typed<Event, Raw>(s, &take_event); event || over) co_return event;
    co_await arrival_awaiter{s};
  }
}

/// co_await of a source: the coroutine that waits, with its frame.
template <class Event>
struct event_awaiter {
  explicit event_awaiter(task<std::optional<Event>> t) noexcept : made{std::move(t)}, inner{task_access::frame(made)} {}
  bool await_ready() const noexcept { return inner.await_ready(); }
  void await_suspend(std::coroutine_handle<> by) const noexcept { inner.await_suspend(by); }
  std::optional<Event> await_resume() const { return inner.await_resume(); }
  task<std::optional<Event>> made;
  child_awaiter<std::optional<Event>> inner;
};

template <class Event, class Raw, class F>
struct event_function_of final : event_function {
  template <class From>
  explicit event_function_of(From&& from) : function(std::forward<From>(from)) {}
  void call(event_core& from) override {
    auto event = take_typed<Event, Raw>(from, &take_event);
    if (!event) return;
    if constexpr (std::is_invocable_v<F&, Event>)
      detail::call(function, std::move(*event));
    else
      detail::call(function);
  }
  F function;
};

}  // namespace detail

/// What may be had of each kind of source. Move-only. In a task or thread, as a loop: `while (auto e = s.next())`; in a coroutine
/// `while (auto e = co_await s)`; or as a handler, by on(), which takes the source over. One at a time may wait for it.
///
/// In the child of a fork() a source of the parent's is abandoned: next() throws std::logic_error, all else does nothing.
template <class Event, class Raw = std::optional<Event>>
class event_source {
 public:
  using event_type = Event;

  event_source(event_source&& other) noexcept : core_{std::exchange(other.core_, nullptr)} {}
  event_source& operator=(event_source&& other) noexcept {
    if (this != &other) {
      if (core_ != nullptr) detail::drop_source(*core_);
      core_ = std::exchange(other.core_, nullptr);
    }
    return *this;
  }
  /// cancel().
  ~event_source() {
    if (core_ != nullptr) detail::drop_source(*core_);
  }

  /// Waits for the next event: a task parks, a foreign thread sleeps. Empty after cancel(), and when there can be no more.
  /// A point of cancellation. Throws operation_cancelled, std::logic_error if somebody else waits for it or it was taken over,
  /// and what the system refuses, as std::system_error.
  std::optional<Event> next() { return detail::take_typed<Event, Raw>(core(), &detail::wait_for_event); }
  /// The next event if it is there. Never waits.
  std::optional<Event> try_next() { return detail::take_typed<Event, Raw>(core(), &detail::take_event); }
  /// next() with no stack.
  auto operator co_await() { return detail::event_awaiter<Event>{detail::await_event<Event, Raw>(core())}; }

  /// No more events: who waits gets none, and what the system keeps for it (a descriptor, a signal's disposition) is given
  /// back before this returns. From any thread.
  void cancel() noexcept {
    if (core_ != nullptr) detail::cancel_source(*core_);
  }

 protected:
  explicit event_source(detail::event_core& made) noexcept : core_{&made} {}
  [[nodiscard]] detail::event_core& core() const {
    if (core_ == nullptr) detail::throw_no_source("event source");
    return *core_;
  }

 private:
  friend struct detail::event_access;
  detail::event_core* core_;
};

/// A function that is called at some place for each event: what on() and every() return. Dropped, it is cancelled. Any thread may
/// call its members at any time, also the function itself.
///
/// An exception that leaves the function cancels the handler: wait() throws it; if nobody takes it, it is reported on stderr
/// with the line of on(). operation_cancelled that leaves it cancels without an error: so the function ends itself.
class [[nodiscard("a handler ends with its guard; give it a name, or detach() it")]] handler {
 public:
  handler(handler&& other) noexcept : core_{std::exchange(other.core_, nullptr)} {}
  handler& operator=(handler&& other) noexcept {
    if (this != &other) {
      if (core_ != nullptr) detail::drop_source(*core_);
      core_ = std::exchange(other.core_, nullptr);
    }
    return *this;
  }
  ~handler() {
    if (core_ != nullptr) detail::drop_source(*core_);
  }

  /// No call begins any more; waits for one that runs, unless that is who calls cancel(). Then the function is destroyed, and what
  /// the system keeps for the source given back. It does not ask the running call to stop. Parks a task.
  void cancel() noexcept {
    if (core_ != nullptr) detail::cancel_source(*core_);
  }
  /// It goes on to the end of the program, which does not wait for it.
  void detach() noexcept {
    if (core_ != nullptr) detail::detach_handler(*std::exchange(core_, nullptr));
  }
  /// Whether calls may still come.
  [[nodiscard]] bool active() const noexcept { return core_ != nullptr && detail::handler_is_active(*core_); }
  /// Waits until it has ended: was cancelled, has no more events, or its function has thrown; then throws that. A point of
  /// cancellation. Throws deadlock in the function itself.
  void wait() {
    if (core_ != nullptr) detail::wait_for_handler(*core_);
  }

 protected:
  [[nodiscard]] detail::event_core& core() const {
    if (core_ == nullptr) detail::throw_no_source("handler");
    return *core_;
  }

 private:
  friend struct detail::event_access;
  explicit handler(detail::event_core& core) noexcept : core_{&core} {}
  detail::event_core* core_;
};

struct detail::event_access {
  template <class Event, class Raw>
  static event_core& core(event_source<Event, Raw> const& s) {
    return s.core();
  }
  template <class Event, class Raw>
  static handler take_over(event_source<Event, Raw>& s) noexcept {
    return handler{*std::exchange(s.core_, nullptr)};
  }
};

/// Calls f(event) or f() at `where` for each event of the source, which it takes over: in a queue as an item of it. Never two calls
/// at a time; what happens while one runs or waits for its turn coalesces, as each source says. A full queue takes it all the
/// same. Throws std::bad_alloc, std::invalid_argument if the place is inplace, std::logic_error if somebody waits for the source.
template <detail::core_place Where, class Event, class Raw, class F>
handler on(Where&& where, event_source<Event, Raw>&& source, F&& f, std::source_location from = std::source_location::current()) {
  using function = std::decay_t<F>;
  static_assert(std::is_invocable_v<function&, Event> || std::is_invocable_v<function&>,
                "errand::on: the function can be called neither with the source's event nor with nothing");
  if constexpr (std::is_invocable_v<function&, Event>)
    static_assert(!detail::is_task<std::invoke_result_t<function&, Event>>,
                  "errand::on: a handler is a plain function; a coroutine takes events in a loop: co_await source");
  detail::event_core& core = detail::event_access::core(source);  // which throws, so before the function is made
  detail::start_handler(core, detail::place_access::core(where),
                        new detail::event_function_of<Event, Raw, function>{std::forward<F>(f)}, from);
  return detail::event_access::take_over(source);
}

}  // namespace errand
