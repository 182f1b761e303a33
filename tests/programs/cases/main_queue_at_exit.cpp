// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is detached onto the main queue is finished after main has returned, on the main thread: what lies there already, what
// comes by way of the pool, and what a coroutine does after it has slept.
#include <errand/queue.hpp>

#include <unistd.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace std::chrono_literals;

namespace {

void say(char const* text) { std::fputs(::gettid() == ::getpid() ? text : "on another thread!", stderr); }

errand::task<void> sleeper() {
  co_await errand::sleep_for(5ms);
  say("slept.");
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::string_view{arguments[1]} == "exit_in_item") {
    errand::async(errand::main_queue(), [] { std::exit(8); }).detach();
    errand::async(errand::main_queue(), [] { say("behind."); }).detach();
    errand::main_queue().run();
  }
  errand::async(errand::main_queue(), [] { say("there."); }).detach();
  errand::async([] { errand::this_task::sleep_for(2ms); }).then(errand::main_queue(), [] { say("later."); }).detach();
  errand::async(errand::main_queue(), sleeper()).detach();
  return 6;
}
