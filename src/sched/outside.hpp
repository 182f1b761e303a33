// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work that goes on outside this process, and whose end somebody must look for. The module that has such work registers
// three functions; a thread that is about to sleep, for want of work or for a result, calls the first. That saves the two
// wake-ups of a job that ends within microseconds. A thread that then does sleep for a result may do so where the work's end
// wakes it, by the second: that saves one of two. None is registered until such work is first begun.
#pragma once

#include <atomic>
#include <cstdint>

namespace errand::detail {

struct outside_work {
  /// Looks for ends until `enough(argument)`, or until looking on would be a waste: some microseconds, and none at all if
  /// nothing is under way or no processor is free.
  void (*help)(bool (*enough)(void const*), void const* argument) noexcept;
  /// Sleeps until some work has ended, and takes in what has; or until `woken` is not 0 and wake() was called for it, or the
  /// deadline. Returns early for no reason. False, and has done nothing, if nothing is under way, another thread sleeps there
  /// already, or the deadline has passed.
  bool (*sleep)(std::atomic<std::uint32_t> const& woken, std::int64_t deadline) noexcept;
  /// After a seq_cst store to that word. The word may be gone: its address only is compared.
  void (*wake)(std::atomic<std::uint32_t> const* woken) noexcept;
};

/// Written once; (O1) release by who registers, acquire by who calls.
inline constinit std::atomic<outside_work const*> registered_outside_work{nullptr};

inline void help_outside(bool (*enough)(void const*), void const* argument) noexcept {
  if (auto const* const work = registered_outside_work.load(std::memory_order_acquire); work != nullptr)  // (O1)
    work->help(enough, argument);
}

}  // namespace errand::detail
