// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// quick_exit and _Exit, in main and in a task, wait for nobody and run no destructor.
#include <errand/task.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

struct last_words {
  ~last_words() { std::fputs("destroyed?", stderr); }
} words;

}  // namespace

int main(int, char** arguments) {
  std::string_view const how = arguments[1];
  errand::async([] { errand::this_task::sleep_for(std::chrono::hours{24}); }).detach();
  if (std::at_quick_exit([] { std::fputs("quickly.", stderr); }) != 0) return 1;
  if (how == "quick_exit") std::quick_exit(9);
  if (how == "_Exit") std::_Exit(9);
  errand::async([how] {
    if (how == "quick_exit_in_task") std::quick_exit(9);
    std::_Exit(9);
  }).get();
}
