// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/threads.hpp"

#include "base/check.hpp"
#include "sched/affinity.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <pthread.h>

namespace errand::detail {

namespace {

constinit std::array<void (*)() noexcept, 8> hooks{};
constinit std::size_t hook_count = 0;

// Faults belong to the thread that made them; everything else the program's own threads handle.
sigset_t all_but_faults() noexcept {
  sigset_t set;
  sigfillset(&set);
  for (int const fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&set, fault);
  return set;
}

}  // namespace

void before_first_thread(void (*hook)() noexcept) noexcept {
  if (hook_count == hooks.size()) fatal("too many hooks before the first thread");
  hooks[hook_count++] = hook;
}

void run_first_thread_hooks() noexcept {
  // Tempting: a once_flag. Fails because a hook forks, and the child would inherit the flag as it is in the midst of the
  // call. If two threads come here at once, it is too late for the hooks anyway.
  static constinit std::atomic<bool> begun{false};
  if (begun.load(std::memory_order_relaxed) || begun.exchange(true, std::memory_order_relaxed)) return;
  for (std::size_t i = 0; i < hook_count; ++i) hooks[i]();
}

std::thread start_thread(std::string const& name, std::function<void()> body) {
  run_first_thread_hooks();
  sigset_t const blocked = all_but_faults();
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  struct restore {
    sigset_t const& mask;
    ~restore() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } const after{before};
  std::thread made{[name = name.substr(0, 15), body = std::move(body), unbind = bound_to_processor()] {
    if (unbind) unbind_from_processor();
    pthread_setname_np(pthread_self(), name.c_str());
    body();
  }};
  return made;
}

}  // namespace errand::detail
