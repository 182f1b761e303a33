// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "allocations.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// Plain flags: set and read while the tasks that are counted have not begun or have been joined.
constinit std::atomic<bool> counting{false};
constinit std::atomic<std::uint64_t> counted{0};

void count() noexcept {
  if (counting.load(std::memory_order_relaxed)) counted.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

// glibc offers its allocator under these names for programs that define malloc over it.
extern "C" {
void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* block, std::size_t size) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t size) noexcept;

void* malloc(std::size_t size) noexcept {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) noexcept {
  count();
  return __libc_calloc(number, size);
}
void* realloc(void* block, std::size_t size) noexcept {
  count();
  return __libc_realloc(block, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  count();
  *block = __libc_memalign(alignment, size);
  return *block != nullptr ? 0 : ENOMEM;
}
void* mmap(void* where, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
  count();
  auto const got = ::syscall(SYS_mmap, where, size, protection, flags, file, offset);
  return got == -1 ? MAP_FAILED : reinterpret_cast<void*>(got);
}
}

namespace microbench {

allocation_count::allocation_count() {
  counted.store(0);
  counting.store(true);
}
allocation_count::~allocation_count() { counting.store(false); }
std::uint64_t allocation_count::so_far() const { return counted.load(); }

}  // namespace microbench
