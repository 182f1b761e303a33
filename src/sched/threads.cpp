// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/threads.hpp"

#include "base/check.hpp"
#include "base/fork.hpp"
#include "sched/affinity.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

namespace errand::detail {

namespace {

constinit std::array<void (*)() noexcept, 8> hooks{};
constinit std::size_t hook_count = 0;
constinit std::atomic<bool> hooks_begun{false};

// Faults belong to the thread that made them; everything else the program's own threads handle.
sigset_t all_but_faults() noexcept {
  sigset_t set;
  sigfillset(&set);
  for (int const fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&set, fault);
  return set;
}

// Our threads run the code of the module that errand was linked into, to the process's end. If that is a shared object that
// the program opened, dlclose() must not take it away beneath them.
void stay_loaded() noexcept {
  static constinit std::atomic<bool> stays{false};
  if (stays.exchange(true, std::memory_order_relaxed)) return;
  Dl_info module{};
  link_map* loaded = nullptr;
  void* const somewhere = reinterpret_cast<void*>(&stay_loaded);
  if (::dladdr1(somewhere, &module, reinterpret_cast<void**>(&loaded), RTLD_DL_LINKMAP) == 0 || loaded == nullptr) return;
  if (loaded->l_name == nullptr || *loaded->l_name == '\0') return;  // the program itself
  if (void* const handle = ::dlopen(loaded->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE); handle != nullptr)
    ::dlclose(handle);
}

// Of a thread of ours: its mask of signals, and the one that whoever started it had.
struct thread_mask {
  bool known;
  sigset_t ours;
  sigset_t starters;
};
constinit thread_local thread_mask mask_of_this_thread{};

sigset_t current_mask() noexcept {
  sigset_t mask{};
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return mask;
}

// The child of a fork has one thread. One forked by a task is there to call exec, and what it executes must not inherit that
// signals are left to other threads; unless somebody has set a mask of his own around the fork, who then sees to it himself.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  hooks_begun.store(false, std::memory_order_relaxed);
  auto const& mask = mask_of_this_thread;
  if (!mask.known) return;
  sigset_t const now = current_mask();
  if (std::memcmp(&now, &mask.ours, sizeof now) == 0) pthread_sigmask(SIG_SETMASK, &mask.starters, nullptr);
}};

}  // namespace

void before_first_thread(void (*hook)() noexcept) noexcept {
  if (hook_count == hooks.size()) fatal("too many hooks before the first thread");
  hooks[hook_count++] = hook;
}

void run_first_thread_hooks() noexcept {
  // Tempting: a once_flag. Fails because a hook forks, and the child would inherit the flag as it is in the midst of the
  // call. If two threads come here at once, it is too late for the hooks anyway.
  if (hooks_begun.load(std::memory_order_relaxed) || hooks_begun.exchange(true, std::memory_order_relaxed)) return;
  for (std::size_t i = 0; i < hook_count; ++i) hooks[i]();
}

std::thread start_thread(std::string const& name, std::function<void()> body) {
  run_first_thread_hooks();
  stay_loaded();
  sigset_t const blocked = all_but_faults();
  sigset_t before{};
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  struct restore {
    sigset_t const& mask;
    ~restore() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } const after{before};
  sigset_t const starters = mask_of_this_thread.known ? mask_of_this_thread.starters : before;
  std::thread made{[name = name.substr(0, 15), body = std::move(body), starters, unbind = bound_to_processor()] {
    if (unbind) unbind_from_processor();
    pthread_setname_np(pthread_self(), name.c_str());
    mask_of_this_thread = {true, current_mask(), starters};
    body();
  }};
  return made;
}

}  // namespace errand::detail
