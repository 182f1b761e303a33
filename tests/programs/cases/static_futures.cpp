// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// main returns while futures and pools with static storage hold tasks that sleep, wait for each other, or were never begun.
#include <errand/task.hpp>

#include <cstdio>
#include <vector>

namespace {

using namespace std::chrono_literals;

std::vector<errand::future<void>> early;  // built before errand's first use

struct last_words {
  ~last_words() { std::fputs("stopped and joined.", stderr); }
} words;

}  // namespace

int main() {
  static errand::pool own{1};
  static std::vector<errand::future<void>> late;
  for (int i = 0; i < 3; ++i) {
    early.push_back(errand::async([] { errand::this_task::sleep_for(24h); }));
    late.push_back(errand::async(own, [] { errand::async(own, [] { errand::this_task::sleep_for(24h); }).get(); }));
    late.push_back(errand::async([]() -> errand::task<> {
      auto inner = errand::async([] { errand::this_task::sleep_for(24h); });
      co_await inner;
    }));
  }
  return 5;
}
