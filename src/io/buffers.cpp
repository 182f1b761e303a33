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

// A sanitizer shall see each that is used after it was given back.
constexpr unsigned most_kept = sanitized_memory ? 0 : 8;

class buffer_stock {
 public:
  std::byte* take() noexcept {
    std::lock_guard const held{guard_};
    return count_ == 0 ? nullptr : kept_[--count_];
  }
  bool keep(std::byte* buffer) noexcept {
    std::lock_guard const held{guard_};
    if (count_ >= most_kept) return false;
    kept_[count_++] = buffer;
    return true;
  }
  // In the child of a fork: a thread that it does not have may have been in the midst.
  void renew() noexcept {
    if (guard_.break_open()) count_ = 0;
  }

 private:
  small_lock guard_;  // all below
  unsigned count_ = 0;
  std::array<std::byte*, 8> kept_{};  // the one given back last is taken first: it is the warmest
};
constinit buffer_stock stock;

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { stock.renew(); }};

}  // namespace

io_buffer take_io_buffer() {
  if (std::byte* const kept = stock.take(); kept != nullptr) return io_buffer{kept};
  io_buffer made{static_cast<std::byte*>(::operator new(io_buffer_size, std::align_val_t{io_alignment}))};
  // Touched here, once: a page that the kernel touches first, on its way into the file, costs more.
  for (std::size_t i = 0; i < io_buffer_size; i += io_alignment) made[i] = std::byte{0};
  return made;
}

void return_io_buffer::operator()(std::byte* buffer) const noexcept {
  if (!stock.keep(buffer)) ::operator delete(buffer, std::align_val_t{io_alignment});
}

}  // namespace errand::detail
