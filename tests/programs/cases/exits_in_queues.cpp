// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// exit() where a queue, or what stands on queues, calls the user: in an item, a barrier, sync(), a tick, a handler, after(). What is
// detached elsewhere is finished, the one that called is not waited for, and what can never have its turn again is said.
#include <errand/queue.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace std::chrono_literals;

namespace {

void leave() { std::exit(8); }

// Something that takes its time, on a queue of its own.
void start_another() {
  errand::serial_queue q{"another"};
  errand::async(q, [] { errand::this_task::sleep_for(5ms); }).then(q, [] { std::fputs("finished.", stderr); }).detach();
}

struct uses_errand {
  ~uses_errand() {
    errand::serial_queue q{"late"};
    errand::sync(q, [] { std::fputs("in a destructor.", stderr); });
    errand::async(q, [] { std::fputs("by a destructor.", stderr); }).get();
  }
} at_the_end;

std::array<int, 2> ends{};

}  // namespace

int main(int, char** arguments) {
  std::string_view const how = arguments[1];
  errand::serial_queue q{"its own"};
  errand::concurrent_queue c{"its own"};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0 || ::write(ends[1], "x", 1) != 1) return 1;
  start_another();
  if (how == "item") errand::async(q, leave).detach();
  if (how == "item_held") errand::async(q, leave).get();
  if (how == "item_with_one_behind") {
    auto held = q.suspend();
    errand::async(q, leave).detach();
    errand::async({.on = q, .name = "behind"}, [] { std::fputs("behind.", stderr); }).detach();
    held.resume();
  }
  if (how == "concurrent_item") {
    errand::async(c, leave).detach();
    errand::async(c, [] { std::fputs("beside.", stderr); }).detach();
  }
  if (how == "barrier") errand::async_barrier(c, leave).detach();
  if (how == "sync") errand::sync(q, leave);
  if (how == "sync_in_task") errand::async([&] { errand::sync(q, leave); }).detach();
  if (how == "coroutine")
    errand::async(q, []() -> errand::task<void> {
      co_await errand::sleep_for(1ms);
      leave();
    }).detach();
  if (how == "after") errand::after(q, 1ms, leave).detach();
  if (how == "tick") errand::every(q, 1ms, leave).detach();
  if (how == "held_tick") {
    auto const t = errand::every(1ms, leave);
    for (;;) ::pause();
  }
  if (how == "handler") errand::on(q, errand::readable_source{ends[0]}, leave).detach();
  if (how == "main_item") errand::async(errand::main_queue(), leave).detach();
  if (how == "main_handler") errand::on(errand::main_queue(), errand::readable_source{ends[0]}, leave).detach();
  if (how == "main_loop_in_loop")
    errand::async(errand::main_queue(), [] { errand::main_queue().run_until(errand::async(errand::main_queue(), leave)); }).detach();
  if (how.starts_with("main")) errand::main_queue().run();
  if (how == "own_loop") {
    errand::run_loop loop{"own"};
    errand::async(loop, leave).detach();
    loop.run();
  }
  for (;;) ::pause();
}
