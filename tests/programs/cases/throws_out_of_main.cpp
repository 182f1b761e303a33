// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An exception leaves main while tasks run: the program is aborted, as any, and waits for nobody.
#include <errand/task.hpp>

#include <stdexcept>

namespace {
errand::future<void> held;
}

int main() {
  held = errand::async([] { errand::this_task::sleep_for(std::chrono::hours{24}); });
  errand::async([] { errand::this_task::sleep_for(std::chrono::hours{24}); }).detach();
  errand::async([] { throw std::runtime_error{"out of main"}; }).get();
}
