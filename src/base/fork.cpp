// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/fork.hpp"

#include "base/check.hpp"

#include <pthread.h>

namespace errand::detail {

constinit std::uint32_t process_generation = 0;

namespace {

constinit in_forked_child const* all = nullptr;
constinit bool forking_for_ourselves = false;  // there is one thread then

}  // namespace

in_forked_child::in_forked_child(void (*renew)() noexcept) noexcept : renew_{renew}, next_{all} {
  // With the first, from a static initialiser: before the program can register handlers of its own, which therefore run
  // later and may use errand.
  if (all == nullptr)
    if (int const error = ::pthread_atfork(nullptr, nullptr, &renew_all); error != 0) fatal_os("pthread_atfork", error);
  all = this;
}

void in_forked_child::renew_all() noexcept {
  if (forking_for_ourselves) return;
  ++process_generation;
  for (auto const* each = all; each != nullptr; each = each->next_) each->renew_();
}

own_fork::own_fork() noexcept { forking_for_ourselves = true; }
own_fork::~own_fork() { forking_for_ourselves = false; }

}  // namespace errand::detail
