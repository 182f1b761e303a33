// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// Functions in other processes: a crash costs one job, a runaway can be killed, and what it ate goes back to the system.
// `async(processes, f, args...)` returns the same future as everywhere; `map(processes, xs, f)` spreads a range. Limits of
// time come with the call, `async({.on = processes, .timeout = 5s}, f)`, or with a process_pool of one's own.
#pragma once

#include <errand/detail/process_map.hpp>
#include <errand/detail/process_task.hpp>
#include <errand/task.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <deque>
#include <source_location>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

namespace errand {
namespace detail {
struct process_access;
struct process_pool_core;
}  // namespace detail

/// The worker process that ran a task has died: it crashed, called exit, or was killed. Only this task is lost.
class process_died : public std::runtime_error {
 public:
  process_died(std::string const& what, int signal, int status, std::string const& stderr_tail = {})
      : std::runtime_error{what}, signal_{signal}, status_{status}, stderr_tail_{stderr_tail} {}
  /// The signal that killed it, or 0 if it exited.
  [[nodiscard]] int signal() const noexcept { return signal_; }
  /// The status with which it exited; 0 if a signal killed it.
  [[nodiscard]] int status() const noexcept { return status_; }
  /// The last that the worker wrote to its stderr, at most 8 KiB, as it was written; what() quotes the end of it. A
  /// worker that has run other tasks before may have written some of it for them.
  [[nodiscard]] std::string const& stderr_tail() const noexcept { return stderr_tail_; }

 private:
  int signal_;
  int status_;
  std::string stderr_tail_;
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

// ---- places ----------------------------------------------------------------------------------------------------------

/// What the workers of a pool may take, by name: `process_pool p{4, {.memory = 1 << 30, .time = 5s}}`.
struct process_limits {
  /// Bytes that a worker may have beside what it is born with: heap, writable mappings, stacks of threads (RLIMIT_DATA).
  /// What asks for more gets std::bad_alloc, which get() rethrows; that worker is then replaced, so that what the job has
  /// kept is nobody else's trouble. Text, rings and shared pieces are not counted. 0: no limit. Where there is no /proc,
  /// what it is born with counts too.
  std::size_t memory = 0;
  /// How long one job may run, from its beginning in a worker; waiting in the queue does not count. Then its worker is
  /// killed and get() throws timed_out. In a map or for_each it is a limit for each element.
  std::chrono::nanoseconds time = std::chrono::nanoseconds::max();
  /// After so many jobs (elements of a map count) a worker is replaced by a fresh one, which costs a fork, some tenths of a
  /// millisecond: for jobs that leak or change their process. 0: never.
  std::size_t recycle_after = 0;
  /// A worker that holds more bytes of memory than this, beside what it was born with, is replaced when its job has ended: for
  /// jobs that leak slowly, or whose memory malloc keeps. Resident memory counts, not what is shared. The worker looks every 10
  /// ms, between two jobs; where there is no /proc, never. 0: no limit.
  std::size_t recycle_when_larger = 0;
};

/// What a pool of workers has done so far. Each number was true a moment ago; exact while it is idle.
struct process_statistics {
  unsigned workers = 0;     // processes that there are
  unsigned busy = 0;        // of those, how many have a job
  std::uint64_t jobs = 0;   // given to it: calls, and elements of maps that have been sent out
  std::uint64_t ended = 0;  // of those, how many have ended, however
  std::uint64_t lost = 0;   // of those, how many died with their worker: process_died. Of a map, the message's all
  std::uint64_t workers_started = 0;   // processes, all in all
  std::uint64_t workers_died = 0;      // of those, how many died by themselves, or were killed by somebody else
  std::uint64_t workers_killed = 0;    // by a stop, a deadline or a limit of time
  std::uint64_t workers_recycled = 0;  // replaced after recycle_after jobs, for want of memory, or as too large
};
/// In words: "2 of 4 workers busy; 120 jobs, 118 ended, 1 lost; 6 workers started, 1 died, 1 killed, 0 recycled".
[[nodiscard]] std::string to_string(process_statistics const& s);

/// Worker processes, forked from a copy of the program that was made before its first thread: when there is work for them,
/// as many as the default pool has threads; and kept. Without limits.
struct processes_t {
  explicit processes_t() = default;
  /// Nothing is counted before the first job.
  [[nodiscard]] static process_statistics statistics();
};
inline constexpr processes_t processes{};

/// Workers of one's own, with limits. Jobs given to it run in its workers only. It costs no thread and no descriptor, and
/// starts nothing before its first job. Thread-safe, but for its beginning and end.
class process_pool {
 public:
  /// `workers` processes at a time, as many as the default pool has threads for 0. Throws std::invalid_argument for more
  /// than 1024, or for a limit of no time.
  explicit process_pool(unsigned workers = 0, process_limits const& limits = {});
  process_pool(process_pool const&) = delete;
  process_pool& operator=(process_pool const&) = delete;
  /// Lets every job that was given to it end, then ends its workers and waits until they are gone: blocks its thread. Must
  /// not run inside a task that the pool's own jobs wait for. In the child of a fork() it has nothing to end.
  ~process_pool();

  /// How many workers it may have.
  [[nodiscard]] unsigned size() const noexcept { return workers_; }
  [[nodiscard]] process_statistics statistics() const;

 private:
  friend struct detail::process_access;
  // Made by the first job, and anew in the child of a fork. Throws what async() throws for want of workers.
  [[nodiscard]] detail::process_pool_core& core() const;

  unsigned workers_;
  process_limits limits_;
  mutable std::atomic<detail::process_pool_core*> core_{nullptr};
};

/// `processes` or a pool of workers, when it is chosen at run time. Refers to a pool, owns nothing.
class process_place {
 public:
  constexpr process_place(processes_t) noexcept {}                  // NOLINT(google-explicit-constructor)
  constexpr process_place(process_pool& p) noexcept : pool_{&p} {}  // NOLINT(google-explicit-constructor)
  // What is no place at all comes here from async({.on = …}, …), to be refused by a sentence.
  template <class Where>
    requires(!std::convertible_to<Where, place> && !std::same_as<std::remove_cvref_t<Where>, process_place>)
  constexpr process_place(Where&&) noexcept {  // NOLINT(google-explicit-constructor)
    static_assert(
        std::same_as<Where, processes_t>,
        "errand: `on` is a place: processes or a process_pool, or else threads, inplace, blocking or a pool; a "
        "pool is named as a variable that is not const");
  }

 private:
  friend struct detail::process_access;
  process_pool* pool_ = nullptr;
};

/// The options of async() for worker processes: `async({.on = processes, .timeout = 5s}, f, args...)`. They mean what those
/// of `how` mean; here `on` must be named, as what may be sent is checked by the compiler.
struct process_how {
  process_place on;
  /// A span after which the task ends, measured from its start by async(): it is taken out of the queue, or the worker that
  /// runs it is killed. get() then throws timed_out.
  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
  /// The same as a point in time; the nearer of the two counts.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  /// What messages call the task; copied.
  std::string_view name = {};
  /// A stop asked of this token is asked of the task: it kills, too.
  std::stop_token stop = {};
  /// The line that starts the task.
  std::source_location from = std::source_location::current();
};

/// Makes that copy of the program now. Needed only in a program that starts threads by itself before it first uses errand:
/// then put `errand::process_support processes_first;` at the top of main. Costs a fork, the first time; never waits. Throws
/// std::runtime_error if the program has threads already, std::system_error if the kernel refuses.
class process_support {
 public:
  process_support() { detail::start_zygote(); }
};

namespace detail {
template <>
inline constexpr bool is_place<processes_t> = true;
template <>
inline constexpr bool is_place<process_pool> = true;
template <>
inline constexpr bool is_place<process_place> = true;

template <class Where>
concept worker_place =
    std::same_as<std::remove_cvref_t<Where>, processes_t> || std::same_as<std::remove_cvref_t<Where>, process_pool> ||
    std::same_as<std::remove_cvref_t<Where>, process_place>;

/// The pool that a place means; null for `processes`.
struct process_access {
  static process_pool_core* core(processes_t) noexcept { return nullptr; }
  static process_pool_core* core(process_pool const& p) { return &p.core(); }
  static process_pool_core* core(process_place p) { return p.pool_ != nullptr ? &p.pool_->core() : nullptr; }
};

template <class F, class... Args>
auto start_in_process(process_how const& how, F&& f, Args&&... args) {
  auto const by_timeout = deadline_of(how.timeout);
  auto const by_deadline = deadline_of(how.deadline);
  start_options const carried{by_timeout < by_deadline ? by_timeout : by_deadline, how.name, how.stop, true};
  return start_in_process(process_access::core(how.on), how.from, &carried, std::forward<F>(f),
                          std::forward<Args>(args)...);
}
}  // namespace detail

// ---- async -----------------------------------------------------------------------------------------------------------

/// Starts f(args...) in a worker process, of `processes` or of a pool, and returns at once with its future. f is a function,
/// a member function or a lambda that captures nothing, or by_value(...). Arguments and result are copied there and back:
/// trivially copyable ones, strings, paths, and vectors, pairs and tuples of all these; others with <errand/serialize.hpp>,
/// large ones best as a shared_vector. Pointers, references, views and iterators do not compile. Some 20 ns for bytes and 250
/// for a small struct of cereal's, each way; see docs/reference/process.md.
///
/// get() rethrows what f threw (see remote_error), or throws process_died if its process did not live to the end: then
/// this task is lost and no other. A stop, also that of a dropped future, removes a task that has not begun; the process
/// of one that runs is killed, with all that f has started and that is still in its process group. What f printed by printf
/// and std::cout appears when the task ends.
///
/// Never waits; may be called from anywhere, in a worker too (whose workers are its own). Throws std::runtime_error if the
/// program had threads before the workers could be prepared (see process_support) or f lies in a library loaded later,
/// std::system_error if the kernel refuses, std::bad_alloc, and what an argument throws while it is serialised; then nothing
/// was started.
#define ERRAND_FROM std::source_location from = std::source_location::current()
// `Where` is a template parameter so that it is not made from {}, which means options.
template <detail::worker_place Where, class F>
auto async(Where&& where, F&& f, ERRAND_FROM) {
  return detail::start_in_process(detail::process_access::core(where), from, nullptr, std::forward<F>(f));
}
template <detail::worker_place Where, class F, class A>
auto async(Where&& where, F&& f, A&& a, ERRAND_FROM) {
  return detail::start_in_process(detail::process_access::core(where), from, nullptr, std::forward<F>(f),
                                  std::forward<A>(a));
}
template <detail::worker_place Where, class F, class A, class B>
auto async(Where&& where, F&& f, A&& a, B&& b, ERRAND_FROM) {
  return detail::start_in_process(detail::process_access::core(where), from, nullptr, std::forward<F>(f),
                                  std::forward<A>(a), std::forward<B>(b));
}
template <detail::worker_place Where, class F, class A, class B, class C>
auto async(Where&& where, F&& f, A&& a, B&& b, C&& c, ERRAND_FROM) {
  return detail::start_in_process(detail::process_access::core(where), from, nullptr, std::forward<F>(f),
                                  std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
}
template <detail::worker_place Where, class F, class A, class B, class C, class D>
auto async(Where&& where, F&& f, A&& a, B&& b, C&& c, D&& d, ERRAND_FROM) {
  return detail::start_in_process(detail::process_access::core(where), from, nullptr, std::forward<F>(f),
                                  std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d));
}
#undef ERRAND_FROM
/// Five arguments and more: the line is not captured; with options it is.
template <detail::worker_place Where, class F, class... Args>
  requires(sizeof...(Args) > 4)
auto async(Where&& where, F&& f, Args&&... args) {
  return detail::start_in_process(detail::process_access::core(where), std::source_location{}, nullptr,
                                  std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same with options: `async({.on = processes, .timeout = 5s, .name = "parse"}, f, args...)`. Dead within milliseconds of
/// its deadline, whatever it does: a loop, a sleep, a stopped process. Also throws std::system_error if the thread that
/// watches the time cannot be started.
template <class F, class... Args>
auto async(process_how const& how, F&& f, Args&&... args) {
  return detail::start_in_process(how, std::forward<F>(f), std::forward<Args>(args)...);
}
/// Of options that have a name of their own, and may change.
template <class Options, class F, class... Args>
  requires std::is_same_v<std::remove_cvref_t<Options>, process_how>
auto async(Options&& how, F&& f, Args&&... args) {
  return detail::start_in_process(how, std::forward<F>(f), std::forward<Args>(args)...);
}

// ---- many at once ----------------------------------------------------------------------------------------------------

namespace detail {
/// Calls do_it(first, count) with elements that stay where they are: those of the range, or copies if it gives out none.
template <class Range, class DoIt>
decltype(auto) with_standing_elements(Range&& range, DoIt&& do_it) {
  using iterator = decltype(std::begin(range));
  if constexpr (std::random_access_iterator<iterator> && std::is_lvalue_reference_v<std::iter_reference_t<iterator>>) {
    return do_it(std::begin(range), static_cast<std::size_t>(std::end(range) - std::begin(range)));
  } else {
    // A deque of bool, too, has real elements.
    std::deque<std::iter_value_t<iterator>> const copies(std::begin(range), std::end(range));
    return do_it(copies.begin(), copies.size());
  }
}
}  // namespace detail

/// The results of f(x) for every element x of a range, in its order, as a std::vector: each element is copied to a worker
/// process, tiny ones many to a message, so that a message is about a millisecond's work. The first failure, a process's
/// death included, stops the rest (processes that run other elements are killed, messages that wait are taken out), all
/// are joined, then it is rethrown. A point of cancellation. Otherwise as async(where, f, x).
template <detail::worker_place Where, class Range, class F>
auto map(Where&& where, Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  using function = std::decay_t<F>;
  using X = std::iter_value_t<decltype(std::begin(range))>;
  static_assert(std::is_invocable_v<function&, X>,
                "errand::map: the function cannot be called with a copy of an element");
  using R = std::remove_cv_t<detail::kept_result<std::invoke_result_t<function&, X>>>;
  static_assert(!std::is_void_v<R>, "errand::map gathers results; for a function that returns nothing use for_each");
  if constexpr (std::is_void_v<R>) {
    return;  // so that the sentence above is all that is said
  } else if constexpr (!detail::check_process_call<R, function, X>()) {
    return std::vector<std::decay_t<R>>{};  // likewise
  } else {
    static_cast<void>(&detail::process_hook<>::registered);
    return detail::with_standing_elements(range, [&](auto first, std::size_t count) {
      function const kept(std::forward<F>(f));
      detail::typed_process_map<R, function, decltype(first)> all{kept, first, count};
      detail::start_process_map(all, detail::process_access::core(where), from).get();
      return std::move(all).gather();
    });
  }
}

/// f(x) for every element x of a range, as map does, without results: what f returns is left in its process.
template <detail::worker_place Where, class Range, class F>
void for_each(Where&& where, Range&& range, F&& f, std::source_location from = std::source_location::current()) {
  using function = std::decay_t<F>;
  using X = std::iter_value_t<decltype(std::begin(range))>;
  static_assert(std::is_invocable_v<function, X>,
                "errand::for_each: the function cannot be called with a copy of an element");
  if constexpr (detail::check_process_call<void, function, X>()) {
    static_cast<void>(&detail::process_hook<>::registered);
    function const kept(std::forward<F>(f));
    detail::with_standing_elements(range, [&](auto first, std::size_t count) {
      detail::typed_process_map<void, function, decltype(first)> all{kept, first, count};
      detail::start_process_map(all, detail::process_access::core(where), from).get();
    });
  }
}

}  // namespace errand
