// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// Durations and time points of any clock as nanoseconds of the steady clock, saturating instead of overflowing,
// so that "for ever" written as duration::max() means just that.
#pragma once

#include <chrono>
#include <cstdint>

// <future> alone costs more than all of errand's core; an opaque declaration of its enumeration suffices here, where the
// library keeps it in namespace std itself.
#if defined(_LIBCPP_VERSION)
#include <future>
#else
namespace std {
enum class future_status;
}
#endif

namespace errand {

/// The values of `std::future_status`, for those who do not include <future>.
struct future_status {
  static constexpr std::future_status ready{0};
  static constexpr std::future_status timeout{1};
  static constexpr std::future_status deferred{2};
};

namespace detail {

/// Now plus a span, on the steady clock; INT64_MAX (never) where that overflows.
[[nodiscard]] std::int64_t deadline_after(std::int64_t nanoseconds) noexcept;

template <class Rep, class Period>
[[nodiscard]] std::int64_t saturated_nanoseconds(std::chrono::duration<Rep, Period> const& d) {
  using std::chrono::duration;
  auto const wide = duration<long double, std::nano>{d}.count();
  if (!(wide < static_cast<long double>(INT64_MAX))) return INT64_MAX;
  if (!(wide > static_cast<long double>(INT64_MIN))) return INT64_MIN;
  return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
}

template <class Rep, class Period>
[[nodiscard]] std::int64_t deadline_of(std::chrono::duration<Rep, Period> const& from_now) {
  return deadline_after(saturated_nanoseconds(from_now));
}
template <class Clock, class Duration>
[[nodiscard]] std::int64_t deadline_of(std::chrono::time_point<Clock, Duration> const& at) {
  // The difference in floating point first: the subtraction of far away points overflows.
  using wide = std::chrono::duration<long double, std::nano>;
  auto const current = Clock::now();
  auto const far = wide{at.time_since_epoch()} - wide{current.time_since_epoch()};
  constexpr long double century = 3.2e18L;  // beyond it, to the nanosecond does not matter
  if (far.count() > century || far.count() < -century) return deadline_after(saturated_nanoseconds(far));
  return deadline_of(at - current);
}

}  // namespace detail
}  // namespace errand
