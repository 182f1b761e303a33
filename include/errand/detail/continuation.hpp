// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: coro
//
// then(): a task that is given to its pool when another one has ended, the next link of a chain. Its record is that of an
// ordinary task, or of a coroutine, with a waiter beside it that is hooked to what it waits for. The untyped half is in
// src/sched/link.cpp; who owns what, and when, in "Composites" of src/task/README.md.
#pragma once

#include <errand/detail/coroutine.hpp>
#include <errand/detail/shared_future.hpp>

namespace errand::detail {

/// What a link has beside callable and result.
struct link : waiter {
  record* self = nullptr;
  record* input = nullptr;    // what it waits for, with its handle or a share of that; under self's lock
  bool input_shared = false;  // a share: a stop of the link is none of its business
};

/// Before anything is given up: starts the default pool if the link will need it. Throws std::system_error; std::logic_error if its
/// place is a queue of the process that forked this one.
void prepare_link(record& input, place_core* where);
/// Hooks `r`, whose link is `l`, to its input, whose handle (or share of it) it takes. From now on it is a task of `where`; of
/// the pool where its input runs, if that is null.
void start_link(record& r, link& l, record& input, bool shared, place_core* where) noexcept;
/// record_verb::stop, record_verb::inputs, and the last thing of record_verb::drop.
void stop_link(link& l) noexcept;
void show_input(link& l) noexcept;
void leave_input(link& l) noexcept;
/// The input was used: lets go of it, with code of the user's. By the link's own flow.
void release_input(link& l) noexcept;

[[noreturn]] void throw_inplace_link();

template <class F, class... Value>
concept continues_plainly = std::is_invocable_v<std::decay_t<F>, Value...>;
template <class F, class... Value>
concept continues_with_token =
    !continues_plainly<F, Value...> && std::is_invocable_v<std::decay_t<F>, std::stop_token, Value...>;

/// The callable f of then(f) as a task's body. `Value` is what it is called with: how it sees its input's value, or nothing.
template <class T, class F, class... Value>
class continuation {
 public:
  static constexpr bool with_token = continues_with_token<F, Value...>;

  template <class From>
  continuation(link& l, From&& f) : link_{l}, f_{std::forward<From>(f)} {}
  continuation(continuation&&) = default;
  continuation& operator=(continuation&&) = delete;
  /// What it was called with stays until it goes: `f` may have taken it by reference, into a coroutine.
  ~continuation() {
    if (called_) release_input(link_);
  }

  decltype(auto) operator()()
    requires(!with_token)
  {
    called_ = true;
    return call(std::move(f_), value<Value>()...);
  }
  decltype(auto) operator()(std::stop_token token)
    requires with_token
  {
    called_ = true;
    return call(std::move(f_), std::move(token), value<Value>()...);
  }
  /// As what makes a coroutine, which refers to `f` as long as it lives.
  decltype(auto) operator()(record& r) {
    called_ = true;
    if constexpr (with_token)
      return call(f_, stop_token_of(r), value<Value>()...);
    else
      return call(f_, value<Value>()...);
  }

 private:
  template <class V>
  V&& value() {
    auto& input = static_cast<result_record<T>&>(*link_.input);
    if constexpr (std::is_reference_v<T>)
      return static_cast<V&&>(*input.value_);
    else
      return static_cast<V&&>(input.value_);
  }

  link& link_;
  F f_;
  bool called_ = false;
};

template <class Record>
struct link_record final : Record, link {
  template <class Body, class F>
  link_record(std::type_identity<Body>, std::source_location from, F&& f)
      : Record{from, Body{static_cast<link&>(*this), std::forward<F>(f)}} {
    this->act_ = &act;
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<link_record*>(base);
    switch (verb) {
      case record_verb::run:
      case record_verb::end:
        return Record::act(base, verb);
      case record_verb::drop:
        Record::act(base, verb);
        leave_input(*self);
        return true;
      case record_verb::destroy:
        self->~link_record();
        Record::packed ? deallocate_frame(self, sizeof(link_record)) : deallocate_record(self, sizeof(link_record));
        return true;
      case record_verb::stop:
        stop_link(*self);
        return true;
      case record_verb::inputs:
        show_input(*self);
        return true;
    }
    return true;
  }
};

template <class Body>
struct continued {
  using result = decltype(std::declval<Body&>()(std::declval<record&>()));
  using value = kept_result<result>;
  using record_type = function_record<record, value, Body>;
};
template <class Body>
  requires is_task<decltype(std::declval<Body&>()(std::declval<record&>()))>
struct continued<Body> {
  using result = decltype(std::declval<Body&>()(std::declval<record&>()));
  using value = typename result::value_type;
  using record_type = coroutine_record<record, value, Body>;
};

/// then(): `take` gives up the caller's handle, or its share, once nothing can fail any more.
template <class Body, class T, class F, class Take>
auto continue_with(result_record<T>& input, bool shared, place_core* where, F&& f, std::source_location from,
                   Take take) {
  using made = link_record<typename continued<Body>::record_type>;
  prepare_link(input, where);
  auto* const r = make_record<made>(std::type_identity<Body>{}, from, std::forward<F>(f));
  take();
  start_link(*r, *r, input, shared, where);
  return future_access::make<typename continued<Body>::value>(r);
}

}  // namespace errand::detail
