// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// Calling anything callable, member pointers included, without the 39 000 lines of <functional>; and the rule that
// a callable gets a std::stop_token first only if it cannot be called without one.
#pragma once

#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace errand::detail {

template <class Member>
struct member_of;
template <class Member, class Class>
struct member_of<Member Class::*> {
  using type = Class;
};

template <class F, class... Args>
constexpr decltype(auto) call(F&& f, Args&&... args) {
  if constexpr (std::is_member_pointer_v<std::decay_t<F>>) {
    return [&]<class Object, class... Rest>(Object&& object, Rest&&... rest) -> decltype(auto) {
      auto&& target = [&]() -> decltype(auto) {
        using owner = typename member_of<std::decay_t<F>>::type;
        if constexpr (std::is_base_of_v<owner, std::remove_cvref_t<Object>>)
          return std::forward<Object>(object);
        else if constexpr (requires { *object; })
          return *std::forward<Object>(object);
        else
          return (object.get());  // std::reference_wrapper
      }();
      if constexpr (std::is_member_function_pointer_v<std::decay_t<F>>)
        return (std::forward<decltype(target)>(target).*f)(std::forward<Rest>(rest)...);
      else
        return (std::forward<decltype(target)>(target).*f);
    }(std::forward<Args>(args)...);
  } else {
    return std::forward<F>(f)(std::forward<Args>(args)...);
  }
}

/// Whether F, called with decayed copies of Args as rvalues, must be given a stop token first.
/// A concept, so that the second question is not asked where the first is answered: a generic lambda's body need not
/// compile with a token that it never gets.
template <class F, class... Args>
concept wants_stop_token = !std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...> &&
                           std::is_invocable_v<std::decay_t<F>, std::stop_token, std::decay_t<Args>...>;

template <class F, class... Args>
concept startable = std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...> || wants_stop_token<F, Args...>;

template <class F, class... Args>
struct call_result : std::invoke_result<std::decay_t<F>, std::decay_t<Args>...> {};
template <class F, class... Args>
  requires wants_stop_token<F, Args...>
struct call_result<F, Args...> : std::invoke_result<std::decay_t<F>, std::stop_token, std::decay_t<Args>...> {};
/// How a result is kept: an rvalue reference as a value, because it may refer to the task's own arguments.
template <class T>
using kept_result = std::conditional_t<std::is_rvalue_reference_v<T>, std::remove_cvref_t<T>, T>;
template <class F, class... Args>
using call_result_t = kept_result<typename call_result<F, Args...>::type>;

}  // namespace errand::detail
