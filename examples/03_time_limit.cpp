// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A time limit asks the task to stop. The task looks at its token between two steps, and get() says what happened.
#include <errand/task.hpp>

#include <cstdio>

using namespace std::chrono_literals;

// Looks for a number that is its own double plus one.
long search(std::stop_token stop) {
  for (long n = 0; !stop.stop_requested(); ++n)
    if (n == 2 * n + 1) return n;
  throw errand::operation_cancelled{};
}

int main() {
  auto found = errand::async({.timeout = 50ms, .name = "search"}, search);
  try {
    std::printf("found %ld\n", found.get());
  } catch (errand::timed_out const& late) {
    std::printf("as expected: %s\n", late.what());
    return 0;
  }
  return 1;
}
