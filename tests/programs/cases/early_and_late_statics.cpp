// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Objects with static storage that use errand while they are built and destroyed: one is there before errand's first use
// and outlives the wait at the end, one comes after it and goes before.
#include <errand/task.hpp>

#include <cstdio>

namespace {

int say(char const* text) {
  std::fputs(text, stderr);
  return 1;
}

struct uses_errand {
  explicit uses_errand(char const* its_name) : name{its_name} {
    errand::async([this] { say(name); }).get();
    say(" built. ");
  }
  ~uses_errand() {
    auto slept = errand::async([] { errand::this_task::sleep_for(std::chrono::milliseconds{5}); });
    slept.get();
    errand::async([this] { say(name); }).get();
    say(" destroyed. ");
    // Nobody may be left to wait for it but what waits for detached tasks; that is called once more.
    errand::async([of = name] {
      errand::this_task::sleep_for(std::chrono::milliseconds{20});
      say(of);
      say(" detached. ");
    }).detach();
  }
  char const* name;
};

uses_errand early{"early"};

}  // namespace

int main() {
  static uses_errand late{"late"};
  errand::async([] {
    errand::this_task::sleep_for(std::chrono::milliseconds{20});
    say("main's, while late stands. ");
  }).detach();
  return 4;
}
