// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// shared_future<T>: a started task's result for many. Copies refer to one task; several threads, tasks and coroutines may
// wait for it at once, each by a copy of its own. Made by future<T>::share().
#pragma once

#include <errand/detail/future.hpp>

namespace errand {
namespace detail {

/// How those who share a result see it.
template <class T>
using shared_value =
    std::conditional_t<std::is_void_v<T> || std::is_reference_v<T>, T, std::add_lvalue_reference_t<T const>>;

}  // namespace detail

/// A task's result, shared. Copyable; the task is asked to stop and joined when the last copy is dropped. One thread at a
/// time may use one copy; different copies may be used at the same time.
template <class T>
class [[nodiscard]] shared_future {
 public:
  using value_type = T;

  /// A future of no task: only assignment, `valid()` and destruction are of use.
  shared_future() noexcept = default;
  shared_future(shared_future const& other) noexcept : record_{other.record_} {
    if (record_ != nullptr) detail::add_share(*record_);
  }
  shared_future(shared_future&& other) noexcept : record_{std::exchange(other.record_, nullptr)} {}
  /// Drops what was held, as the destructor does, then takes over the other's.
  shared_future& operator=(shared_future other) noexcept {
    std::swap(record_, other.record_);
    return *this;
  }
  /// The last copy asks the task to stop and waits for its end. An exception nobody took is reported then.
  ~shared_future() {
    if (record_ != nullptr) detail::drop_share(*record_);
  }

  /// Waits, then gives the value, which stays where it is as long as there is a copy, or rethrows what the task threw. Throws
  /// as future::get(). A stop of the task that waits ends its wait, and does not stop the task waited for.
  detail::shared_value<T> get() const {
    auto& r = wait_for_end("errand::shared_future::get()");
    if (!r.has_value_) detail::rethrow_failure(r);
    return value_of(r);
  }
  /// Waits, then gives what came of the task without throwing its error. Throws as wait().
  outcome<detail::shared_value<T>> result() const {
    auto& r = wait_for_end("errand::shared_future::result()");
    r.observed_.store(true, std::memory_order_relaxed);
    return {r, [&r] {
              if constexpr (std::is_void_v<T>)
                return r.value_;
              else
                return std::addressof(value_of(r));
            }};
  }

  /// As those of future.
  void wait() const { wait_for_end("errand::shared_future::wait()"); }
  template <class Rep, class Period>
  std::future_status wait_for(std::chrono::duration<Rep, Period> const& span) const {
    return wait_to(detail::deadline_of(span), "errand::shared_future::wait_for()");
  }
  template <class Clock, class Duration>
  std::future_status wait_until(std::chrono::time_point<Clock, Duration> const& at) const {
    return wait_to(detail::deadline_of(at), "errand::shared_future::wait_until()");
  }
  [[nodiscard]] bool ready() const noexcept { return record_ != nullptr && (record_->done() || record_->inherited()); }
  [[nodiscard]] bool valid() const noexcept { return record_ != nullptr; }

  /// Goes on with f when the task has ended, as future::then() does; `f` gets what get() gives. This copy stays as it is. A
  /// stop of the new task before `f` has begun ends it there and then, and does not stop the task waited for.
  template <class F>
  auto then(F&& f, std::source_location from = std::source_location::current()) const;
  template <class Where, class F>
  auto then(Where&& where, F&& f, std::source_location from = std::source_location::current()) const;

  /// Asks the task to stop, on behalf of all who share it.
  void request_stop() const noexcept {
    if (record_ != nullptr) detail::request_stop(*record_);
  }

 private:
  friend struct detail::future_access;
  friend class future<T>;

  explicit shared_future(detail::result_record<T>* r) noexcept : record_{r} {}

  static detail::shared_value<T> value_of(detail::result_record<T>& r) noexcept {
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*r.value_);
    else if constexpr (!std::is_void_v<T>)
      return r.value_;
  }
  detail::result_record<T>& wait_for_end(char const* operation) const {
    auto& r = detail::future_access::record_of(*this, operation);
    if (!r.done()) detail::wait(r);
    return r;
  }
  std::future_status wait_to(std::int64_t deadline, char const* operation) const {
    auto& r = detail::future_access::record_of(*this, operation);
    return r.done() || detail::wait_until(r, deadline) ? future_status::ready : future_status::timeout;
  }

  detail::result_record<T>* record_ = nullptr;
};

template <class T>
shared_future<T> future<T>::share() {
  detail::share(detail::future_access::record_of(*this, "errand::future::share()"));
  return shared_future<T>{std::exchange(record_, nullptr)};
}

}  // namespace errand
