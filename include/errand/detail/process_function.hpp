// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// How a call becomes a message and is made in the worker. The address of an instantiation of run_process_call tells the
// worker which types these are. `callee<F>` says how a function crosses, `wire<T>` (process_wire.hpp) how a value does.
// Used by async and map of <errand/process.hpp>.
#pragma once

#include <errand/detail/by_value.hpp>
#include <errand/detail/process_job.hpp>
#include <errand/detail/process_wire.hpp>

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace errand::detail {

// ---- functions -------------------------------------------------------------------------------------------------------

using any_function = void (*)();

/// target(f): what has an address in a module, or null; put(byte_writer&, f): the rest; get(byte_reader&, target): both
/// together, in the worker.
template <class F>
struct callee;

template <class F>
concept function_travels = requires { sizeof(callee<F>); };

template <class F>
  requires(std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>)
struct callee<F> {
  static any_function target(F f) noexcept { return reinterpret_cast<any_function>(f); }
  static void put(byte_writer&, F) noexcept {}
  static F get(byte_reader&, any_function target) noexcept { return reinterpret_cast<F>(target); }
};

/// A lambda without captures, or a functor without members: the type says all.
template <class F>
  requires(std::is_class_v<F> && std::is_empty_v<F> && std::is_default_constructible_v<F>)
struct callee<F> {
  static any_function target(F const&) noexcept { return nullptr; }
  static void put(byte_writer&, F const&) noexcept {}
  static F get(byte_reader&, any_function) { return F{}; }
};

/// As the Itanium C++ ABI has it (2.3): an address or an offset into the vtable, and an adjustment. The bit that tells
/// which stands in the address, on ARM in the adjustment.
template <class F>
  requires std::is_member_function_pointer_v<F>
struct callee<F> {
  struct parts {
    std::uintptr_t pointer;
    std::ptrdiff_t adjustment;
  };
  static bool is_virtual(parts const& p) noexcept {
#if defined(__aarch64__) || defined(__arm__)
    return (p.adjustment & 1) != 0;
#else
    return (p.pointer & 1) != 0;
#endif
  }
  static any_function target(F f) noexcept {
    auto const p = std::bit_cast<parts>(f);
    return is_virtual(p) ? nullptr : reinterpret_cast<any_function>(p.pointer);
  }
  static void put(byte_writer& to, F f) noexcept { to.put_plain(std::bit_cast<parts>(f)); }
  static F get(byte_reader& from, any_function target) {
    auto p = from.get_plain<parts>();
    if (!is_virtual(p)) p.pointer = reinterpret_cast<std::uintptr_t>(target);
    return std::bit_cast<F>(p);
  }
};

template <class F>
  requires std::is_member_object_pointer_v<F>
struct callee<F> {
  static any_function target(F) noexcept { return nullptr; }
  static void put(byte_writer& to, F f) noexcept { to.put_plain(f); }
  static F get(byte_reader& from, any_function) { return from.get_plain<F>(); }
};

template <class F>
struct callee<carried_closure<F>> {
  static any_function target(carried_closure<F> const&) noexcept { return nullptr; }
  static void put(byte_writer& to, carried_closure<F> const& f) noexcept { to.put_plain(f.function); }
  static carried_closure<F> get(byte_reader& from, any_function) { return {from.get_plain<F>()}; }
};

template <class F, class... Bound>
  requires function_travels<F>
struct callee<bound_function<F, Bound...>> {
  using values = std::tuple<Bound...>;
  static any_function target(bound_function<F, Bound...> const& f) noexcept { return callee<F>::target(f.function); }
  static void put(byte_writer& to, bound_function<F, Bound...> const& f) {
    callee<F>::put(to, f.function);
    to.give_away(false);
    std::apply([&](Bound const&... each) { (to.put(each), ...); }, f.bound);
  }
  static bound_function<F, Bound...> get(byte_reader& from, any_function target) {
    F f = callee<F>::get(from, target);
    return {std::move(f), std::tuple<Bound...>{from.get<Bound>()...}};
  }
};

// ---- what cannot cross, in one sentence each ---------------------------------------------------------------------------

template <class T>
constexpr bool check_value() {
  if constexpr (std::is_void_v<T>) {
    return true;
  } else if constexpr (points_elsewhere<T>) {
    static_assert(!points_elsewhere<T>,
                  "errand: what crosses to another process is no pointer, reference, iterator or view (span, "
                  "string_view): send what it refers to, of a literal a std::string; the type is named beside this "
                  "message");
    return false;
  } else if constexpr (capturing_lambda<T>) {
    static_assert(!capturing_lambda<T>,
                  "errand: a lambda with captures may hold references, which mean nothing in another process: wrap it in "
                  "errand::by_value, or pass what it needs by argument");
    return false;
  } else {
    static_assert(sendable<T>,
                  "errand: values of this type, named beside this message, cannot be sent to another process: it is "
                  "neither trivially copyable nor a string, a vector, a pair or a tuple of such. #include "
                  "<errand/serialize.hpp> and, if it is a type of your own, give it `template <class Archive> void "
                  "serialize(Archive& archive) { archive(first_member, second_member); }`");
    return sendable<T>;
  }
}

template <class F>
constexpr bool check_function() {
  static_assert(function_travels<F>,
                "errand: a function for another process is a plain function, a member function or a lambda that captures "
                "nothing; what it needs is passed by argument, or the lambda, if it captures by value, is wrapped in "
                "errand::by_value");
  return function_travels<F>;
}
template <class F>
inline constexpr bool checked_function = check_function<F>();
template <class F, class... Bound>
inline constexpr bool checked_function<bound_function<F, Bound...>> = check_function<F>() && (check_value<Bound>() && ...);

/// False after it has said why.
template <class R, class F, class... Args>
constexpr bool check_process_call() {
  return checked_function<F> && check_value<R>() && (check_value<Args>() && ...);
}

// ---- in the program: the call as a message ---------------------------------------------------------------------------

template <class From>
void put_argument(byte_writer& to, std::remove_reference_t<From>& from) {
  to.give_away(!std::is_lvalue_reference_v<From>);
  to.put<std::decay_t<From>>(from);
}
/// An rvalue argument is moved from, like anywhere: what it held is now the message's.
template <class From>
void take_over(std::remove_reference_t<From>& from) {
  using T = std::decay_t<From>;
  if constexpr (!std::is_reference_v<From> && !std::is_const_v<From> && !goes_as_bytes<T> && std::is_move_constructible_v<T>)
    [[maybe_unused]] T const taken(std::move(from));
}

/// Throws what serialising an argument throws, and what process_payload::room() does.
template <class F, class... From>
void lay_out_call(process_job& job, F const& f, From&&... args) {
  job.target = callee<F>::target(f);
  lay_out(
      job.arguments.pieces, &travels_to_worker, [&](std::size_t bytes) { return job.arguments.room(bytes); },
      [&](byte_writer& to) {
        callee<F>::put(to, f);
        (put_argument<From>(to, args), ...);
      });
  (take_over<From>(args), ...);
}

/// The value of a reply.
template <class R>
R read_reply(process_message const& reply) {
  byte_reader from{reply};
  R value = from.get<R>();
  from.finish();
  return value;
}

// ---- in the worker ---------------------------------------------------------------------------------------------------

template <class Put>
void lay_out_reply(process_call& request, Put const& put) {
  lay_out(
      request.reply_pieces, &travels_to_parent,
      [&](std::size_t bytes) { return request.reply_room(request, bytes); }, put);
}

/// One call.
template <class R, class F, class... Args>
void run_process_call(process_call& request) {
  byte_reader from{request.arguments};
  F function = callee<F>::get(from, request.target);
  std::tuple<Args...> arguments{from.get<Args>()...};
  from.finish();
  if constexpr (std::is_void_v<R>) {
    std::apply(function, std::move(arguments));
  } else {
    R const result = std::apply(function, std::move(arguments));
    lay_out_reply(request, [&](byte_writer& to) { to.put(result); });
  }
}

/// One after the other, for map; for for_each with R = void, whatever f returns.
template <class R, class F, class X>
void run_process_chunk(process_call& request) {
  byte_reader from{request.arguments};
  F function = callee<F>::get(from, request.target);
  auto const count = from.get<std::size_t>();
  if constexpr (std::is_void_v<R>) {
    for (std::size_t i = 0; i < count; ++i) {
      if (request.element_begins != nullptr) request.element_begins(request);
      static_cast<void>(call(function, from.get<X>()));
    }
    from.finish();
  } else {
    struct kept {  // so that a vector of bool is one of bytes
      R value;
    };
    std::vector<kept> results;
    results.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (request.element_begins != nullptr) request.element_begins(request);
      results.push_back({call(function, from.get<X>())});
    }
    from.finish();
    lay_out_reply(request, [&](byte_writer& to) {
      for (kept const& result : results) to.put(result.value);
    });
  }
}

}  // namespace errand::detail
