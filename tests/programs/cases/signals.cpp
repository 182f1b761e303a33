// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Signals sent to the program while its workers run and its main thread waits: the program's own threads handle them.
#include <errand/task.hpp>

#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <vector>

namespace {

std::atomic<int> handled{0};
std::atomic<int> handled_elsewhere{0};

}  // namespace

int main() {
  static pid_t const main_thread = ::gettid();
  struct sigaction action = {};
  action.sa_handler = [](int) {
    ++handled;
    if (::gettid() != main_thread) ++handled_elsewhere;
  };
  ::sigaction(SIGUSR1, &action, nullptr);  // no SA_RESTART: waits are interrupted
  auto sender = errand::async([] {
    // Again and again: ThreadSanitizer puts off one that arrives just before the main thread sleeps, to its next call.
    while (handled < 100) {
      ::kill(::getpid(), SIGUSR1);
      errand::this_task::yield();
    }
  });
  std::vector<errand::future<void>> sleepers;
  for (int i = 0; i < 10; ++i)
    sleepers.push_back(errand::async([] { errand::this_task::sleep_for(std::chrono::milliseconds{20}); }));
  sender.get();
  for (auto& s : sleepers) s.get();
  std::fprintf(stderr, "handled, %d by others", handled_elsewhere.load());
  return 0;
}
