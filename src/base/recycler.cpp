// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/recycler.hpp"

#include "base/lock.hpp"
#include "base/sanitizers.hpp"

#include <mutex>
#include <new>
#include <utility>

namespace errand::detail {

namespace {

constexpr std::size_t step = 64;            // a cache line: two records never share one
constexpr std::size_t classes = 16;         // up to 1 KiB
constexpr std::uint32_t batch = 64;         // blocks moved between a thread and the depot at a time
constexpr std::size_t slab = 64 * 1024;     // asked of the system at a time
// Under ASan and TSan every block comes from the system, so that each use after free is seen.
constexpr bool recycle = !sanitized_memory;

struct block {
  block* next;
  block* next_batch;  // in the depot, of the first block of a batch
};

struct free_list {
  block* head = nullptr;
  std::uint32_t room = 0;  // blocks that may still be kept before some go to the depot; an estimate, and enough as such
};
// A thread keeps what one slab holds and two batches more.
constexpr std::uint32_t most_kept(std::size_t index) noexcept {
  return 2 * batch + static_cast<std::uint32_t>(slab / ((index + 1) * step));
}

// Batches that no thread keeps. Leaked with its blocks: records may be freed as late as any static destructor.
struct depot {
  small_lock guard;
  block* batches = nullptr;
};
constinit std::array<depot, classes> depots{};
constinit std::atomic<std::uint64_t> system_allocations{0};

struct thread_cache {
  std::array<free_list, classes> lists;
  bool registered;
  bool ended;  // the thread's own cleanup has run: nothing may be kept any more
};
constinit thread_local thread_cache cache{};

void* from_system(std::size_t size) {
  system_allocations.fetch_add(1, std::memory_order_relaxed);
  return ::operator new(size, std::align_val_t{step});
}

void give_batch(std::size_t index, block* first) noexcept {
  std::lock_guard const held{depots[index].guard};
  first->next_batch = depots[index].batches;
  depots[index].batches = first;
}

// When a thread ends, its blocks go to the depot, in batches of whatever length they have.
struct give_all_back {
  ~give_all_back() {
    for (std::size_t i = 0; i < classes; ++i)
      if (cache.lists[i].head != nullptr) give_batch(i, std::exchange(cache.lists[i].head, nullptr));
    for (auto& list : cache.lists) list.room = 0;
    cache.ended = true;
  }
};

[[gnu::noinline]] void register_thread() {
  thread_local give_all_back at_thread_end;
  static_cast<void>(&at_thread_end);
  cache.registered = true;
}

[[gnu::noinline]] void* refill(std::size_t index) {
  if (!cache.registered) register_thread();
  block* first;
  {
    std::lock_guard const held{depots[index].guard};
    first = depots[index].batches;
    if (first != nullptr) depots[index].batches = first->next_batch;
  }
  auto& list = cache.lists[index];
  if (first != nullptr) {
    list.head = first->next;
    list.room = most_kept(index) - batch;
    return first;
  }
  std::size_t const size = (index + 1) * step;
  auto* const memory = static_cast<std::byte*>(from_system(slab));
  for (std::size_t offset = size; offset + size <= slab; offset += size) {
    auto* const b = reinterpret_cast<block*>(memory + offset);
    b->next = list.head;
    list.head = b;
  }
  list.room = 2 * batch;
  return memory;
}

[[gnu::noinline]] void spill(std::size_t index) noexcept {
  if (!cache.registered && !cache.ended) register_thread();
  auto& list = cache.lists[index];
  block* const first = list.head;
  block* last = first;
  for (std::uint32_t moved = 1; moved < batch && last->next != nullptr; ++moved) last = last->next;
  list.head = last->next;
  list.room = cache.ended ? 0 : batch;
  last->next = nullptr;
  give_batch(index, first);
}

}  // namespace

[[gnu::noinline]] void* recycled_allocate(std::size_t size) {
  std::size_t const index = (size - 1) / step;
  if (!recycle || index >= classes) return from_system(size);
  auto& list = cache.lists[index];
  block* const b = list.head;
  if (b == nullptr) return refill(index);
  list.head = b->next;
  __builtin_prefetch(list.head, 1);  // the next one's first lines: its link, and most of a record
  __builtin_prefetch(reinterpret_cast<std::byte*>(list.head) + step, 1);
  ++list.room;
  return b;
}

[[gnu::noinline]] void recycled_free(void* memory, std::size_t size) noexcept {
  std::size_t const index = (size - 1) / step;
  if (!recycle || index >= classes) return ::operator delete(memory, std::align_val_t{step});
  auto& list = cache.lists[index];
  auto* const b = static_cast<block*>(memory);
  b->next = list.head;
  list.head = b;
  if (list.room == 0) return spill(index);
  --list.room;
}

recycler_counts recycler_statistics() noexcept { return {system_allocations.load(std::memory_order_relaxed)}; }

}  // namespace errand::detail
