// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A coroutine waits for the same handles with co_await, and is itself started and waited for like any function.
#include <errand/task.hpp>

#include <cstdio>

int square(int x) { return x * x; }

errand::task<int> sum_of_squares(int a, int b) {
  auto first = errand::async(square, a);
  auto second = errand::async(square, b);
  co_return co_await first + co_await second;
}

int main() {
  int const sum = errand::async(sum_of_squares(3, 4)).get();
  std::printf("3² + 4² = %d\n", sum);
  return sum == 25 ? 0 : 1;
}
