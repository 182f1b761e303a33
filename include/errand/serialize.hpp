// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// For arguments and results of functions in other processes that are neither plain bytes nor made of strings and vectors
// of such: the rest of the standard containers, std::optional, std::variant, smart pointers, and types of one's own that
// have one of cereal's functions (`serialize`, or `save` and `load`, as a member or beside the type). Whoever includes this
// needs cereal (Debian: libcereal-dev) to compile; nobody else does, and nothing is linked. Why apart:
// docs/decisions/0016-what-crosses.md.
#pragma once

#if !__has_include(<cereal/cereal.hpp>)
#error "<errand/serialize.hpp> needs the headers of cereal 1.3: install libcereal-dev, or add them to the include path"
#else

#include <errand/detail/process_wire.hpp>
#include <errand/shared_vector.hpp>

#include <cereal/cereal.hpp>
#include <cereal/types/array.hpp>
#include <cereal/types/bitset.hpp>
#include <cereal/types/chrono.hpp>
#include <cereal/types/complex.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/forward_list.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/polymorphic.hpp>
#include <cereal/types/queue.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/stack.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/unordered_set.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/valarray.hpp>
#include <cereal/types/variant.hpp>
#include <cereal/types/vector.hpp>

namespace errand {

/// The archives of cereal's that a message is written to and read from: what a type's `serialize` or `save` is called with,
/// and its `load`. Binary, for this machine alone, no streams. Made by errand; `archive(x, y)` is all that one calls. What a
/// serialiser throws ends the call: in async() of an argument, in get() of a result.
class process_output : public cereal::OutputArchive<process_output, cereal::AllowEmptyClassElision> {
 public:
  explicit process_output(detail::byte_writer& to)
      : cereal::OutputArchive<process_output, cereal::AllowEmptyClassElision>{this}, to_{to} {}
  void saveBinary(void const* data, std::size_t bytes) { to_.put_bytes(data, bytes); }
  detail::byte_writer& writer() noexcept { return to_; }

 private:
  detail::byte_writer& to_;
};

class process_input : public cereal::InputArchive<process_input, cereal::AllowEmptyClassElision> {
 public:
  explicit process_input(detail::byte_reader& from)
      : cereal::InputArchive<process_input, cereal::AllowEmptyClassElision>{this}, from_{from} {}
  void loadBinary(void* data, std::size_t bytes) {
    std::byte const* const at = from_.take(bytes);
    if (bytes != 0) std::memcpy(data, at, bytes);
  }
  /// A container is resized to this before its elements are read: what cannot be true must not ask for all the memory.
  /// Elements of no bytes are believed up to a million.
  void check_size(std::uint64_t elements) const {
    if (elements > from_.left() && elements > 1'000'000) detail::throw_overwritten();
  }
  detail::byte_reader& reader() noexcept { return from_; }

 private:
  detail::byte_reader& from_;
};

namespace detail {

/// Archives that nothing here is written for, to ask what cereal knows by itself.
namespace asking {
class output : public cereal::OutputArchive<output, cereal::AllowEmptyClassElision> {
 public:
  output();
};
class input : public cereal::InputArchive<input, cereal::AllowEmptyClassElision> {
 public:
  input();
};
}  // namespace asking

template <class T>
inline constexpr bool known_to_cereal = cereal::traits::is_output_serializable<T, asking::output>::value &&
                                        cereal::traits::is_input_serializable<T, asking::input>::value;

/// What cereal breaks values down to: NameValuePair and the like.
template <class T>
constexpr bool is_cereals_own() {
  return std::string_view{__PRETTY_FUNCTION__}.find("T = cereal::") != std::string_view::npos;
}

/// A struct inside a container or another struct, that has no function of cereal's and needs none.
template <class T>
concept plain_struct = std::is_class_v<T> && !is_cereals_own<T>() && goes_as_bytes<T> && !known_to_cereal<T>;

/// A std::filesystem::path, likewise, for which cereal has no function by itself.
template <class T>
concept unknown_path = filesystem_path<T> && !known_to_cereal<T>;

template <class T>
inline constexpr bool is_shared_vector = false;
template <class T>
inline constexpr bool is_shared_vector<shared_vector<T>> = true;

/// Cereal says of a container that it can be written whatever is in it; so we look inside ourselves.
template <class T>
inline constexpr bool serialisable =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || plain_struct<T> || is_shared_vector<T> ||
    (!points_elsewhere<T> && cereal::traits::is_output_serializable<T, process_output>::value &&
     cereal::traits::is_input_serializable<T, process_input>::value);
template <class... Ts>
inline constexpr bool all_serialisable = (serialisable<std::remove_cv_t<Ts>> && ...);

template <class T, class A>
inline constexpr bool serialisable<std::vector<T, A>> = all_serialisable<T>;
template <class T, class A>
inline constexpr bool serialisable<std::deque<T, A>> = all_serialisable<T>;
template <class T, class A>
inline constexpr bool serialisable<std::list<T, A>> = all_serialisable<T>;
template <class T, class A>
inline constexpr bool serialisable<std::forward_list<T, A>> = all_serialisable<T>;
template <class T, std::size_t N>
inline constexpr bool serialisable<std::array<T, N>> = all_serialisable<T>;
template <class T, class C, class A>
inline constexpr bool serialisable<std::set<T, C, A>> = all_serialisable<T>;
template <class T, class C, class A>
inline constexpr bool serialisable<std::multiset<T, C, A>> = all_serialisable<T>;
template <class T, class H, class E, class A>
inline constexpr bool serialisable<std::unordered_set<T, H, E, A>> = all_serialisable<T>;
template <class T, class H, class E, class A>
inline constexpr bool serialisable<std::unordered_multiset<T, H, E, A>> = all_serialisable<T>;
template <class K, class T, class C, class A>
inline constexpr bool serialisable<std::map<K, T, C, A>> = all_serialisable<K, T>;
template <class K, class T, class C, class A>
inline constexpr bool serialisable<std::multimap<K, T, C, A>> = all_serialisable<K, T>;
template <class K, class T, class H, class E, class A>
inline constexpr bool serialisable<std::unordered_map<K, T, H, E, A>> = all_serialisable<K, T>;
template <class K, class T, class H, class E, class A>
inline constexpr bool serialisable<std::unordered_multimap<K, T, H, E, A>> = all_serialisable<K, T>;
template <class A, class B>
inline constexpr bool serialisable<std::pair<A, B>> = all_serialisable<A, B>;
template <class... Ts>
inline constexpr bool serialisable<std::tuple<Ts...>> = all_serialisable<Ts...>;
template <class... Ts>
inline constexpr bool serialisable<std::variant<Ts...>> = all_serialisable<Ts...>;
template <>
inline constexpr bool serialisable<std::monostate> = true;
template <class T>
inline constexpr bool serialisable<std::optional<T>> = all_serialisable<T>;
template <class T, class D>
inline constexpr bool serialisable<std::unique_ptr<T, D>> = std::is_polymorphic_v<T> || all_serialisable<T>;
template <class T>
inline constexpr bool serialisable<std::shared_ptr<T>> = std::is_polymorphic_v<T> || all_serialisable<T>;

template <class T>
  requires(!goes_as_bytes<T> && !points_elsewhere<T> && !capturing_lambda<T> && !filesystem_path<T> &&
           std::is_default_constructible_v<T> && serialisable<T>)
struct wire<T> {
  static constexpr bool ours = false;
  static void put(byte_writer& to, T const& value) {
    process_output archive{to};
    archive(value);
  }
  static T get(byte_reader& from) {
    process_input archive{from};
    T value;
    archive(value);
    return value;
  }
};

}  // namespace detail

// ---- what the archives do with what cereal breaks values down to; found by name lookup -----------------------------------

template <class T>
  requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(process_output& archive, T const& value) {
  archive.saveBinary(std::addressof(value), sizeof value);
}
template <class T>
  requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(process_input& archive, T& value) {
  value = archive.reader().get<T>();
}

template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(process_output& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(process_input& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}

template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(process_output& archive, cereal::SizeTag<T>& tag) {
  archive(tag.size);
}
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(process_input& archive, cereal::SizeTag<T>& tag) {
  archive(tag.size);
  archive.check_size(tag.size);
}

template <class T>
void CEREAL_SAVE_FUNCTION_NAME(process_output& archive, cereal::BinaryData<T> const& block) {
  archive.saveBinary(block.data, static_cast<std::size_t>(block.size));
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(process_input& archive, cereal::BinaryData<T>& block) {
  archive.loadBinary(block.data, static_cast<std::size_t>(block.size));
}

template <detail::plain_struct T>
void CEREAL_SAVE_FUNCTION_NAME(process_output& archive, T const& value) {
  archive.saveBinary(std::addressof(value), sizeof value);
}
template <detail::plain_struct T>
void CEREAL_LOAD_FUNCTION_NAME(process_input& archive, T& value) {
  archive.loadBinary(std::addressof(value), sizeof value);
}

template <detail::unknown_path T>
void CEREAL_SAVE_FUNCTION_NAME(process_output& archive, T const& value) {
  archive(value.native());
}
template <detail::unknown_path T>
void CEREAL_LOAD_FUNCTION_NAME(process_input& archive, T& value) {
  std::string name;
  archive(name);
  value = T(std::move(name));
}

template <class T>
void CEREAL_SAVE_FUNCTION_NAME(process_output& archive, shared_vector<T> const& value) {
  archive.writer().put(value);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(process_input& archive, shared_vector<T>& value) {
  value = archive.reader().get<shared_vector<T>>();
}

}  // namespace errand

CEREAL_REGISTER_ARCHIVE(errand::process_output)
CEREAL_REGISTER_ARCHIVE(errand::process_input)
CEREAL_SETUP_ARCHIVE_TRAITS(errand::process_input, errand::process_output)
CEREAL_SETUP_ARCHIVE_TRAITS(errand::detail::asking::input, errand::detail::asking::output)

#endif
