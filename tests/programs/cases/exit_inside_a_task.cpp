// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// exit() in a task on a pool of one worker, parked ones around it: other tasks are finished, the one that called is not
// waited for, and destructors of static objects may use errand.
#include <errand/task.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

using namespace std::chrono_literals;

struct uses_errand {
  ~uses_errand() {
    errand::async([] { std::fputs("in a destructor.", stderr); }).get();
  }
} at_the_end;

errand::future<void> waits_for_the_end;

}  // namespace

int main() {
  waits_for_the_end = errand::async([] { errand::this_task::sleep_for(24h); });
  auto calls = errand::async([] {
    errand::async([] {
      errand::this_task::sleep_for(10ms);
      std::fputs("finished.", stderr);
    }).detach();
    auto inner = errand::async([] { std::exit(8); });
    inner.get();  // in place, or on another worker
  });
  calls.get();
}
