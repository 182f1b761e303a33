// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The floors that need no system: a call that is not inlined, a loop of them.
#include "fine_grained.hpp"
#include "loop_of.hpp"

namespace microbench {

namespace {

[[gnu::noinline]] void called() {
  visit();
  asm volatile("" ::: "memory");
}

repetition call(settings const& s) {
  return [n = s.times(5'000'000)] {
    roll_call const who;
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i) called();
    auto const end = now_ns();
    static_cast<void>(who.end(n));
    return sample{ns_each(begin, end, n)};
  };
}

template <std::size_t Length>
repetition serial_loop(settings const& s) {
  return [=] {
    return loop_of<Length>(s, [] {
      for (std::size_t i = 0; i < Length; ++i) called();
    });
  };
}

add const call_1{"spawn-join-1", role::floor, "noinline call", &call};
add const call_2{"spawn-join-2", role::floor, "noinline call", &call};
add const call_main{"million-from-main", role::floor, "noinline call", &call};
add const call_inside{"million-from-inside", role::floor, "noinline call", &call};
add const loop_1{"loop-1", role::floor, "serial calls", &serial_loop<1>};
add const loop_1000{"loop-1000", role::floor, "serial calls", &serial_loop<1000>};
add const loop_million{"loop-million", role::floor, "serial calls", &serial_loop<1'000'000>};
add const fine_grained{"fine-grained", role::floor, "noinline call", [](settings const& s) -> repetition {
                         return [s] { return added_by_dispatch(s, &counted_task); };
                       }};

}  // namespace

}  // namespace microbench
