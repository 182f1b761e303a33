// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/slab.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <memory>
#include <new>
#include <system_error>

namespace errand::detail {

namespace {

// Linux 6.13 and later, absent from older headers. A guard of this kind is a mark in the page table: no split of the
// mapping, so that their number is not bounded by vm.max_map_count, and a fifth of the time that mprotect takes.
constexpr int madvise_guard_install = 102;
constexpr int madvise_populate_read = 22;

constexpr std::size_t most_slots = 1024;

// The newest slab. map_slab() writes. (S1) release publishes the slab's fields; pairs with (S2) in
// size_of_slot_guarded_at().
std::atomic<slab*> newest{nullptr};

enum class guard_kind : unsigned char { unknown, mark, protection };

// Found out with the first guard. Relaxed: two threads that find out at once find the same.
std::atomic<guard_kind> kind_of_guards{guard_kind::unknown};

[[noreturn]] void throw_unguarded(int error) {
  throw std::system_error(error, std::generic_category(),
                          error == ENOMEM ? "errand: cannot guard a task's stack: on this kernel each guard takes one "
                                            "of the mappings that the setting vm.max_map_count bounds"
                                          : "errand: cannot guard a task's stack");
}

// What the last mapping came down to: where address space is short it is not going to grow. Only map_slab() uses it.
std::size_t slots_to_try = most_slots;

// Bytes of address space that the process has; 0 if the kernel does not say.
std::size_t address_space_in_use() noexcept {
  char text[32] = {};
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t length = ::read(file, text, sizeof(text));
  ::close(file);
  std::size_t pages = 0;
  if (length > 0) std::from_chars(text, text + length, pages);
  return pages * guard_size();
}

// Where RLIMIT_AS is set, stacks that nobody uses yet must not take the space that the heap and other threads need: a slab
// then takes at most one part in so many of what is left.
constexpr std::size_t share_of_what_is_left = 16;

std::size_t most_slots_by_limit(std::size_t slot_size) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return most_slots;
  const std::size_t all = limit.rlim_cur;
  const std::size_t left = all - std::min(all, address_space_in_use());
  return std::clamp<std::size_t>(left / share_of_what_is_left / slot_size, 1, most_slots);
}

}  // namespace

std::size_t guard_size() noexcept {
  static constinit std::atomic<std::size_t> page{0};
  std::size_t known = page.load(std::memory_order_relaxed);
  if (known == 0) page.store(known = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), std::memory_order_relaxed);
  return known;
}

slab* map_slab(std::size_t slot_size) {
  auto made = std::make_unique<slab>();
  const std::size_t first_try = std::min(slots_to_try, most_slots_by_limit(slot_size));
  for (std::size_t slots = first_try; slots != 0; slots = slots == 1 ? 0 : std::max<std::size_t>(1, slots / 4)) {
    const std::size_t size = slots * slot_size;
    void* memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) continue;
    // A huge page would turn the one page that a stack touches into two megabytes. Fails where there are none: as good.
    ::madvise(memory, size, MADV_NOHUGEPAGE);
    if (slots != first_try) slots_to_try = slots;
    *made = slab{static_cast<std::byte*>(memory), slots, slot_size, newest.load(std::memory_order_relaxed)};
    newest.store(made.get(), std::memory_order_release);  // (S1)
    return made.release();
  }
  throw std::bad_alloc{};
}

void install_guard(std::byte* slot) {
  const guard_kind known = kind_of_guards.load(std::memory_order_relaxed);
  if (known != guard_kind::protection) {
    if (::madvise(slot, guard_size(), madvise_guard_install) == 0) {
      if (known == guard_kind::mark) return;
      // Emulators accept advice that they do not know: believe only what can be seen to hold.
      const bool holds = ::madvise(slot, guard_size(), madvise_populate_read) != 0;
      kind_of_guards.store(holds ? guard_kind::mark : guard_kind::protection, std::memory_order_relaxed);
      if (holds) return;
    } else if (errno == EINVAL) {
      kind_of_guards.store(guard_kind::protection, std::memory_order_relaxed);
    } else {
      throw_unguarded(errno);
    }
  }
  if (::mprotect(slot, guard_size(), PROT_NONE) != 0) throw_unguarded(errno);
}

bool guards_are_marks() noexcept { return kind_of_guards.load(std::memory_order_relaxed) == guard_kind::mark; }

void drop_memory(std::byte* begin, std::byte* end) noexcept {
  // The kernel may refuse, where memory is locked say. Then it stays, and what is on it is of no consequence.
  ::madvise(begin, static_cast<std::size_t>(end - begin), MADV_DONTNEED);
}

std::size_t size_of_slot_guarded_at(const void* address) noexcept {
  const auto where = reinterpret_cast<std::uintptr_t>(address);
  for (slab* s = newest.load(std::memory_order_acquire); s != nullptr; s = s->older) {  // (S2)
    const auto begin = reinterpret_cast<std::uintptr_t>(s->begin);
    if (where < begin || where - begin >= s->slots * s->slot_size) continue;
    return (where - begin) % s->slot_size < guard_size() ? s->slot_size : 0;
  }
  return 0;
}

}  // namespace errand::detail
