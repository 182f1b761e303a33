// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counts what is asked of the system allocator, by anybody in this program: malloc and its kin, so operator new too, and
// mmap. allocations.cpp defines these functions over glibc's own; while nobody counts they cost a test of a flag more.
#pragma once

#include <cstdint>

namespace microbench {

// Counts from its construction; one at a time.
class allocation_count {
 public:
  allocation_count();
  ~allocation_count();
  allocation_count(allocation_count const&) = delete;
  allocation_count& operator=(allocation_count const&) = delete;
  [[nodiscard]] std::uint64_t so_far() const;
};

}  // namespace microbench
