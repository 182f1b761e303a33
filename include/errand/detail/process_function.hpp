// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// How a call becomes bytes and back: arguments and results are copied as they lie in memory, strings with their length.
// The address of an instantiation of run_process_call tells the worker which types these are. Used by async and map of
// <errand/process.hpp>.
#pragma once

#include <errand/detail/process_job.hpp>

#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace errand::detail {

/// A pointer, a view or a reference would point into the memory of another process.
template <class T>
inline constexpr bool points_elsewhere =
    std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T>;
template <class Char, class Traits>
inline constexpr bool points_elsewhere<std::basic_string_view<Char, Traits>> = true;

template <class T>
inline constexpr bool sendable = std::is_same_v<T, std::string> ||
                                 (std::is_trivially_copyable_v<T> && !points_elsewhere<T>);
template <>
inline constexpr bool sendable<void> = true;

/// What has an address that means the same in the worker, or no state at all.
template <class F>
inline constexpr bool is_function_pointer = std::is_pointer_v<F>&& std::is_function_v<std::remove_pointer_t<F>>;
template <class F>
inline constexpr bool stateless = is_function_pointer<F> || (std::is_empty_v<F> && std::is_default_constructible_v<F>);

/// One clear sentence for each thing that cannot cross.
template <class R, class F, class... Args>
constexpr void check_process_call() {
  static_assert(stateless<F>,
                "errand: a function for another process is a plain function or a lambda that captures nothing; what it "
                "needs is passed by argument");
  static_assert((sendable<Args> && ...),
                "errand: an argument for another process is trivially copyable (and no pointer or view) or a "
                "std::string");
  static_assert(sendable<R>,
                "errand: a result from another process is void, trivially copyable (and no pointer or view) or a "
                "std::string");
}

template <class T>
std::size_t sent_bytes(T const& value) noexcept {
  if constexpr (std::is_same_v<T, std::string>)
    return sizeof(std::size_t) + value.size();
  else
    return sizeof(T);
}

class byte_writer {
 public:
  explicit byte_writer(std::byte* to) noexcept : to_{to} {}
  template <class T>
  void put(T const& value) noexcept {
    if constexpr (std::is_same_v<T, std::string>) {
      put(value.size());
      copy(value.data(), value.size());
    } else {
      copy(std::addressof(value), sizeof value);
    }
  }

 private:
  void copy(void const* from, std::size_t bytes) noexcept {
    if (bytes != 0) std::memcpy(to_, from, bytes);
    to_ += bytes;
  }
  std::byte* to_;
};

/// Throws std::runtime_error if the bytes end too soon: a crashing job may have written over them.
class byte_reader {
 public:
  byte_reader(std::byte const* from, std::size_t bytes) noexcept : from_{from}, left_{bytes} {}
  template <class T>
  T get() {
    if constexpr (std::is_same_v<T, std::string>) {
      auto const size = get<std::size_t>();
      return {reinterpret_cast<char const*>(take(size)), size};
    } else {
      std::array<std::byte, sizeof(T)> bytes;
      std::memcpy(bytes.data(), take(sizeof(T)), sizeof(T));
      return std::bit_cast<T>(bytes);
    }
  }

 private:
  std::byte const* take(std::size_t bytes) {
    if (bytes > left_) throw std::runtime_error{"errand: the message of a worker process was overwritten"};
    left_ -= bytes;
    return std::exchange(from_, from_ + bytes);
  }
  std::byte const* from_;
  std::size_t left_;
};

template <class F>
F callee_of(process_call const& call) noexcept {
  if constexpr (is_function_pointer<F>)
    return reinterpret_cast<F>(call.target);
  else
    return F{};
}

template <class F>
void name_callee(process_job& job, [[maybe_unused]] F const& f) noexcept {
  if constexpr (is_function_pointer<F>) job.target = reinterpret_cast<void (*)()>(f);
}

/// In the worker: one call.
template <class R, class F, class... Args>
void run_process_call(process_call& call) {
  byte_reader from{call.arguments, call.argument_size};
  std::tuple<Args...> arguments{from.get<Args>()...};
  if constexpr (std::is_void_v<R>) {
    std::apply(callee_of<F>(call), std::move(arguments));
  } else {
    R const result = std::apply(callee_of<F>(call), std::move(arguments));
    byte_writer{call.reply_room(call, sent_bytes(result))}.put(result);
  }
}

/// In the worker: one after the other, for map; for for_each with R = void, whatever f returns.
template <class R, class F, class X>
void run_process_chunk(process_call& call) {
  byte_reader from{call.arguments, call.argument_size};
  auto const count = from.get<std::size_t>();
  if constexpr (std::is_void_v<R>) {
    for (std::size_t i = 0; i < count; ++i) {
      if (call.element_begins != nullptr) call.element_begins(call);
      static_cast<void>(callee_of<F>(call)(from.get<X>()));
    }
  } else {
    struct kept {  // so that a vector of bool is one of bytes
      R value;
    };
    std::vector<kept> results;
    results.reserve(count);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (call.element_begins != nullptr) call.element_begins(call);
      results.push_back({callee_of<F>(call)(from.get<X>())});
      bytes += sent_bytes(results.back().value);
    }
    byte_writer to{call.reply_room(call, bytes)};
    for (kept const& result : results) to.put(result.value);
  }
}

}  // namespace errand::detail
