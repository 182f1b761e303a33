// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// How a value becomes bytes and back. `wire<T>` says it for one type: trivially copyable ones go as they lie in memory,
// strings and vectors of them with their length, pairs and tuples part by part; <errand/shared_vector.hpp> and
// <errand/serialize.hpp> add theirs. Values are laid one after the other, written once if they are small and else twice:
// first to learn their size, then into memory that both processes see.
#pragma once

#include <errand/detail/process_job.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace errand::detail {

// ---- which types -----------------------------------------------------------------------------------------------------

/// The type's name has a lambda in it, as both compilers write it. There is no trait for that.
template <class T>
constexpr bool names_a_lambda() {
  std::string_view const name = __PRETTY_FUNCTION__;
  return name.find("<lambda(") != name.npos || name.find("(lambda at") != name.npos;
}
/// A lambda that captures may be trivially copyable and yet hold references: [&] is.
template <class T>
concept capturing_lambda = std::is_class_v<T> && !std::is_empty_v<T> && names_a_lambda<T>();

/// A pointer, a view, an iterator or a reference would point into the memory of another process. A pointer inside a
/// struct is not seen.
template <class T>
inline constexpr bool points_elsewhere = [] {
  if constexpr (std::is_reference_v<T> || std::is_pointer_v<T> || std::is_null_pointer_v<T> ||
                std::is_member_function_pointer_v<T> || std::is_array_v<T>)
    return true;
  else if constexpr (std::is_class_v<T>)
    return std::ranges::enable_view<T> || std::input_or_output_iterator<T> ||
           !std::is_same_v<std::unwrap_reference_t<T>, T>;
  else
    return false;
}();
template <class T, std::size_t N>
inline constexpr bool points_elsewhere<std::array<T, N>> = points_elsewhere<T>;
template <class T>
  requires std::is_trivially_copyable_v<T> && requires(T& t) { t.has_value(); }
inline constexpr bool points_elsewhere<T> = points_elsewhere<std::remove_cvref_t<decltype(*std::declval<T&>())>>;

template <class T>
concept goes_as_bytes = std::is_object_v<T> && std::is_trivially_copyable_v<T> && !points_elsewhere<T> &&
                        !capturing_lambda<T>;

/// put(byte_writer&, value), get(byte_reader&), and `ours`: whether get() runs no code of the user's.
template <class T>
struct wire;

template <class T>
concept sendable = requires { sizeof(wire<T>); };
/// Without the serialiser of <errand/serialize.hpp>.
template <class T>
concept goes_by_us = sendable<T> && requires { requires wire<T>::ours; };

// ---- bytes out, bytes in ---------------------------------------------------------------------------------------------

/// Lays bytes down as far as there is room, and counts them beyond.
class byte_writer {
 public:
  byte_writer(std::byte* to, std::size_t room, piece_list& pieces, bool (*travels)(arena_piece const&)) noexcept
      : to_{to}, room_{room}, pieces_{pieces}, travels_{travels} {}

  template <class T>
  void put(T const& value) {
    wire<T>::put(*this, value);
  }
  void put_bytes(void const* from, std::size_t bytes) noexcept {
    if (bytes != 0 && written_ <= room_ && bytes <= room_ - written_) std::memcpy(to_ + written_, from, bytes);
    written_ += bytes;
  }
  /// Of a number or the like.
  template <class T>
  void put_plain(T const& value) noexcept {
    put_bytes(std::addressof(value), sizeof value);
  }
  /// The next byte lies at a multiple of this.
  void align(std::size_t alignment) noexcept {
    static constexpr std::byte nothing[64]{};
    put_bytes(nothing, (alignment - written_ % alignment) % alignment);
  }

  /// The values put from here on are given away: shared memory that they hold may go as it is, and is no longer theirs.
  void give_away(bool given) noexcept { given_ = given; }
  /// Whether this piece goes with the message as it is, and as which one. Else its bytes have to.
  bool attach(piece_ref const& piece, std::uint32_t& index);

  [[nodiscard]] std::size_t written() const noexcept { return written_; }
  [[nodiscard]] bool fits() const noexcept { return written_ <= room_; }
  /// Ends the message: the table of its pieces.
  void finish() noexcept;

 private:
  std::byte* to_;
  std::size_t room_;
  std::size_t written_ = 0;
  piece_list& pieces_;
  bool (*travels_)(arena_piece const&);
  bool given_ = true;
};

/// What was read makes no sense: a worker has written over it. Throws std::runtime_error.
[[noreturn]] void throw_overwritten();
/// A value gave different bytes when asked for them twice. Throws std::logic_error.
[[noreturn]] void throw_unsteady(std::size_t first, std::size_t then);

/// Throws std::runtime_error if the bytes end too soon, or too late: a crashing job may have written over them. Reads
/// each byte once.
class byte_reader {
 public:
  explicit byte_reader(process_message const& message) noexcept : message_{message}, left_{message.size} {}

  template <class T>
  T get() {
    return wire<T>::get(*this);
  }
  template <class T>
  T get_plain() {
    std::array<std::byte, sizeof(T)> bytes;
    std::memcpy(bytes.data(), take(sizeof(T)), sizeof(T));
    return std::bit_cast<T>(bytes);
  }
  std::byte const* take(std::size_t bytes) {
    if (bytes > left_) throw_overwritten();
    left_ -= bytes;
    return message_.bytes + (message_.size - left_ - bytes);
  }
  void align(std::size_t alignment) { take((alignment - (message_.size - left_) % alignment) % alignment); }
  [[nodiscard]] std::size_t left() const noexcept { return left_; }

  /// The piece that came along under this number; once.
  piece_ref take_piece(std::uint32_t index) {
    if (index >= message_.piece_count || !message_.pieces[index]) throw_overwritten();
    return std::exchange(message_.pieces[index], piece_ref{});
  }
  /// All has been read.
  void finish() const {
    if (left_ != 0) throw_overwritten();
  }

 private:
  process_message const& message_;
  std::size_t left_;
};

/// Writes what put(byte_writer&) puts, once or twice, into what room(bytes) returns. The pieces that go along are left in
/// `pieces`. Throws what put throws.
template <class Room, class Put>
void lay_out(piece_list& pieces, bool (*travels)(arena_piece const&), Room const& room, Put const& put) {
  constexpr std::size_t at_once = 2048;
  std::byte scratch[at_once];
  byte_writer first{scratch, at_once, pieces, travels};
  put(first);
  first.finish();
  std::size_t const bytes = first.written();
  std::byte* const to = room(bytes);
  if (first.fits()) {
    if (bytes != 0) std::memcpy(to, scratch, bytes);
    return;
  }
  byte_writer second{to, bytes, pieces, travels};
  put(second);
  second.finish();
  if (second.written() != bytes) throw_unsteady(bytes, second.written());
}

// ---- the types themselves --------------------------------------------------------------------------------------------

template <class T>
  requires goes_as_bytes<T>
struct wire<T> {
  static constexpr bool ours = true;
  static void put(byte_writer& to, T const& value) noexcept { to.put_plain(value); }
  static T get(byte_reader& from) {
    if constexpr (std::is_same_v<T, bool>)
      return from.get_plain<std::uint8_t>() != 0;  // damaged bytes are neither true nor false
    else
      return from.get_plain<T>();
  }
};

/// From so many bytes on it is worth a system call to say that memory will be written as a whole.
inline constexpr std::size_t large_block = std::size_t{4} << 20;
/// Asks for large pages there: 100 MiB of fresh memory are then filled in a quarter of the time, most of which is page faults.
void will_be_filled(void* at, std::size_t bytes) noexcept;

/// Strings, and vectors of what goes as bytes: a length and one block.
template <class Container>
struct block_wire {
  using element = typename Container::value_type;
  static constexpr bool ours = true;
  // Messages lie at multiples of 16.
  static constexpr bool in_place = alignof(element) <= 16;

  static void put(byte_writer& to, Container const& value) noexcept {
    to.put_plain(value.size());
    if constexpr (in_place) to.align(alignof(element));
    to.put_bytes(value.data(), value.size() * sizeof(element));
  }
  static Container get(byte_reader& from) {
    auto const size = from.get_plain<std::size_t>();
    if constexpr (in_place) from.align(alignof(element));
    if (size > from.left() / sizeof(element)) throw_overwritten();
    std::byte const* const at = from.take(size * sizeof(element));
    if constexpr (in_place) {
      auto const* const first = reinterpret_cast<element const*>(at);
      if (size < large_block / sizeof(element)) return Container(first, first + size);
      Container made;
      made.reserve(size);
      will_be_filled(made.data(), size * sizeof(element));
      made.assign(first, first + size);
      return made;
    } else {
      Container made(size);
      std::memcpy(made.data(), at, size * sizeof(element));
      return made;
    }
  }
};
template <>
struct wire<std::string> : block_wire<std::string> {};
template <class T, class Allocator>
  requires(goes_as_bytes<T> && !std::is_same_v<T, bool>)
struct wire<std::vector<T, Allocator>> : block_wire<std::vector<T, Allocator>> {};

/// std::filesystem::path, by what it alone has: its header is a heavy one.
template <class T>
concept filesystem_path = requires(T const& path) {
  { path.native() } -> std::same_as<typename T::string_type const&>;
  requires std::is_same_v<typename T::string_type, std::string>;
  path.lexically_normal();
};
template <class T>
  requires filesystem_path<T>
struct wire<T> {
  static constexpr bool ours = true;
  static void put(byte_writer& to, T const& value) { to.put(value.native()); }
  static T get(byte_reader& from) { return T(from.get<std::string>()); }
};

/// Of strings and the like: element by element. Of what the serialiser writes, it writes the whole vector.
template <class T, class Allocator>
  requires((!goes_as_bytes<T> || std::is_same_v<T, bool>) && goes_by_us<T>)
struct wire<std::vector<T, Allocator>> {
  static constexpr bool ours = true;
  static void put(byte_writer& to, std::vector<T, Allocator> const& value) {
    to.put_plain(value.size());
    for (T const& element : value) to.put(element);
  }
  static std::vector<T, Allocator> get(byte_reader& from) {
    auto const size = from.get_plain<std::size_t>();
    if (size > from.left()) throw_overwritten();  // each has a byte at least
    std::vector<T, Allocator> made;
    made.reserve(size);
    for (std::size_t i = 0; i < size; ++i) made.push_back(from.get<T>());
    return made;
  }
};

/// The key of a std::map's elements is const.
template <class A, class B>
  requires(!goes_as_bytes<std::pair<A, B>> && sendable<std::remove_const_t<A>> && sendable<B>)
struct wire<std::pair<A, B>> {
  static constexpr bool ours = wire<std::remove_const_t<A>>::ours && wire<B>::ours;
  static void put(byte_writer& to, std::pair<A, B> const& value) {
    to.put<std::remove_const_t<A>>(value.first);
    to.put(value.second);
  }
  static std::pair<A, B> get(byte_reader& from) {
    return {from.get<std::remove_const_t<A>>(), from.get<B>()};  // braces: in this order
  }
};
template <class... Ts>
  requires(!goes_as_bytes<std::tuple<Ts...>> && (sendable<Ts> && ...))
struct wire<std::tuple<Ts...>> {
  static constexpr bool ours = (wire<Ts>::ours && ...);
  static void put(byte_writer& to, std::tuple<Ts...> const& value) {
    std::apply([&](auto const&... each) { (to.put(each), ...); }, value);
  }
  static std::tuple<Ts...> get(byte_reader& from) {
    return std::tuple<Ts...>{from.get<Ts>()...};  // braces: in this order
  }
};

}  // namespace errand::detail
