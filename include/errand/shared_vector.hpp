// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// A vector for large results and arguments of functions in other processes: its elements lie in memory that both sides
// see, so a result of any size arrives without being copied. Made in the worker, returned, read in the parent, and the
// memory goes back when it is destroyed there.
#pragma once

#include <errand/detail/process_wire.hpp>

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <new>
#include <type_traits>
#include <utility>

namespace errand {

/// Elements in a row, as in a std::vector, of a trivially copyable type without pointers. From 64 KiB on they lie in memory
/// that is shared with worker processes, wherever there is such memory; below that, and in a program that has not started
/// any, in ordinary memory. To whoever uses it that makes no difference but in time:
///
/// - as a result, or part of one, it is handed over in place: a few microseconds, whatever its size;
/// - as an rvalue argument too, `async(processes, f, std::move(v))`; an lvalue is copied once, like any argument;
/// - memory that has been used once is used again, so its pages need not be made anew (at most 512 MiB, or an eighth of
///   the machine's memory, is kept so for a process; the rest goes back to the system at once).
///
/// In the parent it remains readable after the worker's death. What a function keeps of an argument beyond its end, in a
/// global, becomes a copy. What the child of a fork() has inherited from 64 KiB on is not a copy but the parent's memory: what
/// either writes there the other sees, and once the parent lets go of it, it holds something else. Copy it before the fork.
///
/// Throws std::bad_alloc, or std::system_error if the system grants no more shared memory. Different
/// objects may be used by different threads, one as std::vector.
template <class T>
class shared_vector {
  static_assert(detail::goes_as_bytes<T>,
                "errand::shared_vector: the elements are trivially copyable, and no pointers, views or lambdas");
  static_assert(alignof(T) <= 64, "errand::shared_vector: elements may be aligned to 64 bytes at most");

 public:
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using const_reference = T const&;
  using pointer = T*;
  using const_pointer = T const*;
  using iterator = T*;
  using const_iterator = T const*;

  shared_vector() = default;
  /// So many, value-initialised (zeros).
  explicit shared_vector(std::size_t size) : shared_vector(size, T{}) {}
  shared_vector(std::size_t size, T const& value) : shared_vector{room_for(size), size} {
    for (T& element : *this) element = value;
  }
  shared_vector(std::initializer_list<T> values) : shared_vector(values.begin(), values.end()) {}
  template <std::forward_iterator Iterator>
  shared_vector(Iterator first, Iterator last)
      : shared_vector{room_for(static_cast<std::size_t>(std::distance(first, last))),
                      static_cast<std::size_t>(std::distance(first, last))} {
    for (T* to = elements(); first != last; ++first, ++to) *to = *first;
  }
  /// So many with arbitrary contents, for who writes them all.
  [[nodiscard]] static shared_vector for_overwrite(std::size_t size) { return {room_for(size), size}; }

  /// A copy has memory of its own.
  shared_vector(shared_vector const& other) : shared_vector(other.begin(), other.end()) {}
  shared_vector(shared_vector&& other) noexcept
      : memory_{std::move(other.memory_)}, size_{std::exchange(other.size_, 0)} {}
  shared_vector& operator=(shared_vector other) noexcept {
    swap(other);
    return *this;
  }
  ~shared_vector() = default;
  void swap(shared_vector& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
  }

  [[nodiscard]] T* data() noexcept { return elements(); }
  [[nodiscard]] T const* data() const noexcept { return elements(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept { return memory_ ? memory_->capacity / sizeof(T) : 0; }

  T* begin() noexcept { return elements(); }
  T* end() noexcept { return elements() + size_; }
  T const* begin() const noexcept { return elements(); }
  T const* end() const noexcept { return elements() + size_; }
  T& operator[](std::size_t i) noexcept { return elements()[i]; }
  T const& operator[](std::size_t i) const noexcept { return elements()[i]; }
  T& front() noexcept { return *begin(); }
  T const& front() const noexcept { return *begin(); }
  T& back() noexcept { return end()[-1]; }
  T const& back() const noexcept { return end()[-1]; }

  /// Moves the elements if that is more than there is room for; doubling, so that a push_back costs a constant.
  void reserve(std::size_t wanted) {
    if (wanted > capacity()) move_to(room_for(wanted));
  }
  void push_back(T const& value) {
    T const kept = value;  // it may be one of ours
    if (size_ == capacity()) reserve(size_ == 0 ? 64 / sizeof(T) + 1 : 2 * size_);
    ::new (static_cast<void*>(elements() + size_)) T(kept);
    ++size_;
  }
  void pop_back() noexcept { --size_; }
  /// New ones are value-initialised.
  void resize(std::size_t size) {
    if (size > capacity()) reserve(size > 2 * size_ ? size : 2 * size_);
    for (std::size_t i = size_; i < size; ++i) elements()[i] = T{};
    size_ = size;
  }
  void clear() noexcept { size_ = 0; }

  friend bool operator==(shared_vector const& a, shared_vector const& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (!(a[i] == b[i])) return false;
    return true;
  }

 private:
  friend struct detail::wire<shared_vector>;

  shared_vector(detail::piece_ref memory, std::size_t size) noexcept : memory_{std::move(memory)}, size_{size} {}

  static detail::piece_ref room_for(std::size_t size) {
    if (size > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_alloc{};
    return size == 0 ? detail::piece_ref{} : detail::piece_ref{detail::allocate_piece(size * sizeof(T))};
  }
  void move_to(detail::piece_ref memory) noexcept {
    if (size_ != 0) std::memcpy(memory->data, elements(), size_ * sizeof(T));
    memory_ = std::move(memory);
  }
  T* elements() const noexcept { return memory_ ? reinterpret_cast<T*>(memory_->data) : nullptr; }

  detail::piece_ref memory_;
  std::size_t size_ = 0;
};

namespace detail {

template <class T>
struct wire<shared_vector<T>> {
  static constexpr bool ours = true;
  static constexpr std::uint32_t copied = ~std::uint32_t{0};

  static void put(byte_writer& to, shared_vector<T> const& value) {
    std::uint32_t index = copied;
    to.put_plain(value.size());
    bool const goes = value.memory_ && value.memory_->owner != nullptr && to.attach(value.memory_, index);
    to.put_plain(index);
    if (!goes) to.put_bytes(value.data(), value.size() * sizeof(T));
  }
  static shared_vector<T> get(byte_reader& from) {
    auto const size = from.get_plain<std::size_t>();
    auto const index = from.get_plain<std::uint32_t>();
    if (index != copied) {
      piece_ref memory = from.take_piece(index);
      if (size > memory->capacity / sizeof(T)) throw_overwritten();
      return {std::move(memory), size};
    }
    if (size > from.left() / sizeof(T)) throw_overwritten();
    auto made = shared_vector<T>::for_overwrite(size);
    std::byte const* const at = from.take(size * sizeof(T));
    if (size != 0) std::memcpy(made.data(), at, size * sizeof(T));
    return made;
  }
};

}  // namespace detail

}  // namespace errand
