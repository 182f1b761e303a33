// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/interrupt.hpp"

#include "bench/failure.hpp"

#include <array>
#include <csignal>

namespace bench {
namespace {

constexpr std::array handled{SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t signal_arrived = 0;

extern "C" void note_signal(int) { signal_arrived = 1; }

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // no SA_RESTART: waits must return and look at the flag
  for (int const s : handled) sigaction(s, &action, nullptr);
  // A file that reaches a size limit is an error to report, not a reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
}

void forget_interrupts() {
  for (int const s : handled) std::signal(s, SIG_DFL);
}

void check_interrupt() {
  if (signal_arrived != 0) throw failure("interrupted");
}

}  // namespace bench
