// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// by_value(): a callable that takes values of its own with it to another process.
#pragma once

#include <errand/detail/invoke.hpp>
#include <errand/detail/process_wire.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

namespace errand {

namespace detail {

/// A closure that crosses as its bytes.
template <class F>
struct carried_closure {
  F function;
  template <class... Args>
  auto operator()(Args&&... args) -> std::invoke_result_t<F&, Args...> {
    return function(std::forward<Args>(args)...);
  }
};

/// A function with its first arguments, which cross as any argument does.
template <class F, class... Bound>
struct bound_function {
  F function;
  std::tuple<Bound...> bound;
  template <class... Args>
  auto operator()(Args&&... args) -> std::invoke_result_t<F&, Bound const&..., Args...> {
    return std::apply(
        [&](Bound const&... first) -> decltype(auto) { return call(function, first..., std::forward<Args>(args)...); },
        bound);
  }
};

}  // namespace detail

/// Says that a lambda's captures may be copied to another process byte by byte: `async(processes, by_value([n] { … }))`.
/// Right for captures by value of numbers and plain structs. A mistake, which no compiler sees, for [&], [this] and
/// captured pointers, views and iterators: in the other process they point to nothing, or to a picture of what was there
/// when the workers were prepared. What is not trivially copyable (a string, a vector) is refused: use the form below.
/// The bytes go with every call, in map with every message.
template <class F>
constexpr auto by_value(F closure) {
  static_assert(std::is_trivially_copyable_v<F>,
                "errand::by_value: this lambda captures something that is not trivially copyable, a string or a vector: "
                "make it a parameter and write by_value(lambda, value), or pass it as an argument");
  static_assert(!std::is_pointer_v<F> && !std::is_member_pointer_v<F>,
                "errand::by_value: a plain function crosses as it is, without by_value");
  return detail::carried_closure<F>{closure};
}

/// f, a function or a lambda that captures nothing, with its first parameters settled: each call of the result passes
/// copies of `first` and of `more`, sent as arguments are, before its own arguments. For what each element of a map needs:
/// `map(processes, xs, by_value(f, table))`.
template <class F, class First, class... More>
constexpr auto by_value(F f, First&& first, More&&... more) {
  return detail::bound_function<F, std::decay_t<First>, std::decay_t<More>...>{
      f, {std::forward<First>(first), std::forward<More>(more)...}};
}

}  // namespace errand
