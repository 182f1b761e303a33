// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// main returns while items wait in queues of all kinds, and queues, loops, timers and handlers have static
// storage. What is detached is finished, what somebody holds is stopped and joined, and nobody is called after that.
#include <errand/queue.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;

namespace {

std::atomic<int> ran{0};

// Built before errand's first use, so destroyed after all else: what it says is what has happened until then.
struct last_words {
  ~last_words() { std::fprintf(stderr, "%d ran.", ran.load()); }
} words;

errand::serial_queue const early{"early"};
errand::queue_local<std::string> value;
std::vector<errand::future<void>> held;

void count() { ++ran; }
void slowly() {
  errand::this_task::sleep_for(1ms);
  ++ran;
}

}  // namespace

int main(int, char** arguments) {
  std::string_view const how = arguments[1];
  if (how == "waiting") {
    errand::serial_queue base{"base"};
    errand::serial_queue child{"child", base};
    errand::concurrent_queue table{{.name = "table", .width = 2}};
    errand::serial_queue bounded{{.name = "bounded", .bound = 2}};
    for (int i = 0; i < 10; ++i) {
      errand::async(base, slowly).detach();
      errand::async(child, count).detach();
      errand::async(table, slowly).detach();
      errand::async_barrier(table, count).detach();
      errand::async(bounded, slowly).detach();
      errand::async([] {}).then(child, [] { slowly(); }).detach();
      errand::async(child.at(errand::priority::low), []() -> errand::task<void> {
        co_await errand::sleep_for(1ms);
        ++ran;
      }).detach();
      errand::after(base, 2ms, count).detach();
    }
    return 5;
  }
  if (how == "suspended") {
    // Nobody can resume it: what waits there is said, after the time that one may wait.
    static auto* const guard = new errand::queue_suspension{early.suspend()};
    static_cast<void>(guard);
    errand::async({.on = early, .name = "never begun"}, count).detach();
    return 5;
  }
  if (how == "held") {
    static errand::serial_queue late{"late", early};
    static auto const ticks = errand::every(early, 100us, [] {});
    static errand::data_source<errand::merge::add> source;
    static auto const add = source.adder();
    static auto const handler = errand::on(late, std::move(source), [](std::uint64_t) {});
    static errand::run_loop loop{"loop"};
    value.set(early, "of a static queue");
    for (int i = 0; i < 3; ++i) {
      held.push_back(errand::async(early, [] { errand::this_task::sleep_for(24h); }));
      held.push_back(errand::async(late, [] { errand::this_task::sleep_for(24h); }));
      held.push_back(errand::after(late, 24h, [] {}));
      held.push_back(errand::async(loop, count));  // its end runs them
    }
    add(1);
    return 5;
  }
  if (how == "detached_events") {
    // They go on to the end of the program, which does not wait for them.
    static std::atomic<int> calls{0};
    errand::every(early, 100us, [] { ++calls; }).detach();
    errand::on(errand::main_queue(), errand::timer_source{24h}, [] { std::fputs("a day has passed?", stderr); }).detach();
    while (calls < 5) errand::this_task::yield();
    errand::async(early, count).detach();
    return 5;
  }
  return 1;
}
