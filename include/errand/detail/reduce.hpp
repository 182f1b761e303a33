// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: parallel
//
// reduce: each runner of the loop folds the neighbours that it is given into one partial result, and begins another where
// its elements have no longer followed each other. When all have ended, the partial results are combined in their order. So
// the operands never change places, and no neutral element is needed. Included by group.hpp.
#pragma once

#include <errand/task.hpp>

#include <vector>

namespace errand::detail {

/// The elements [begin, end), folded.
struct partial_result {
  std::size_t begin;
  std::size_t end;
  partial_result* next;
};
[[nodiscard]] std::vector<partial_result*> in_order(partial_result* list);

/// What reduce() uses if there is nothing to be done to the elements.
struct unchanged {
  template <class X>
  X&& operator()(X&& x) const noexcept {
    return static_cast<X&&>(x);
  }
};

template <class T, class Elements, class Op, class Transform>
class reduction {
  struct partial : partial_result {
    T value;
  };

 public:
  reduction(T& init, Elements& elements, Op& op, Transform& transform) noexcept
      : init_{init}, elements_{elements}, op_{op}, transform_{transform} {}
  reduction(reduction const&) = delete;
  reduction& operator=(reduction const&) = delete;
  ~reduction() {
    for (partial_result* p = made_.load(std::memory_order_relaxed); p != nullptr;)
      delete static_cast<partial*>(std::exchange(p, p->next));
  }

  /// One iteration. `own` belongs to the runner that calls: the partial result that it is at.
  void operator()(std::size_t i, void*& own) {
    take(call(transform_, elements_[i]), i, own);  // in one expression: it may refer to an element made for the call
  }

  /// After the last iteration, of one or more: neighbours with neighbours, until one is left.
  T gather() {
    auto const all = in_order(made_.load(std::memory_order_relaxed));
    auto const value = [&](std::size_t i) -> T& { return static_cast<partial*>(all[i])->value; };
    for (std::size_t gap = 1; gap < all.size(); gap *= 2)
      for (std::size_t i = 0; i + gap < all.size(); i += 2 * gap) fold(value(i), std::move(value(i + gap)));
    return std::move(value(0));
  }

 private:
  template <class X>
  void take(X&& operand, std::size_t i, void*& own) {
    auto* const mine = static_cast<partial*>(own);
    if constexpr (!std::is_same_v<std::remove_cvref_t<X>, T> || !std::is_invocable_v<Op&, T, X>) {
      take(static_cast<T>(std::forward<X>(operand)), i, own);
    } else if (mine != nullptr && mine->end == i) {
      fold(mine->value, std::forward<X>(operand));
      ++mine->end;
    } else if (i == 0) {
      own = add(0, combined(init_, std::forward<X>(operand)));
    } else {
      own = add(i, std::forward<X>(operand));
    }
  }
  template <class X>
  T combined(T& left, X&& right) {
    return static_cast<T>(op_(std::move(left), std::forward<X>(right)));
  }
  template <class X>
  void fold(T& left, X&& right) {
    left = combined(left, std::forward<X>(right));
  }
  // The list is read when all who add to it have been joined: nothing is published by it.
  template <class X>
  partial* add(std::size_t i, X&& value) {
    auto* const p = new partial{{i, i + 1, made_.load(std::memory_order_relaxed)}, std::forward<X>(value)};
    while (!made_.compare_exchange_weak(p->next, p, std::memory_order_relaxed)) {
    }
    return p;
  }

  T& init_;
  Elements& elements_;
  Op& op_;
  Transform& transform_;
  std::atomic<partial_result*> made_{nullptr};
};

}  // namespace errand::detail
