// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The floor of everything that changes stacks: errand's own raw switch, there and back, with nothing around it.
#include "system_state.hpp"
#include "who_ran.hpp"

#include "fiber/stack.hpp"

namespace microbench {

namespace {

using errand::detail::stack;

struct echo_end {
  stack* caller;
  stack* own;
  std::size_t turns = 0;
  bool over = false;
};

// The other stack: goes straight back, each time.
void echo(void* arg) noexcept {
  auto& e = *static_cast<echo_end*>(arg);
  while (!e.over) {
    ++e.turns;
    errand::detail::switch_stack(*e.own, *e.caller, nullptr);
  }
  errand::detail::switch_stack_final(*e.own, *e.caller, nullptr);
}

// Nanoseconds for each `switches` switches.
repetition switches(settings const& s, unsigned switches) {
  return [=, n = s.times(2'000'000)] {
    stack native;
    errand::detail::adopt_thread_stack(native);
    stack* const other = errand::detail::acquire_stack();
    echo_end e{&native, other};
    errand::detail::prepare(*other, &echo);
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i) errand::detail::switch_stack(native, *other, &e);
    auto const end = now_ns();
    e.over = true;
    errand::detail::switch_stack(native, *other, &e);
    errand::detail::release_stack(other);
    require(e.turns == n, "the other stack did not run");
    return sample{ns_each(begin, end, 2 * n) * switches};
  };
}

add const in_yield{"yield", role::floor, "raw switch", [](settings const& s) { return switches(s, 1); }};
add const in_park{"park-resume", role::floor, "raw switch", [](settings const& s) { return switches(s, 1); }};
add const in_hop{"spawn-join-hop", role::floor, "raw switch, there and back",
                 [](settings const& s) { return switches(s, 2); }};
add const in_suspension{"suspend-once", role::floor, "raw switch, there and back",
                        [](settings const& s) { return switches(s, 2); }};

}  // namespace

}  // namespace microbench
