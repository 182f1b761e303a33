// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A span is trivially copyable, and points to what is not in the other process.
// expect: what crosses to another process is no pointer, reference, iterator or view
// errors: 1
// names: span
#include <errand/process.hpp>

#include <span>
#include <vector>

int main() {
  std::vector<int> const numbers{1, 2};
#ifdef MUST_NOT_COMPILE
  return errand::async(errand::processes, [](std::span<int const> some) { return some[0]; }, std::span{numbers}).get();
#else
  return errand::async(errand::processes, [](std::span<int const> some) { return some[0]; }, numbers).get();
#endif
}
