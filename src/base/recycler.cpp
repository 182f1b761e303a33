// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/recycler.hpp"

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "base/sanitizers.hpp"

#include <mutex>
#include <new>
#include <sys/mman.h>
#include <utility>

namespace errand::detail {

namespace {

constexpr std::size_t step = 16;            // what any object asks for
constexpr std::size_t line = 64;            // what is a multiple of it in size starts on a line of its own
constexpr std::size_t classes = 64;         // up to 1 KiB
constexpr std::uint32_t batch = 64;         // blocks moved between a thread and the depot at a time
constexpr std::size_t slab = 64 * 1024;     // asked of the system at a time, at first;
constexpr std::size_t huge_slab = 2 << 20;  // and when a class has many: a huge page, if the system gives one. A million
constexpr unsigned small_slabs = 16;        // records in small pages are slow for want of address translations alone.
// Under ASan and TSan every block comes from the system, so that each use after free is seen.
constexpr bool recycle = !sanitized_memory;

struct block {
  block* next;
  block* next_batch;  // in the depot, of the first block of a batch
};

struct free_list {
  block* head = nullptr;
  std::uint32_t room = 0;  // blocks that may still be kept before some go to the depot; an estimate, and enough as such
  std::byte* fresh = nullptr;      // the rest of the last slab, from which no block was cut yet
  std::byte* fresh_end = nullptr;
};
// A thread keeps what one slab holds and two batches more.
constexpr std::uint32_t most_kept(std::size_t index) noexcept {
  return 2 * batch + static_cast<std::uint32_t>(slab / ((index + 1) * step));
}

// Batches that no thread keeps. Leaked with its blocks: records may be freed as late as any static destructor.
struct depot {
  small_lock guard;
  block* batches = nullptr;
  unsigned slabs = 0;
};
constinit std::array<depot, classes> depots{};
constinit std::atomic<std::uint64_t> system_allocations{0};

// The child of a fork keeps what the depots hold, as the forking thread keeps its own blocks; but not a list that another
// thread was changing. What the other threads kept is lost to it.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  for (auto& d : depots)
    if (d.guard.break_open()) d.batches = nullptr;
}};

struct thread_cache {
  std::array<free_list, classes> lists;
  bool registered;
  bool ended;  // the thread's own cleanup has run: nothing may be kept any more
};
constinit thread_local thread_cache cache{};

void* from_system(std::size_t size) {
  system_allocations.fetch_add(1, std::memory_order_relaxed);
  return ::operator new(size, std::align_val_t{line});
}

// A slab larger than any class needs often, on a huge page's boundary. Null if there is none to be had.
std::byte* map_huge_slab() noexcept {
  system_allocations.fetch_add(1, std::memory_order_relaxed);
  void* const room = ::mmap(nullptr, 2 * huge_slab, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(room);
  auto const before = (huge_slab - reinterpret_cast<std::uintptr_t>(first) % huge_slab) % huge_slab;
  if (before != 0) ::munmap(first, before);
  if (before != huge_slab) ::munmap(first + before + huge_slab, huge_slab - before);
  ::madvise(first + before, huge_slab, MADV_HUGEPAGE);  // only a wish
  return first + before;
}

// Cuts up to a batch of blocks from the rest of the slab; the first is the caller's, the others go into the list.
void* cut(free_list& list, std::size_t size) noexcept {
  auto* const first = list.fresh;
  std::uint32_t cut_off = 0;
  while (++cut_off < batch && list.fresh + (cut_off + 1) * size <= list.fresh_end) {
    auto* const b = reinterpret_cast<block*>(first + cut_off * size);
    b->next = reinterpret_cast<block*>(first + (cut_off + 1) * size);
  }
  list.head = nullptr;
  if (cut_off > 1) {
    list.head = reinterpret_cast<block*>(first + size);
    reinterpret_cast<block*>(first + (cut_off - 1) * size)->next = nullptr;
  }
  list.fresh += cut_off * size;
  list.room = 2 * batch;
  return first;
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
      for (auto& list = cache.lists[i]; list.head != nullptr || list.fresh != nullptr;) {
        if (list.head != nullptr) give_batch(i, std::exchange(list.head, nullptr));
        if (list.fresh != nullptr && list.fresh + (i + 1) * step <= list.fresh_end) {
          auto* const b = static_cast<block*>(cut(list, (i + 1) * step));
          b->next = list.head;
          list.head = b;
        } else {
          list.fresh = nullptr;
        }
      }
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
  std::size_t const size = (index + 1) * step;
  auto& list = cache.lists[index];
  if (list.fresh != nullptr && list.fresh + size <= list.fresh_end) return cut(list, size);
  block* first;
  unsigned slabs = 0;
  {
    auto& d = depots[index];
    std::lock_guard const held{d.guard};
    first = d.batches;
    if (first != nullptr)
      d.batches = first->next_batch;
    else
      slabs = d.slabs++;
  }
  if (first != nullptr) {
    list.head = first->next;
    list.room = most_kept(index) - batch;
    return first;
  }
  std::size_t bytes = huge_slab;
  list.fresh = slabs < small_slabs ? nullptr : map_huge_slab();
  if (list.fresh == nullptr) list.fresh = static_cast<std::byte*>(from_system(bytes = slab));
  list.fresh_end = list.fresh + bytes;
  return cut(list, size);
}

[[gnu::noinline]] void spill(std::size_t index) noexcept {
  if (!cache.registered && !cache.ended) register_thread();
  auto& list = cache.lists[index];
  block* const first = list.head;
  block* last = first;
  for (std::uint32_t moved = 1; moved < batch && last->next != nullptr; ++moved) last = last->next;
  list.head = last->next;
  list.room = cache.ended ? 0 : batch - 1;  // the free that finds none left spills as many as have come since: a batch
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
  __builtin_prefetch(reinterpret_cast<std::byte*>(list.head) + line, 1);
  ++list.room;
  return b;
}

[[gnu::noinline]] void recycled_free(void* memory, std::size_t size) noexcept {
  std::size_t const index = (size - 1) / step;
  if (!recycle || index >= classes) return ::operator delete(memory, std::align_val_t{line});
  auto& list = cache.lists[index];
  auto* const b = static_cast<block*>(memory);
  b->next = list.head;
  list.head = b;
  if (list.room == 0) return spill(index);
  --list.room;
}

recycler_counts recycler_statistics() noexcept { return {system_allocations.load(std::memory_order_relaxed)}; }

}  // namespace errand::detail
