// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Jobs in worker processes write to stderr, one of them from a destructor of static storage; main returns at once, or
// calls exit in another thread. All of it is there when the program has ended.
#include <errand/process.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct late {
  ~late() {
    errand::async(errand::processes, [] { std::fputs("late.", stderr); }).get();
  }
} at_the_end;

}  // namespace

int main(int, char** arguments) {
  errand::async(errand::processes, [] {
    for (int i = 0; i < 5000; ++i) std::fputs("0123456789\n", stderr);
  }).get();
  if (std::string_view{arguments[1]} == "exit_in_task") errand::async([] { std::exit(6); }).get();
  return 6;
}
