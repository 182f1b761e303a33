// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: parallel
//
// when_all and when_any: a record with no body of its own that stands for some tasks, its inputs, and ends when the last of
// them has ended. Here the typed half: what the value is made of. Who decides, who stops whom, who completes: when.cpp, and
// "Composites" in src/task/README.md.
#pragma once

#include <errand/detail/future.hpp>

#include <array>
#include <iterator>
#include <memory>
#include <variant>
#include <vector>

namespace errand {

/// What when_any() gives: which one was first to succeed, counted from 0, and its value.
template <class T>
struct any_result {
  std::size_t index;
  T value;
};
template <>
struct any_result<void> {
  std::size_t index;
};

namespace detail {

struct when_state;

struct when_input : waiter {
  when_state* whole = nullptr;
  record* input = nullptr;  // with its handle
};

struct when_state {
  static constexpr std::size_t nobody = SIZE_MAX;

  record* self = nullptr;
  when_input* inputs = nullptr;
  std::size_t count = 0;
  bool any = false;                                  // ends well with the first success, not with the last
  void (*gather)(when_state& s) noexcept = nullptr;  // makes the value; of when_any: from the input `decided`
  // (Y1) How many have not arrived; one more until all are hooked. Whoever brings it to zero completes.
  std::atomic<std::size_t> left{0};
  // The input that decides: the first failure of when_all, the first success of when_any. Whoever sets it stops the others.
  std::atomic<std::size_t> decided{nobody};
  std::atomic<std::size_t> first_error{nobody};  // of when_any
  bool released = false;                         // under self's lock: the inputs' handles were let go of
};

/// Hooks the record to its inputs, which are in place, and so begins it. It may be done afterwards.
void begin_when(when_state& s) noexcept;
/// record_verb::stop, record_verb::inputs, and the last thing of record_verb::drop.
void stop_inputs(when_state& s) noexcept;
void show_inputs(when_state& s) noexcept;
void leave_inputs(when_state& s) noexcept;
[[noreturn]] void throw_nothing_to_choose();

/// How a value stands in a tuple, a vector, a variant.
template <class T>
using when_value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
when_value<T> value_of_input(when_input& in) {
  auto& r = static_cast<result_record<T>&>(*in.input);
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return r.take();
}

/// `Gather::make(inputs, count, decided)` makes the value. N inputs, or any number for 0.
template <class T, class Gather, std::size_t N>
struct when_record final : result_record<T>, when_state {
  when_record(std::source_location from, std::size_t number) : result_record<T>{&act, from} {
    if constexpr (N == 0) storage_ = std::make_unique<when_input[]>(number);
    self = this;
    inputs = &storage_[0];
    count = number;
    any = Gather::any;
    when_state::gather = [](when_state& s) noexcept {
      run_into<T>(static_cast<when_record&>(s),
                  [&s]() -> T { return Gather::make(s.inputs, s.count, s.decided.load(std::memory_order_relaxed)); });
    };
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const me = static_cast<when_record*>(base);
    if (verb == record_verb::stop) stop_inputs(*me);
    if (verb == record_verb::inputs) show_inputs(*me);
    if (verb == record_verb::drop) {
      me->drop_value();
      leave_inputs(*me);
    }
    if (verb == record_verb::destroy) {
      me->~when_record();
      deallocate_record(me, sizeof(when_record));
    }
    return true;
  }

  std::conditional_t<N == 0, std::unique_ptr<when_input[]>, std::array<when_input, N == 0 ? 1 : N>> storage_;
};

template <class... Ts>
struct gather_tuple {
  static constexpr bool any = false;
  using type = std::tuple<when_value<Ts>...>;
  static type make(when_input* inputs, std::size_t, std::size_t) {
    return [inputs]<std::size_t... I>(std::index_sequence<I...>) {
      static_cast<void>(inputs);
      return type{value_of_input<Ts>(inputs[I])...};
    }(std::index_sequence_for<Ts...>{});
  }
};

template <class T>
struct gather_vector {
  static constexpr bool any = false;
  using type = std::vector<T>;
  static type make(when_input* inputs, std::size_t count, std::size_t) {
    type all;
    all.reserve(count);
    for (std::size_t i = 0; i < count; ++i) all.push_back(value_of_input<T>(inputs[i]));
    return all;
  }
};
template <>
struct gather_vector<void> {
  static constexpr bool any = false;
  using type = void;
  static void make(when_input*, std::size_t, std::size_t) {}
};

template <class T>
struct gather_first {
  static constexpr bool any = true;
  using type = any_result<T>;
  static type make(when_input* inputs, std::size_t, std::size_t decided) {
    if constexpr (std::is_void_v<T>)
      return {decided};
    else
      return {decided, value_of_input<T>(inputs[decided])};
  }
};

/// Of different types: the alternative has the number of the input.
template <class... Ts>
struct gather_variant {
  static constexpr bool any = true;
  using variant = std::variant<when_value<Ts>...>;
  using type = any_result<variant>;
  static type make(when_input* inputs, std::size_t, std::size_t decided) { return make_from<0>(inputs, decided); }

 private:
  template <std::size_t I>
  static type make_from(when_input* inputs, std::size_t decided) {
    using T = std::tuple_element_t<I, std::tuple<std::type_identity<Ts>...>>;
    if constexpr (I + 1 < sizeof...(Ts))
      if (decided != I) return make_from<I + 1>(inputs, decided);
    return {decided, variant{std::in_place_index<I>, value_of_input<typename T::type>(inputs[I])}};
  }
};

template <class First, class... Rest>
struct gather_any_of
    : std::conditional_t<(std::is_same_v<First, Rest> && ...), gather_first<First>, gather_variant<First, Rest...>> {};
template <class... Ts>
using gather_any = gather_any_of<Ts...>;

/// The futures' tasks as one that stands for them. The futures are left empty, unless this throws.
template <class Gather, class... Ts>
auto make_when([[maybe_unused]] char const* operation, std::source_location from, future<Ts>&... futures) {
  using T = typename Gather::type;
  (static_cast<void>(future_access::record_of(futures, operation)), ...);
  auto* const whole = make_record<when_record<T, Gather, sizeof...(Ts) == 0 ? 1 : sizeof...(Ts)>>(from, sizeof...(Ts));
  when_input* next = whole->inputs;
  ((next++->input = future_access::release(futures)), ...);
  begin_when(*whole);
  return future_access::make<T>(whole);
}

template <class Gather, class Range>
auto make_when_of_range(char const* operation, std::source_location from, Range& range) {
  using T = typename Gather::type;
  std::size_t count = 0;
  for (auto& f : range) {
    static_cast<void>(future_access::record_of(f, operation));
    ++count;
  }
  auto* const whole = make_record<when_record<T, Gather, 0>>(from, count);
  when_input* next = whole->inputs;
  for (auto& f : range) next++->input = future_access::release(f);
  begin_when(*whole);
  return future_access::make<T>(whole);
}

template <class>
struct awaited_type {};
template <class T>
struct awaited_type<future<T>> {
  using type = T;
};
/// The T of a range of future<T>.
template <class Range>
using awaited_in_t = typename awaited_type<std::iter_value_t<decltype(std::begin(std::declval<Range&>()))>>::type;

template <class Range>
concept future_range = requires { typename awaited_in_t<Range>; };

}  // namespace detail
}  // namespace errand
