// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/affinity.hpp"

#include "base/check.hpp"

#include <sched.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace errand::detail {

namespace {

constinit thread_local bool bound = false;

using mask = std::vector<cpu_set_t>;  // as many as the kernel's own mask needs
constexpr std::size_t most_sets = 64;

std::size_t bytes_of(mask const& m) noexcept { return m.size() * sizeof(cpu_set_t); }

// What a thread may use. Empty if the system does not tell.
mask processors_of(int thread) {
  for (std::size_t sets = 1; sets <= most_sets; sets *= 2) {
    mask m(sets);
    if (::sched_getaffinity(thread, bytes_of(m), m.data()) == 0) return m;
    if (errno != EINVAL) break;
  }
  return {};
}

// What the main thread may use: the calling one may be bound already.
mask processors_of_process() { return processors_of(::getpid()); }

}  // namespace

void bind_to_processor(unsigned number) noexcept {
  mask const all = processors_of_process();
  auto const count = all.empty() ? 0 : CPU_COUNT_S(bytes_of(all), all.data());
  if (count == 0) return say("the processors of this process are not known; a pinned thread runs on any");
  auto left = number % static_cast<unsigned>(count);
  std::size_t chosen = 0;
  while (CPU_ISSET_S(chosen, bytes_of(all), all.data()) == 0 || left-- != 0) ++chosen;
  mask one(all.size());
  CPU_SET_S(chosen, bytes_of(one), one.data());
  if (::sched_setaffinity(0, bytes_of(one), one.data()) == 0)
    bound = true;
  else
    say("a pinned thread could not be bound to processor " + std::to_string(chosen) + ": " + std::strerror(errno));
}

bool bound_to_processor() noexcept { return bound; }

void unbind_from_processor() noexcept {
  mask const all = processors_of_process();
  if (!all.empty()) ::sched_setaffinity(0, bytes_of(all), all.data());
}

void run_where(int thread) noexcept {
  mask const theirs = processors_of(thread);
  if (!theirs.empty()) ::sched_setaffinity(0, bytes_of(theirs), theirs.data());
}

}  // namespace errand::detail
