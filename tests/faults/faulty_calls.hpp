// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// System calls that fail, do less than asked or are interrupted, as a test wishes, on files in its folder: this program has
// functions of its own by the names of libc's. A ring does not call these; what it meets is in limits_test.cpp.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <ostream>

namespace errand_test {

enum class system_call : std::uint8_t { open, read, write, sync, allocate, truncate, rename, close };
inline std::ostream& operator<<(std::ostream& out, system_call call) {
  constexpr char const* names[] = {"open", "read", "write", "sync", "allocate", "truncate", "rename", "close"};
  return out << names[static_cast<std::size_t>(call)];
}

/// What becomes of a call.
struct fault {
  int error = 0;                // not 0: it is not made (but a close), and this is its errno
  std::size_t most = SIZE_MAX;  // else: of so many bytes, at most
};
/// Called by any thread, by one at a time.
using fault_rule = std::function<fault(system_call, std::size_t size)>;

/// While it lives all calls on what lies in the folder go by the rule, the test's own too. One at a time.
class faulty_calls {
 public:
  faulty_calls(std::filesystem::path const& folder, fault_rule rule);
  ~faulty_calls();
  faulty_calls(faulty_calls const&) = delete;
  faulty_calls& operator=(faulty_calls const&) = delete;
};

/// Lets the first of such calls fail, then the second, and so on until there are no more: each time run() with the fault, then
/// check(whether there was one) without.
template <class Run, class Check>
void fail_each(std::filesystem::path const& folder, system_call which, int error, Run run, Check check) {
  for (int n = 1;; ++n) {
    SCOPED_TRACE(testing::Message{} << which << " number " << n << " fails with " << error);
    int seen = 0;
    {
      faulty_calls const faults{folder, [&](system_call call, std::size_t) {
                                  return fault{.error = call == which && ++seen == n ? error : 0};
                                }};
      run();
    }
    check(seen >= n);
    if (seen < n) return;
    ASSERT_LT(n, 10'000) << "the operation never comes to an end";
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace errand_test
