// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: parallel
//
// Many at once: map gathers f of every element in input order, for_each and for_each_index do without results, reduce
// combines them to one, parallel_invoke runs different functions. The caller takes part. The first failure stops the rest,
// all that began are joined, then it is rethrown. One word, the place, chooses between serial, the pool and a pool of one's
// own. when_all and when_any make one future of several; task_group is for tasks that are started one by one.
#pragma once

#include <errand/detail/reduce.hpp>
#include <errand/detail/task_group.hpp>
#include <errand/detail/when.hpp>
#include <errand/task.hpp>

#include <concepts>
#include <iterator>
#include <vector>

namespace errand {
namespace detail {

/// What is called for every index. `own` is null at first, and whoever runs some of the indices, one by one and mostly in
/// order, has one of his own: for what the body wants to keep from one to the next.
using loop_body = void (*)(void* context, std::size_t index, void*& own);

/// Calls body(context, i, own) for every i below count, spread over the pool's workers and the calling thread; on the calling
/// thread alone, in order, if there is no pool. Returns when all have ended; rethrows the first failure.
void run_loop(place_core* where, std::size_t count, void* context, loop_body body, std::source_location from);

template <class F>
void loop(place_core* where, std::size_t count, F& body, std::source_location from) {
  auto call_it = [&body](std::size_t i, void*& own) {  // body may be const, or a function
    if constexpr (std::is_invocable_v<F&, std::size_t>)
      body(i);
    else
      body(i, own);
  };
  using caller = decltype(call_it);
  run_loop(where, count, &call_it, [](void* c, std::size_t i, void*& own) { (*static_cast<caller*>(c))(i, own); }, from);
}

template <class F>
concept branch = std::invocable<F&>;

template <class... Branches>
void invoke_branches(place_core* where, std::source_location from, Branches&... branches) {
  auto body = [&](std::size_t i) {
    std::size_t number = 0;
    ((number++ == i ? static_cast<void>(branches()) : void()), ...);
  };
  loop(where, sizeof...(Branches), body, from);
}

/// The elements of any range by index: the range itself where it has random access; a list of iterators where it can be
/// walked twice; copies of the elements where it can be read once only.
template <class Range>
class indexed {
  using iterator = decltype(std::begin(std::declval<Range&>()));
  static constexpr bool random = std::random_access_iterator<iterator>;
  static constexpr bool twice = std::forward_iterator<iterator>;
  using kept = std::conditional_t<twice, iterator, std::iter_value_t<iterator>>;

 public:
  explicit indexed(Range& range) : begin_{std::begin(range)} {
    auto const end = std::end(range);
    if constexpr (random) {
      size_ = static_cast<std::size_t>(end - begin_);
    } else {
      for (; begin_ != end; ++begin_)
        if constexpr (twice)
          kept_.push_back(begin_);
        else
          kept_.push_back(*begin_);
      size_ = kept_.size();
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  decltype(auto) operator[](std::size_t i) {
    if constexpr (random)
      return begin_[static_cast<std::iter_difference_t<iterator>>(i)];
    else if constexpr (twice)
      return *kept_[i];
    else
      return (kept_[i]);
  }

 private:
  iterator begin_;
  std::vector<kept> kept_;
  std::size_t size_ = 0;
};

/// Room for results that come in any order: no default constructor is asked of T, and bool is as safe as any.
template <class T>
class slots {
 public:
  explicit slots(std::size_t count) : slots_(count) {}
  template <class Make>
  void fill(std::size_t i, Make&& make) {
    auto& s = slots_[i];
    ::new (static_cast<void*>(std::addressof(s.value))) T(make());
    s.filled = true;
  }
  std::vector<T> gather() && {
    std::vector<T> all;
    all.reserve(slots_.size());
    for (auto& s : slots_) all.push_back(std::move(s.value));
    return all;
  }

 private:
  struct slot {
    slot() noexcept {}
    slot(slot const&) = delete;
    slot& operator=(slot const&) = delete;
    ~slot() {
      if (filled) value.~T();
    }
    union {
      T value;
    };
    bool filled = false;
  };
  std::vector<slot> slots_;
};

}  // namespace detail

/// f(i) for every i below count, in any order and in parallel. f is shared by all: it must allow being called from several
/// threads. Iterations may wait (they park; others go on), but not for one another. The caller takes part and returns
/// when all have ended. The first exception stops the rest and is rethrown. A point of cancellation. At `blocking` as many
/// are under way as there may be blocking threads, and a caller that is itself on a pool's thread takes no part.
template <detail::core_place Where, class F>
  requires std::is_invocable_v<F&, std::size_t>
void for_each_index(Where&& where, std::size_t count, F&& f, std::source_location from = std::source_location::current()) {
  detail::loop(detail::place_access::core(where), count, f, from);
}
template <class F>
  requires std::is_invocable_v<F&, std::size_t>
void for_each_index(std::size_t count, F&& f, std::source_location from = std::source_location::current()) {
  detail::loop(&detail::default_pool(), count, f, from);
}

/// f(x) for every element x of a range, as for_each_index does for indices.
template <detail::core_place Where, class Range, class F>
void for_each(Where&& where, Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  detail::indexed<std::remove_reference_t<Range>> elements{range};
  auto body = [&](std::size_t i) { detail::call(f, elements[i]); };
  detail::loop(detail::place_access::core(where), elements.size(), body, from);
}
template <detail::no_place Range, class F>
void for_each(Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  errand::for_each(threads, range, f, from);
}

/// The results of f(x) for every element x of a range, in its order, as a std::vector; everything else as for_each. Results
/// need no default constructor. Throws std::bad_alloc.
template <detail::core_place Where, class Range, class F>
auto map(Where&& where, Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  detail::indexed<std::remove_reference_t<Range>> elements{range};
  using result = std::decay_t<decltype(detail::call(f, elements[0]))>;
  static_assert(!std::is_void_v<result>, "errand::map gathers results; for a function that returns nothing use for_each");
  detail::slots<result> results{elements.size()};
  auto body = [&](std::size_t i) { results.fill(i, [&]() -> result { return detail::call(f, elements[i]); }); };
  detail::loop(detail::place_access::core(where), elements.size(), body, from);
  return std::move(results).gather();
}
template <detail::no_place Range, class F>
auto map(Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  return errand::map(threads, range, f, from);
}

/// `init` and all elements x of a range, or all transform(x), combined by op to one value: op(op(init, x0), x1) and so on,
/// in any brackets but in this order. So op has to be associative, and need not be commutative: to append is good. As
/// std::reduce and std::transform_reduce, which ask for both. `T` is the type of init and of the result; elements, or what
/// transform makes of them, are converted to it, and op takes two of it. T may be move-only and needs no default
/// constructor. Returns init if the range is empty.
///
/// Everything else as for_each: op and transform are called by several threads, and may wait. What is bracketed with what
/// changes from run to run, and with it the last digits of floating-point sums; at `inplace` it is a fold from the left.
/// Costs an allocation for each share that somebody took, some hundred for a million elements; the caller combines these.
/// Throws std::bad_alloc, and what op and transform throw.
template <detail::core_place Where, class Range, class T, class Op, class Transform = detail::unchanged>
T reduce(Where&& where, Range&& range, T init, Op&& op, Transform&& transform = Transform{},
         std::source_location from = std::source_location::current()) {
  using elements_type = detail::indexed<std::remove_reference_t<Range>>;
  using element = decltype(detail::call(transform, std::declval<elements_type&>()[0]));
  static_assert(std::is_constructible_v<T, element>,
                "errand::reduce: an element, or what transform makes of it, cannot be converted to the type of init");
  static_assert(std::is_invocable_r_v<T, Op&, T, T>,
                "errand::reduce: op takes two values of the type of init and returns one");
  elements_type elements{range};
  if (elements.size() == 0) return init;
  detail::reduction folded{init, elements, op, transform};
  detail::loop(detail::place_access::core(where), elements.size(), folded, from);
  return folded.gather();
}
template <detail::no_place Range, class T, class Op, class Transform = detail::unchanged>
T reduce(Range&& range, T init, Op&& op, Transform&& transform = Transform{},
         std::source_location from = std::source_location::current()) {
  return errand::reduce(threads, range, std::move(init), op, transform, from);
}

/// Calls all the functions, two or more of them, in parallel, and returns when all have ended: for halves of one thing, as
/// of a sort. After oneTBB's. What they return is ignored. They are iterations of a loop, and all is as for_each says: the
/// caller takes part, the first exception stops the rest and is rethrown; they may wait, but not for one another (when_all
/// of tasks is for those). At `inplace`, and where nobody is free to help, they run one after another, in order. Costs a task
/// for each worker that could help, and no copy of a function.
#define ERRAND_FROM std::source_location from = std::source_location::current()
template <detail::core_place Where, detail::branch F, detail::branch G>
void parallel_invoke(Where&& where, F&& f, G&& g, ERRAND_FROM) {
  detail::invoke_branches(detail::place_access::core(where), from, f, g);
}
template <detail::core_place Where, detail::branch F, detail::branch G, detail::branch H>
void parallel_invoke(Where&& where, F&& f, G&& g, H&& h, ERRAND_FROM) {
  detail::invoke_branches(detail::place_access::core(where), from, f, g, h);
}
template <detail::core_place Where, detail::branch F, detail::branch G, detail::branch H, detail::branch I>
void parallel_invoke(Where&& where, F&& f, G&& g, H&& h, I&& i, ERRAND_FROM) {
  detail::invoke_branches(detail::place_access::core(where), from, f, g, h, i);
}
template <detail::branch F, detail::branch G>
void parallel_invoke(F&& f, G&& g, ERRAND_FROM) {
  detail::invoke_branches(&detail::default_pool(), from, f, g);
}
template <detail::branch F, detail::branch G, detail::branch H>
void parallel_invoke(F&& f, G&& g, H&& h, ERRAND_FROM) {
  detail::invoke_branches(&detail::default_pool(), from, f, g, h);
}
template <detail::branch F, detail::branch G, detail::branch H, detail::branch I>
void parallel_invoke(F&& f, G&& g, H&& h, I&& i, ERRAND_FROM) {
  detail::invoke_branches(&detail::default_pool(), from, f, g, h, i);
}
#undef ERRAND_FROM
/// Five and more: the line is not captured.
template <detail::core_place Where, detail::branch... Branches>
  requires(sizeof...(Branches) > 4)
void parallel_invoke(Where&& where, Branches&&... branches) {
  detail::invoke_branches(detail::place_access::core(where), std::source_location{}, branches...);
}
template <detail::branch... Branches>
  requires(sizeof...(Branches) > 4)
void parallel_invoke(Branches&&... branches) {
  detail::invoke_branches(&detail::default_pool(), std::source_location{}, branches...);
}

// ---- one future of several ---------------------------------------------------------------------------------------------

/// One future for all of them: the values as a std::tuple, a std::monostate for void. The first that fails, or is stopped,
/// stops the others; when all have ended its error is rethrown, and `result().further_errors()` has those of the others (which
/// are reported as errors that nobody took if they are not asked for). A stop of the future is a stop of all. Never waits.
/// Throws std::bad_alloc, and std::logic_error for a future of no task; the futures are dropped then. Values are moved
/// where the last task ends, by constructors that must not wait.
#define ERRAND_FROM std::source_location from = std::source_location::current()
template <class A>
auto when_all(future<A> a, ERRAND_FROM) {
  return detail::make_when<detail::gather_tuple<A>>("errand::when_all()", from, a);
}
template <class A, class B>
auto when_all(future<A> a, future<B> b, ERRAND_FROM) {
  return detail::make_when<detail::gather_tuple<A, B>>("errand::when_all()", from, a, b);
}
template <class A, class B, class C>
auto when_all(future<A> a, future<B> b, future<C> c, ERRAND_FROM) {
  return detail::make_when<detail::gather_tuple<A, B, C>>("errand::when_all()", from, a, b, c);
}
template <class A, class B, class C, class D>
auto when_all(future<A> a, future<B> b, future<C> c, future<D> d, ERRAND_FROM) {
  return detail::make_when<detail::gather_tuple<A, B, C, D>>("errand::when_all()", from, a, b, c, d);
}
/// None, or five and more: the line is not captured.
template <class... Ts>
  requires(sizeof...(Ts) == 0 || sizeof...(Ts) > 4)
auto when_all(future<Ts>... futures) {
  return detail::make_when<detail::gather_tuple<Ts...>>("errand::when_all()", std::source_location{}, futures...);
}
/// The same for a range of futures, given as `std::move(range)`: the values as a std::vector in its order; nothing for void.
/// Ready at once if there are none.
template <detail::future_range Range>
auto when_all(Range&& range, ERRAND_FROM) {
  static_assert(!std::is_lvalue_reference_v<Range>, "errand::when_all takes the futures out of the range: std::move(range)");
  using T = detail::awaited_in_t<Range>;
  return detail::make_when_of_range<detail::gather_vector<T>>("errand::when_all()", from, range);
}

/// One future for the first that succeeds: its index and value (a std::variant if the types differ; its alternative has the
/// same index). The others are stopped, and joined before it is ready; what they throw is not reported. If all fail, the
/// first error is rethrown. A stop of the future is a stop of all. Never waits. Throws as when_all().
template <class A>
auto when_any(future<A> a, ERRAND_FROM) {
  return detail::make_when<detail::gather_any<A>>("errand::when_any()", from, a);
}
template <class A, class B>
auto when_any(future<A> a, future<B> b, ERRAND_FROM) {
  return detail::make_when<detail::gather_any<A, B>>("errand::when_any()", from, a, b);
}
template <class A, class B, class C>
auto when_any(future<A> a, future<B> b, future<C> c, ERRAND_FROM) {
  return detail::make_when<detail::gather_any<A, B, C>>("errand::when_any()", from, a, b, c);
}
template <class A, class B, class C, class D>
auto when_any(future<A> a, future<B> b, future<C> c, future<D> d, ERRAND_FROM) {
  return detail::make_when<detail::gather_any<A, B, C, D>>("errand::when_any()", from, a, b, c, d);
}
/// Five and more: the line is not captured.
template <class... Ts>
  requires(sizeof...(Ts) > 4)
auto when_any(future<Ts>... futures) {
  return detail::make_when<detail::gather_any<Ts...>>("errand::when_any()", std::source_location{}, futures...);
}
/// The same for a range of futures, given as `std::move(range)`. Throws std::invalid_argument if there are none.
template <detail::future_range Range>
auto when_any(Range&& range, ERRAND_FROM) {
  static_assert(!std::is_lvalue_reference_v<Range>, "errand::when_any takes the futures out of the range: std::move(range)");
  using T = detail::awaited_in_t<Range>;
  if (std::begin(range) == std::end(range)) detail::throw_nothing_to_choose();
  return detail::make_when_of_range<detail::gather_first<T>>("errand::when_any()", from, range);
}
#undef ERRAND_FROM

}  // namespace errand
