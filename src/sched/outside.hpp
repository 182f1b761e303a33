// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work that goes on outside this process, and whose end somebody must look for. The module that has such work registers
// one function; a thread that is about to sleep, for want of work or for a result, calls it first. That saves the two
// wake-ups of a job that ends within microseconds. None is registered until such work is first begun.
#pragma once

#include <atomic>

namespace errand::detail {

/// Looks for ends until `enough(argument)`, or until looking on would be a waste: some microseconds, and none at all if
/// nothing is under way or no processor is free.
using outside_help = void (*)(bool (*enough)(void const*), void const* argument) noexcept;

/// Written once; (O1) release by who registers, acquire by who calls.
inline constinit std::atomic<outside_help> registered_outside_help{nullptr};

inline void help_outside(bool (*enough)(void const*), void const* argument) noexcept {
  if (auto const help = registered_outside_help.load(std::memory_order_acquire); help != nullptr)  // (O1)
    help(enough, argument);
}

}  // namespace errand::detail
