// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory for records and coroutine frames: blocks in steps of 16 bytes up to 1 KiB, kept per thread and exchanged with
// a common depot in batches, so that the steady state makes no system allocation, whoever allocates and whoever frees.
// Blocks are never given back to the system: what stays is the largest number that was ever alive at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace errand::detail {

/// A block of `size` bytes, aligned to 64, 32 or 16: the largest that divides the size, rounded up to 16. Throws std::bad_alloc.
[[nodiscard]] void* recycled_allocate(std::size_t size);
/// Gives back a block of that size, on any thread.
void recycled_free(void* block, std::size_t size) noexcept;

/// For the tests: blocks handed out and not given back, and how often the system was asked for memory.
struct recycler_counts {
  std::uint64_t system_allocations;
};
[[nodiscard]] recycler_counts recycler_statistics() noexcept;

}  // namespace errand::detail
