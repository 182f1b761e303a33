// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One allocation of this program fails, whoever makes it: the library, the standard library or the test.
#pragma once

#include "base/sanitizers.hpp"

namespace errand_test {

/// The sanitizers bring operators of their own, which must not be replaced.
inline constexpr bool allocations_can_fail = !errand::detail::sanitized_memory;

/// While it lives the n-th operator new from now on throws std::bad_alloc. One at a time.
class failing_allocation {
 public:
  explicit failing_allocation(int n) noexcept;
  ~failing_allocation();
  failing_allocation(failing_allocation const&) = delete;
  failing_allocation& operator=(failing_allocation const&) = delete;
  [[nodiscard]] bool happened() const noexcept;
};

}  // namespace errand_test
