// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// The typed halves of a completion record: room for the result (what a future sees) and, beside it, the callable
// with its arguments (what only the worker sees). The callable is destroyed as soon as it has returned, so what it
// captured is released before anybody learns that the task has ended.
#pragma once

#include <errand/detail/errors.hpp>
#include <errand/detail/invoke.hpp>
#include <errand/detail/record.hpp>

#include <new>
#include <type_traits>

namespace errand::detail {

[[nodiscard]] std::stop_token stop_token_of(record& r);

struct unit {};
/// How a result of type T is kept: nothing for void, a pointer for a reference.
template <class T>
using stored = std::conditional_t<std::is_void_v<T>, unit,
                                  std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

/// Room for one; void needs none.
template <class T>
struct value_room {
  value_room() noexcept {}
  ~value_room() {}
  using stored_type = stored<T>;
  union {
    stored_type value_;
  };
};
template <>
struct value_room<void> {
  using stored_type = unit;
  static constexpr unit value_{};
};

/// `Base` is record, or a kind of record: a group's members carry links.
template <class T, class Base = record>
struct result_record : Base, value_room<T> {
  using typename value_room<T>::stored_type;
  using value_room<T>::value_;

  result_record(record::act_function act, std::source_location from) noexcept : Base{act, from} {}
  ~result_record() { drop_value(); }

  void drop_value() noexcept {
    if (std::exchange(this->has_value_, false)) value_.~stored_type();
  }

  /// Builds the result from what `make()` returns, in its place: it need be neither movable nor assignable.
  template <class Make>
  void set_value_from(Make&& make) {
    if constexpr (std::is_void_v<T>) {
      make();
    } else if constexpr (std::is_reference_v<T>) {
      auto&& made = make();
      ::new (static_cast<void*>(std::addressof(value_))) stored_type{std::addressof(made)};
    } else {
      ::new (static_cast<void*>(std::addressof(value_))) stored_type(make());
    }
    this->has_value_ = true;
  }
  T take() {
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return std::move(value_);
  }
};

/// Calls `body` and keeps what comes of it: its value, its exception, or the fact that a stop ended it.
template <class T, class Base, class Body>
void run_into(result_record<T, Base>& result, Body&& body) noexcept {
  try {
    result.set_value_from(body);
  } catch (operation_cancelled const&) {
    result.stopped_ = true;
  } catch (...) {
    result.error_ = std::current_exception();
  }
}

template <class Base, class T, class F, class... Args>
struct function_record : result_record<T, Base> {
  template <class Callable, class... From>
  function_record(std::source_location from, Callable&& function, From&&... args)
      : result_record<T, Base>{&act, from},
        body_{std::forward<Callable>(function), std::tuple<Args...>(std::forward<From>(args)...)} {}
  ~function_record() { drop_body(); }

 protected:
  static bool act(record* base, record_verb verb) noexcept {
    auto* self = static_cast<function_record*>(base);
    switch (verb) {
      case record_verb::end:  // coroutines only
        return true;
      case record_verb::run:
        run_into<T>(*self, [self]() -> T {
          return std::apply(
              [self](Args&... args) -> T {
                if constexpr (wants_stop_token<F, Args...>)
                  return call(std::move(self->body_.function), stop_token_of(*self), std::move(args)...);
                else
                  return call(std::move(self->body_.function), std::move(args)...);
              },
              self->body_.arguments);
        });
        self->drop_body();
        return true;
      case record_verb::drop:
        self->drop_body();
        self->drop_value();
        return true;
      case record_verb::destroy:
        self->~function_record();
        deallocate_record(self, sizeof(function_record));
        return true;
      case record_verb::stop:
      case record_verb::inputs:
        return true;  // it stands for itself alone
    }
    return true;
  }

 private:
  struct body_type {
    F function;
    [[no_unique_address]] std::tuple<Args...> arguments;
  };

  void drop_body() noexcept {
    if (std::exchange(this->body_alive_, false)) body_.~body_type();
  }

  union {
    body_type body_;
  };
};

/// Gives a record's memory back if what is built in it throws.
template <class Record, class... From>
Record* make_record(From&&... from) {
  struct guard {
    void* memory = Record::packed ? allocate_frame(sizeof(Record)) : allocate_record(sizeof(Record));
    ~guard() {
      if (memory == nullptr) return;
      Record::packed ? deallocate_frame(memory, sizeof(Record)) : deallocate_record(memory, sizeof(Record));
    }
  } block;
  static_assert(alignof(Record) <= 64, "errand: callables, arguments and results may be aligned to 64 bytes at most");
  auto* made = ::new (block.memory) Record(std::forward<From>(from)...);
  block.memory = nullptr;
  return made;
}

}  // namespace errand::detail
