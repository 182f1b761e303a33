// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A set of objects' addresses, in open addressing with linear probing (D. Knuth, TAOCP 3, 6.4, algorithms L and R): no node for
// each, so nothing is allocated once it has had room for as many. Objects that lie side by side are side by side in the table, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace errand::detail {

template <class T>
class address_set {
 public:
  /// One that is not in it. Throws std::bad_alloc, and then it is not.
  void insert(T& x) {
    if (2 * (count_ + 1) > size_) grow();
    place(&x);
    ++count_;
  }
  /// Whether it was there.
  bool erase(T const& x) noexcept {
    if (size_ == 0) return false;
    std::size_t at = home_of(&x);
    while (slots_[at] != &x) {
      if (slots_[at] == nullptr) return false;
      at = after(at);
    }
    // Those behind move up, unless that would put them before their home.
    for (std::size_t next = after(at); slots_[next] != nullptr; next = after(next)) {
      std::size_t const home = home_of(slots_[next]);
      bool const stays = at <= next ? at < home && home <= next : at < home || home <= next;
      if (stays) continue;
      slots_[at] = slots_[next];
      at = next;
    }
    slots_[at] = nullptr;
    --count_;
    return true;
  }
  [[nodiscard]] bool contains(T const& x) const noexcept {
    if (size_ == 0) return false;
    for (std::size_t at = home_of(&x); slots_[at] != nullptr; at = after(at))
      if (slots_[at] == &x) return true;
    return false;
  }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  template <class F>
  void for_each(F f) const {
    for (std::size_t i = 0; i < size_; ++i)
      if (slots_[i] != nullptr) f(*slots_[i]);
  }

 private:
  // What lies within 1 KiB goes to eight slots side by side, which are found by a multiplication (Knuth, 6.4, Fibonacci hashing).
  [[nodiscard]] std::size_t home_of(T const* x) const noexcept {
    auto const address = reinterpret_cast<std::uintptr_t>(x);
    auto const mixed = (address >> 10) * 0x9E3779B97F4A7C15U;
    return ((mixed >> 32) * 8 + (address >> 7) % 8) & (size_ - 1);
  }
  [[nodiscard]] std::size_t after(std::size_t at) const noexcept { return (at + 1) & (size_ - 1); }
  void place(T* x) noexcept {
    std::size_t at = home_of(x);
    while (slots_[at] != nullptr) at = after(at);
    slots_[at] = x;
  }
  void grow() {
    std::size_t const before = size_;
    std::size_t const size = before == 0 ? 16 : 2 * before;
    auto old = std::exchange(slots_, std::unique_ptr<T*[]>{new T* [size] {}});
    size_ = size;
    for (std::size_t i = 0; i < before; ++i)
      if (old[i] != nullptr) place(old[i]);
  }

  std::unique_ptr<T*[]> slots_{};
  std::size_t size_ = 0;  // a power of two; at most half of it is taken
  std::size_t count_ = 0;
};

}  // namespace errand::detail
