// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/buffers.hpp"

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "base/sanitizers.hpp"

#include <sys/mman.h>

#include <mutex>
#include <new>
#include <utility>

namespace errand::detail {

namespace {

constexpr unsigned kept_always = 8;
constexpr unsigned kept_for_writers = 64;  // as much as they may have under way, if nothing else is said
// A large page, and two buffers: they are given back to the system together.
constexpr std::size_t pair_size = 2 * io_buffer_size;
constexpr std::align_val_t pair_alignment{pair_size};
// A sanitizer shall see each that is used after it was given back: there they are neither kept nor paired.
constexpr std::align_val_t alone{io_alignment};

// A buffer that nobody uses, at its beginning.
struct idle_buffer {
  idle_buffer* next;
};

idle_buffer* as_idle(std::byte* buffer, idle_buffer* next) noexcept { return ::new (buffer) idle_buffer{next}; }
std::byte* first_of_pair(idle_buffer* one) noexcept {
  return reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(one) & ~(std::uintptr_t{pair_size} - 1));
}

class buffer_stock {
 public:
  std::byte* take() noexcept {
    std::lock_guard const held{guard_};
    if (first_ == nullptr) return nullptr;
    --count_;
    return reinterpret_cast<std::byte*>(std::exchange(first_, first_->next));
  }
  // The one given back last is taken first: it is the warmest.
  void keep(std::byte* buffer) noexcept {
    std::byte* freed = nullptr;
    {
      std::lock_guard const held{guard_};
      first_ = as_idle(buffer, first_);
      if (++count_ > (writers_ == 0 ? kept_always : kept_for_writers)) freed = take_pair();
    }
    ::operator delete(freed, pair_alignment);
  }
  void add_writer() noexcept {
    std::lock_guard const held{guard_};
    ++writers_;
  }
  void remove_writer() noexcept {
    std::unique_lock held{guard_};
    if (--writers_ != 0) return;
    while (count_ > kept_always) {
      std::byte* const freed = take_pair();
      if (freed == nullptr) return;
      held.unlock();
      ::operator delete(freed, pair_alignment);
      held.lock();
    }
  }
  // In the child of a fork: a thread that it does not have may have been in the midst.
  void renew() noexcept {
    if (guard_.break_open()) first_ = nullptr, count_ = 0;
    writers_ = 0;
  }

 private:
  // Under guard_. Of which nobody uses either; null if there is none.
  std::byte* take_pair() noexcept {
    for (idle_buffer** one = &first_; *one != nullptr; one = &(*one)->next)
      for (idle_buffer** other = &(*one)->next; *other != nullptr; other = &(*other)->next) {
        std::byte* const pair = first_of_pair(*one);
        if (pair != first_of_pair(*other)) continue;
        *other = (*other)->next;
        *one = (*one)->next;
        count_ -= 2;
        return pair;
      }
    return nullptr;
  }

  small_lock guard_;  // all below
  unsigned count_ = 0;
  unsigned writers_ = 0;
  idle_buffer* first_ = nullptr;
};
constinit buffer_stock stock;

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { stock.renew(); }};

}  // namespace

io_buffer take_io_buffer() {
  if constexpr (sanitized_memory)
    return io_buffer{static_cast<std::byte*>(::operator new(io_buffer_size, alone))};
  if (std::byte* const kept = stock.take(); kept != nullptr) return io_buffer{kept};
  auto* const pair = static_cast<std::byte*>(::operator new(pair_size, pair_alignment));
  ::madvise(pair, pair_size, MADV_HUGEPAGE);  // where it is refused, so be it
  // Touched here, once: a page that the kernel touches first, on its way into the file, costs more.
  for (std::size_t i = 0; i < pair_size; i += io_alignment) pair[i] = std::byte{0};
  stock.keep(pair + io_buffer_size);
  return io_buffer{pair};
}

void return_io_buffer::operator()(std::byte* buffer) const noexcept {
  if constexpr (sanitized_memory)
    ::operator delete(buffer, alone);
  else
    stock.keep(buffer);
}

many_io_buffers::many_io_buffers() noexcept { stock.add_writer(); }
many_io_buffers::~many_io_buffers() { stock.remove_writer(); }

}  // namespace errand::detail
