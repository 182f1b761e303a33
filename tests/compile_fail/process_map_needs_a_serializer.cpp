// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The elements of a map cross like arguments.
// expect: #include <errand/serialize.hpp>
// errors: 1
#include <errand/process.hpp>

#include <set>
#include <vector>

#ifdef MUST_NOT_COMPILE
using element = std::set<int>;
#else
using element = std::vector<int>;
#endif

int main() {
  std::vector<element> const all(3);
  auto const sizes = errand::map(errand::processes, all, [](element const& e) { return e.size(); });
  return static_cast<int>(sizes.size());
}
