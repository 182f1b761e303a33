// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// Functions in other processes: a crash costs one job, a runaway can be killed, and what it ate goes back to the system.
// `async(processes, f, args...)` returns the same future as everywhere; `map(processes, xs, f)` spreads a range.
#pragma once

#include <errand/detail/process_task.hpp>
#include <errand/task.hpp>

#include <concepts>
#include <deque>
#include <stdexcept>
#include <string>

namespace errand {

/// The worker process that ran a task has died: it crashed, called exit, or was killed. Only this task is lost.
class process_died : public std::runtime_error {
 public:
  process_died(std::string const& what, int signal, int status)
      : std::runtime_error{what}, signal_{signal}, status_{status} {}
  /// The signal that killed it, or 0 if it exited.
  [[nodiscard]] int signal() const noexcept { return signal_; }
  /// The status with which it exited; 0 if a signal killed it.
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int signal_;
  int status_;
};

/// An exception that a task threw in another process, if its type is none of the standard ones that are rebuilt there:
/// std::logic_error and std::runtime_error with all that <stdexcept> derives from them, std::bad_alloc, and
/// std::system_error with a generic or system code. Has the text of the original, and the name of its type.
class remote_error : public std::runtime_error {
 public:
  remote_error(std::string const& type_name, std::string const& what)
      : std::runtime_error{what.empty() ? "a worker process threw " + type_name : what}, type_name_{type_name} {}
  [[nodiscard]] std::string const& type_name() const noexcept { return type_name_; }

 private:
  std::string type_name_;
};

// ---- the place -------------------------------------------------------------------------------------------------------

/// Worker processes, forked from a copy of the program that was made before its first thread.
struct processes_t {
  explicit processes_t() = default;
};
inline constexpr processes_t processes{};

/// Makes that copy now. Needed only in a program that starts threads by itself before it first uses errand: then put
/// `errand::process_support processes_first;` at the top of main. Throws std::system_error if the kernel refuses.
class process_support {
 public:
  process_support() { detail::start_zygote(); }
};

namespace detail {
template <>
inline constexpr bool is_place<processes_t> = true;
}  // namespace detail

// ---- async -----------------------------------------------------------------------------------------------------------

/// Starts f(args...) in a worker process and returns at once with its future. f is a function, a member function or a
/// lambda that captures nothing, or by_value(...). Arguments and result are copied there and back: trivially copyable ones,
/// strings, vectors, pairs and tuples of such; others with <errand/serialize.hpp>, large ones best as a shared_vector.
/// Pointers, references, views and iterators do not compile. Workers are forked when there is work for them, as many as the
/// default pool has threads, and kept. Some 20 ns for bytes and 250 for a small struct of cereal's, each way; see
/// docs/reference/process.md.
///
/// get() rethrows what f threw (see remote_error), or throws process_died if its process did not live to the end: then
/// this task is lost and no other. A stop, also that of a dropped future, removes a task that has not begun; the process
/// of one that runs is killed. What it printed by printf and std::cout appears when the task ends.
///
/// Never waits. Throws std::runtime_error if the program had threads before the workers could be prepared
/// (see process_support) or f lies in a library loaded later, std::system_error if the kernel refuses, std::bad_alloc, and
/// what an argument throws while it is serialised; then nothing was started.
#define ERRAND_FROM std::source_location from = std::source_location::current()
// `Where` is a template parameter so that it is not made from {}, which means options.
template <std::same_as<processes_t> Where, class F>
auto async(Where, F&& f, ERRAND_FROM) {
  return detail::start_in_process(from, std::forward<F>(f));
}
template <std::same_as<processes_t> Where, class F, class A>
auto async(Where, F&& f, A&& a, ERRAND_FROM) {
  return detail::start_in_process(from, std::forward<F>(f), std::forward<A>(a));
}
template <std::same_as<processes_t> Where, class F, class A, class B>
auto async(Where, F&& f, A&& a, B&& b, ERRAND_FROM) {
  return detail::start_in_process(from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b));
}
template <std::same_as<processes_t> Where, class F, class A, class B, class C>
auto async(Where, F&& f, A&& a, B&& b, C&& c, ERRAND_FROM) {
  return detail::start_in_process(from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
}
template <std::same_as<processes_t> Where, class F, class A, class B, class C, class D>
auto async(Where, F&& f, A&& a, B&& b, C&& c, D&& d, ERRAND_FROM) {
  return detail::start_in_process(from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                                  std::forward<D>(d));
}
#undef ERRAND_FROM
/// Five arguments and more: the line is not captured.
template <std::same_as<processes_t> Where, class F, class... Args>
requires(sizeof...(Args) > 4) auto async(Where, F&& f, Args&&... args) {
  return detail::start_in_process(std::source_location{}, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The results of f(x) for every element x of a range, in its order, as a std::vector: each element is copied to a worker
/// process, tiny ones many to a message. The first failure, a process's death included, stops the rest (processes that
/// run other elements are killed) and is rethrown. A point of cancellation. Otherwise as async(processes, f, x).
template <class Range, class F>
auto map(processes_t, Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  using function = std::decay_t<F>;
  using iterator = decltype(std::begin(range));
  using X = std::iter_value_t<iterator>;
  static_assert(std::is_invocable_v<function&, X>,
                "errand::map: the function cannot be called with a copy of an element");
  using R = std::remove_cv_t<detail::kept_result<std::invoke_result_t<function&, X>>>;
  static_assert(!std::is_void_v<R>, "errand::map gathers results; this function returns nothing");
  if constexpr (!detail::check_process_call<R, function, X>()) {
    return std::vector<std::decay_t<R>>{};  // so that the sentence above is all that is said
  } else if constexpr (std::random_access_iterator<iterator> &&
                       std::is_lvalue_reference_v<std::iter_reference_t<iterator>>) {
    static_cast<void>(&detail::process_hook<>::registered);
    auto const first = std::begin(range);
    function const kept(std::forward<F>(f));
    detail::typed_process_map<R, function, iterator> all{kept, first, static_cast<std::size_t>(std::end(range) - first)};
    detail::start_process_map(all, from).get();
    return std::move(all).gather();
  } else {
    std::deque<X> const copies(std::begin(range), std::end(range));  // of bool too it has real elements
    return errand::map(processes, copies, f, from);
  }
}

}  // namespace errand
