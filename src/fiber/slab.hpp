// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The address space that stacks are cut from, and the guards between them. A slab is one mapping of up to 1024 equal
// slots; a slot is one stack with its guard at the low end. Slabs are never unmapped, so that the overflow handler
// may walk their list at any moment. The stack pool maps slabs under its lock; the overflow handler asks whether an
// address is a guard.
#pragma once

#include <cstddef>

namespace errand::detail {

struct slab {
  std::byte* begin;
  std::size_t slots;
  std::size_t slot_size;
  slab* older;
};

// Maps a slab of as many slots as the address space allows, 1024 at best, and publishes it. Where RLIMIT_AS limits that
// space, a slab takes a small part of what is left, so that it starves nobody. Throws std::bad_alloc where not even one
// slot fits. Not to be called by two threads at once.
slab* map_slab(std::size_t slot_size);

// Makes the lowest bytes of a slot fault on any access. Idempotent. Throws std::system_error.
void install_guard(std::byte* slot);

// Whether the guards installed so far are marks in the page table. If not, each takes one of the mappings that
// vm.max_map_count bounds, and a process has about 32,000 stacks at most.
bool guards_are_marks() noexcept;

// What a guard takes of each slot.
std::size_t guard_size() noexcept;

// Gives the memory of slots [begin, end) back to the kernel; address space and guards stay.
void drop_memory(std::byte* begin, std::byte* end) noexcept;

// If `address` lies in the guard of some slot, the size of that slot; otherwise 0. Async-signal-safe.
std::size_t size_of_slot_guarded_at(const void* address) noexcept;

}  // namespace errand::detail
