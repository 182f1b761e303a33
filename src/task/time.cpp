// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/time.hpp>

#include "base/futex.hpp"

#include <future>

namespace errand {

// The opaque declaration in the header must agree with the real one.
static_assert(future_status::ready == std::future_status::ready);
static_assert(future_status::timeout == std::future_status::timeout);
static_assert(future_status::deferred == std::future_status::deferred);

std::int64_t detail::deadline_after(std::int64_t nanoseconds) noexcept {
  std::int64_t at = 0;
  return __builtin_add_overflow(now(), nanoseconds, &at) ? (nanoseconds > 0 ? INT64_MAX : 0) : at;
}

}  // namespace errand
