// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Handlers of the program's own, registered before and after errand's first use, that use errand: the later ones run before
// the wait for detached tasks, the earlier ones after it; what either detaches is waited for.
#include <errand/task.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

void start_more(char const* text) {
  errand::async([text] {
    errand::this_task::sleep_for(std::chrono::milliseconds{10});
    std::fputs(text, stderr);
  }).detach();
  errand::async([] {}).get();
}

}  // namespace

int main() {
  if (std::atexit([] { start_more("from the earlier."); }) != 0) return 1;
  start_more("from main.");
  if (std::atexit([] { start_more("from the later."); }) != 0) return 1;
  return 6;
}
