// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The futures are taken out of the range, and the caller says that he knows.
// expect: takes the futures out of the range: std::move(range)
#include <errand/group.hpp>

#include <utility>
#include <vector>

int main() {
  std::vector<errand::future<int>> futures;
#ifdef MUST_NOT_COMPILE
  errand::when_all(futures).get();
#else
  errand::when_all(std::move(futures)).get();
#endif
}
