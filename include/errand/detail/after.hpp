// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: queue
//
// after(): a task that comes to its place when a span is over. every(): a function called there each time a period is over.
// Both are kept by the one timekeeper; neither takes a thread, or a place in a queue, before its time.
#pragma once

#include <errand/detail/events.hpp>

namespace errand {

/// When after() is due: a span from now, or a point in time of any clock; and the line that said so. Spans that overflow never
/// end; points that have passed are due at once.
class due {
 public:
  template <class Rep, class Period>
  due(std::chrono::duration<Rep, Period> const& span,  // NOLINT(google-explicit-constructor)
      std::source_location line = std::source_location::current())
      : at{detail::deadline_of(span)}, from{line} {}
  template <class Clock, class Duration>
  due(std::chrono::time_point<Clock, Duration> const& point,  // NOLINT(google-explicit-constructor)
      std::source_location line = std::source_location::current())
      : at{detail::deadline_of(point)}, from{line} {}

  std::int64_t at;  // nanoseconds of the steady clock
  std::source_location from;
};

namespace detail {

/// A task of no place that ends when the time has come, or is stopped. Throws std::bad_alloc, std::system_error.
[[nodiscard]] result_record<void>& make_delay(std::int64_t at, std::source_location from);
[[noreturn]] void throw_inplace_delay();

/// A callable with its arguments, as then() wants it.
template <class F, class... Args>
struct call_later {
  template <class Callable, class... From>
  explicit call_later(Callable&& f, From&&... from)
      : function(std::forward<Callable>(f)), arguments(std::forward<From>(from)...) {}

  decltype(auto) operator()()
    requires(!wants_stop_token<F, Args...>)
  {
    return std::apply([this](Args&... each) -> decltype(auto) { return call(std::move(function), std::move(each)...); },
                      arguments);
  }
  decltype(auto) operator()(std::stop_token token)
    requires wants_stop_token<F, Args...>
  {
    return std::apply(
        [&](Args&... each) -> decltype(auto) { return call(std::move(function), std::move(token), std::move(each)...); },
        arguments);
  }
  F function;
  [[no_unique_address]] std::tuple<Args...> arguments;
};
template <class T>
struct go_later {
  task<T> operator()() { return std::move(made); }
  task<T> made;
};

template <class F, class... Args>
auto start_after(place_core* where, due const& when, F&& f, Args&&... args) {
  if (where == nullptr) throw_inplace_delay();
  auto delay = future_access::make<void>(&make_delay(when.at, when.from));
  if constexpr (is_task<std::remove_cvref_t<F>>) {
    static_assert(!std::is_lvalue_reference_v<F>, "errand: a task<T> is started once: after(span, std::move(t))");
    return then(delay, where, go_later<typename std::remove_cvref_t<F>::value_type>{std::move(f)}, when.from);
  } else {
    return then(delay, where, call_later<std::decay_t<F>, std::decay_t<Args>...>(std::forward<F>(f), std::forward<Args>(args)...),
                when.from);
  }
}

}  // namespace detail

/// f(args...) as a task of `where` (the default pool if none is named) once the time has come: `after(q, 2s, f)`, or a point in
/// time in the place of the span. Its future is as any other; until it is due it takes neither a worker nor a place in a
/// queue; then it comes to the end of that, bounded or not. A stop before that is a stop at once. Never early; late by what
/// the timekeeper and the place need. What f may be is what async() takes.
/// Throws as async(), and std::invalid_argument if the place is inplace.
template <detail::core_place Where, class F, class... Args>
  requires detail::runs<F, Args...>
auto after(Where&& where, due when, F&& f, Args&&... args) {
  return detail::start_after(detail::place_access::core(where), when, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args>
  requires detail::runs<F, Args...>
auto after(due when, F&& f, Args&&... args) {
  return detail::start_after(&detail::default_pool(), when, std::forward<F>(f), std::forward<Args>(args)...);
}

/// What every() tells its function, if that takes one.
struct tick {
  std::uint64_t count;  // how many periods are over since the tick before: 1, or more if some were missed
};

/// Ticks as events: `while (auto t = ticks.next()) ...` in a task, or as a handler: on(queue, timer_source{1s}, f), which is
/// every(queue, 1s, f). The first is due at `first`, one period from now if that is not said; the others a multiple of the period later,
/// without drift. Ticks that nobody has taken are one, with their count.
class timer_source : public event_source<tick> {
 public:
  /// Throws std::invalid_argument for a period that is not positive, std::bad_alloc, std::system_error. A period that overflows
  /// never ends.
  template <class Rep, class Period>
  explicit timer_source(std::chrono::duration<Rep, Period> const& period)
      : timer_source{detail::saturated_nanoseconds(period), detail::deadline_of(period)} {}
  template <class Rep, class Period>
  timer_source(std::chrono::duration<Rep, Period> const& period, due const& first)
      : timer_source{detail::saturated_nanoseconds(period), first.at} {}

  /// From now on this period, counted from now; it takes the place of what was to come. Nothing after a cancel().
  /// Throws std::invalid_argument, std::bad_alloc.
  template <class Rep, class Period>
  void rearm(std::chrono::duration<Rep, Period> const& period) {
    detail::rearm_timer(core(), detail::saturated_nanoseconds(period), detail::deadline_of(period));
  }

 private:
  timer_source(std::int64_t period, std::int64_t first) : event_source{detail::make_timer_source(period, first)} {}
};

/// A function that is called again and again: what every() returns. As a handler, and besides:
class [[nodiscard("a ticker ends with its guard; give it a name, or detach() it")]] ticker : public handler {
 public:
  ticker(handler&& made) noexcept : handler{std::move(made)} {}  // NOLINT(google-explicit-constructor)
  /// timer_source::rearm(). A tick that waits for its turn is none any more.
  template <class Rep, class Period>
  void rearm(std::chrono::duration<Rep, Period> const& period) {
    detail::rearm_timer(core(), detail::saturated_nanoseconds(period), detail::deadline_of(period));
  }
};

/// Calls f(tick) or f() as an item of `where` (the default pool if none is named) each time the period is over: at now + n *
/// period, without drift. Never two at a time: periods that pass while one runs, waits for its turn, or is held back by a
/// suspension are one tick, with their count. A period shorter than its function keeps the place busy, but lets others have
/// their turn after each call. Errors: see handler. Throws as timer_source and on().
template <detail::core_place Where, class Rep, class Period, class F>
ticker every(Where&& where, std::chrono::duration<Rep, Period> const& period, F&& f,
             std::source_location from = std::source_location::current()) {
  return on(std::forward<Where>(where), timer_source{period}, std::forward<F>(f), from);
}
template <class Rep, class Period, class F>
ticker every(std::chrono::duration<Rep, Period> const& period, F&& f,
             std::source_location from = std::source_location::current()) {
  return on(threads, timer_source{period}, std::forward<F>(f), from);
}

}  // namespace errand
