// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "no_memory.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

constinit std::atomic<int> left{0};  // allocations up to the one that fails; 0: none will

[[maybe_unused]] bool fails() noexcept {
  if (left.load(std::memory_order_relaxed) <= 0) return false;
  return left.fetch_sub(1, std::memory_order_relaxed) == 1;
}

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(std::size_t size) {
  if (void* const p = fails() ? nullptr : std::malloc(size != 0 ? size : 1)) return p;
  throw std::bad_alloc{};
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  auto const a = static_cast<std::size_t>(alignment);
  if (void* const p = fails() ? nullptr : std::aligned_alloc(a, (size + a - 1) / a * a)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
#endif

namespace errand_test {

failing_allocation::failing_allocation(int n) noexcept { left.store(n); }
failing_allocation::~failing_allocation() { left.store(0); }
bool failing_allocation::happened() const noexcept { return left.load() <= 0; }

}  // namespace errand_test
