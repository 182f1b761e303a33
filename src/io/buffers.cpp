// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/buffers.hpp"

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "base/sanitizers.hpp"

#include <array>
#include <mutex>
#include <new>

namespace errand::detail {

namespace {

constexpr unsigned kept_always = 8;
constexpr unsigned kept_for_writers = 64;  // as much as they may have on their way, if nothing else is said

constexpr std::align_val_t alignment{io_alignment};

void free_buffer(std::byte* buffer) noexcept { ::operator delete(buffer - io_buffer_front, alignment); }

class buffer_stock {
 public:
  std::byte* take() noexcept {
    std::lock_guard const held{guard_};
    return count_ == 0 ? nullptr : kept_[--count_];
  }
  bool keep(std::byte* buffer) noexcept {
    std::lock_guard const held{guard_};
    // A sanitizer shall see each that is used after it was given back.
    if (sanitized_memory || count_ == (writers_ == 0 ? kept_always : kept_for_writers)) return false;
    kept_[count_++] = buffer;
    return true;
  }
  void add_writer() noexcept {
    std::lock_guard const held{guard_};
    ++writers_;
  }
  // Those that are too many then.
  void remove_writer() noexcept {
    std::array<std::byte*, kept_for_writers> freed{};
    unsigned n = 0;
    {
      std::lock_guard const held{guard_};
      if (--writers_ == 0)
        while (count_ > kept_always) freed[n++] = kept_[--count_];
    }
    while (n != 0) free_buffer(freed[--n]);
  }
  // In the child of a fork: a thread that it does not have may have been in the midst.
  void renew() noexcept {
    if (guard_.break_open()) count_ = 0;
  }

 private:
  small_lock guard_;  // all below
  unsigned count_ = 0;
  unsigned writers_ = 0;
  std::array<std::byte*, kept_for_writers> kept_{};  // the one given back last is taken first: it is the warmest
};
constinit buffer_stock stock;

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { stock.renew(); }};

}  // namespace

io_buffer take_io_buffer() {
  if (std::byte* const kept = stock.take(); kept != nullptr) return io_buffer{kept};
  io_buffer made{static_cast<std::byte*>(::operator new(io_buffer_front + io_buffer_size, alignment)) + io_buffer_front};
  // Touched here, once: a page that the kernel touches first, on its way into the file, costs more.
  for (std::size_t i = 0; i < io_buffer_size; i += io_alignment) made[i] = std::byte{0};
  return made;
}

void return_io_buffer::operator()(std::byte* buffer) const noexcept {
  if (!stock.keep(buffer)) free_buffer(buffer);
}

many_io_buffers::many_io_buffers() noexcept { stock.add_writer(); }
many_io_buffers::~many_io_buffers() { stock.remove_writer(); }

}  // namespace errand::detail
