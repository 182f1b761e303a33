// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A stop kills the process; there is no token in it that could say so.
// expect: It gets no std::stop_token: a stop kills its process
// errors: 1
#include <errand/process.hpp>

#include <stop_token>

using namespace std::chrono_literals;

int main() {
#ifdef MUST_NOT_COMPILE
  auto const f = [](std::stop_token stop) { return stop.stop_requested() ? 1 : 0; };
#else
  auto const f = [] { return 0; };
#endif
  errand::async({.on = errand::processes, .timeout = 5s}, f).detach();
}
