// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The ten-line program of a new user; it prints 42.
#include <errand/task.hpp>

#include <iostream>

int main() {
    auto answer = errand::async([](int a, int b) { return a * b; }, 6, 7);
    std::cout << answer.get() << '\n';
}
