// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// What the templates of <errand/io.hpp> must see: bytes on their way to a file, owned and without their type; and the calls
// that start an operation, compiled once (src/io/whole_file.cpp).
#pragma once

#include <errand/task.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace errand {

/// What is certain when the future of a write says that it has ended well.
enum class durability : std::uint8_t {
  cached,  // the system has the bytes: every program sees them, a loss of power may still lose them
  synced,  // and they are on the disk (fdatasync)
  atomic,  // and whoever reads the file, now or after a loss of power, finds the old contents or the new, never half
};

namespace detail {

/// Types whose objects are bytes of a file as they lie in memory.
template <class T>
concept byte_like = std::same_as<T, char> || std::same_as<T, signed char> || std::same_as<T, unsigned char> ||
                    std::same_as<T, char8_t> || std::same_as<T, std::byte>;

/// What is given away: moved in as it is.
template <class Bytes>
constexpr bool is_string_given_away = std::is_same_v<Bytes, std::string>;
template <class Bytes>
constexpr bool is_vector_given_away = false;
template <byte_like T>
constexpr bool is_vector_given_away<std::vector<T>> = true;

template <class Bytes>
concept range_of_bytes =
    std::ranges::contiguous_range<Bytes> && std::ranges::sized_range<Bytes> &&
    byte_like<std::remove_cv_t<std::remove_reference_t<std::ranges::range_reference_t<Bytes>>>>;

/// What may be written. (`Bytes` as a forwarding reference deduces it.)
template <class Bytes>
concept writable_bytes = std::is_convertible_v<Bytes&&, std::string_view> ||
                         std::is_convertible_v<Bytes&&, std::u8string_view> || range_of_bytes<Bytes>;

/// Bytes to be written, owned: a string, or a vector of whatever type behind a pointer.
class file_bytes {
 public:
  template <class Bytes>
  static file_bytes of(Bytes&& bytes) {
    file_bytes made;
    if constexpr (is_string_given_away<Bytes>) {
      made.text_ = std::move(bytes);
    } else if constexpr (is_vector_given_away<Bytes>) {
      made.others_ = {new Bytes(std::move(bytes)), [](void* v) { delete static_cast<Bytes*>(v); }};
      auto const& there = *static_cast<Bytes const*>(made.others_.get());
      made.seen_ = {reinterpret_cast<char const*>(there.data()), there.size()};
    } else if constexpr (std::is_convertible_v<Bytes&&, std::string_view>) {
      std::string_view const text = std::forward<Bytes>(bytes);
      made.text_ = text;
    } else if constexpr (std::is_convertible_v<Bytes&&, std::u8string_view>) {
      std::u8string_view const text = std::forward<Bytes>(bytes);
      made.text_.assign(reinterpret_cast<char const*>(text.data()), text.size());
    } else {
      made.text_.assign(reinterpret_cast<char const*>(std::ranges::data(bytes)), std::ranges::size(bytes));
    }
    return made;
  }
  [[nodiscard]] std::string_view view() const noexcept { return others_ != nullptr ? seen_ : std::string_view{text_}; }

 private:
  std::string text_;
  std::unique_ptr<void, void (*)(void*)> others_{nullptr, nullptr};
  std::string_view seen_;
};

enum class write_kind : std::uint8_t { replace, append };

[[nodiscard]] future<std::string> start_read(std::filesystem::path from_file, std::source_location from);
[[nodiscard]] future<void> start_write(std::filesystem::path to, file_bytes bytes, write_kind kind, durability how,
                                       std::source_location from);

}  // namespace detail
}  // namespace errand
