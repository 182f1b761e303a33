// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: sched
//
// Start here: async() begins a function in the background and returns its future, future::get() takes the result back.
// Places say where it runs: the default pool (`threads`), the calling thread (`inplace`), a thread that may block
// (`blocking`), a pool of one's own.
// this_task is what a running task may ask and do. Coroutines (task<T>) are waited for and started the same way.
#pragma once

#include <errand/detail/continuation.hpp>
#include <errand/detail/unobserved.hpp>

#include <string_view>

namespace errand {
namespace detail {
struct place_access;

/// What a pool calls on each of its threads as it starts.
struct thread_hook {
  virtual ~thread_hook() = default;
  virtual void started(unsigned number) noexcept = 0;
};
template <class F>
struct thread_hook_of final : thread_hook {
  template <class From>
  explicit thread_hook_of(From&& from) : function{std::forward<From>(from)} {}
  void started(unsigned number) noexcept override {
    if constexpr (std::is_invocable_v<F&, unsigned>)
      function(number);
    else
      function();
  }
  F function;
};

}  // namespace detail

class queue;

// ---- places ----------------------------------------------------------------------------------------------------------

/// The default pool: as many workers as the process may use processors (affinity, container quota), or
/// `ERRAND_THREADS`. Started by its first task. While some of them are blocked in the kernel and work is queued, spare threads
/// stand in for them: pool_options::spares.
struct threads_t {
  explicit threads_t() = default;
};
inline constexpr threads_t threads{};

/// The calling thread, at once: plain serial code behind the same handle.
struct inplace_t {
  explicit inplace_t() = default;
};
inline constexpr inplace_t inplace{};

/// For work that blocks its thread (system calls, locks, libraries that wait): each task gets a thread to itself, from
/// a stock that grows with the need. At most 256 (`ERRAND_BLOCKING_THREADS`) run at a time; more wait for their turn, so
/// no more than that may wait for one another. A thread goes away when it was idle for ten seconds. Waits in such a task
/// block its thread, and nothing is ever run in place there. If no thread at all can be started, the task fails with
/// std::system_error.
struct blocking_t {
  explicit blocking_t() = default;
};
inline constexpr blocking_t blocking{};

/// What a pool of one's own may be told, by name: `pool p{{.workers = 4, .name = "io"}}`.
struct pool_options {
  /// How many threads; as many as the default pool has for 0.
  unsigned workers = 0;
  /// Each thread is bound to a processor of its own (as far as there are enough), and a task or coroutine, once begun,
  /// is continued by the thread that began it: thread_local, errno and a held std::mutex keep their meaning across waits.
  bool pinned = false;
  /// What the system calls the threads, with their number: "io/0". Cut to 15 characters.
  std::string_view name = "errand";
  /// How many spare threads may stand in at a time for those that a task blocks in the kernel; 0: none, so that no more than
  /// `workers` tasks are ever under way at a time but for those that wait for errand's own things. As usual: 256, or
  /// `ERRAND_SPARE_THREADS`. A pinned pool has none. They come within milliseconds of work being queued, no more of them than
  /// are blocked, and go after ten idle seconds. Their numbers follow those of the others.
  unsigned spares = as_usual;
  static constexpr unsigned as_usual = ~0U;
};

/// What a pool has done so far. Exact while it is idle (`asleep == workers`); else each number was true a moment ago.
struct pool_statistics {
  unsigned workers;       // its threads
  unsigned asleep;        // those that sleep because there is nothing to do
  unsigned spares;        // spare threads that there are beside them
  std::uint64_t started;  // tasks given to it
  std::uint64_t ended;    // of those, how many have ended
  std::uint64_t stolen;   // times a thread took work from another one
};

/// A pool of one's own. Tasks given to it run on its `workers` threads only, and on spare ones while some of these are blocked.
/// The destructor lets every task that was given to it end, then joins the threads; it must not run inside such a task.
/// In the child of a fork() it starts as many threads anew with the first task given to it there.
class pool {
 public:
  /// `workers` threads, as many as the default pool has for 0. Throws std::system_error if a thread cannot be started,
  /// std::invalid_argument for more than 4096.
  explicit pool(unsigned workers = 0);
  /// The same with options. `on_thread_start` is called, as on_thread_start(number) or on_thread_start(), on each of
  /// its threads before the first task there, perhaps on several at a time; it must not throw. Spare threads are numbered
  /// from `workers` on; when one has gone, another may get its number. Throws std::bad_alloc.
  explicit pool(pool_options const& options);
  template <class F>
    requires(std::is_invocable_v<std::decay_t<F>&, unsigned> || std::is_invocable_v<std::decay_t<F>&>)
  pool(pool_options const& options, F&& on_thread_start)
      : pool{options, new detail::thread_hook_of<std::decay_t<F>>{std::forward<F>(on_thread_start)}} {}
  pool(pool const&) = delete;
  pool& operator=(pool const&) = delete;
  ~pool();
  /// How many threads run its tasks.
  [[nodiscard]] unsigned size() const noexcept;
  [[nodiscard]] pool_statistics statistics() const noexcept;

 private:
  friend struct detail::place_access;
  pool(pool_options const& options, detail::thread_hook* hook);  // takes the hook over
  [[nodiscard]] detail::place_core* core() const {
    // (G2) acquire: sees the pool as it was started anew; pairs with (G2) in start_anew().
    return born_in_.load(std::memory_order_acquire) == detail::process_generation ? core_.load(std::memory_order_relaxed)
                                                                                 : &start_anew();
  }
  detail::place_core& start_anew() const;

  // Changed only in the child of a fork, by its first use there.
  mutable std::atomic<detail::place_core*> core_;
  mutable std::atomic<std::uint32_t> born_in_{detail::process_generation};
};

/// Where work runs, when it is chosen at run time: made from any of the places above, or from a queue. Refers to the pool or
/// queue, owns nothing.
class place {
 public:
  constexpr place(threads_t) noexcept {}                                // NOLINT(google-explicit-constructor)
  constexpr place(inplace_t) noexcept : kind_{kind::here} {}            // NOLINT(google-explicit-constructor)
  constexpr place(blocking_t) noexcept : kind_{kind::on_own_thread} {}  // NOLINT(google-explicit-constructor)
  constexpr place(pool& p) noexcept : pool_{&p} {}                      // NOLINT(google-explicit-constructor)
  place(queue const& q) noexcept;                                       // NOLINT(google-explicit-constructor)

 private:
  friend struct detail::place_access;
  enum class kind : std::uint8_t { on_pool, here, on_own_thread, on_queue };
  explicit place(detail::place_core& queue) noexcept : queue_{&queue}, kind_{kind::on_queue} {}
  pool* pool_ = nullptr;                  // on_pool: the default one if null
  detail::place_core* queue_ = nullptr;   // on_queue
  kind kind_ = kind::on_pool;
};

/// The options of async(), by name: `async({.timeout = 2s, .name = "fetch"}, f, args...)`.
struct how {
  /// Where it runs.
  place on = threads;
  /// A span after which the task is asked to stop, measured from its start by async(). get() then throws timed_out.
  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
  /// The same as a point in time; the nearer of the two counts.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  /// What messages call the task; copied.
  std::string_view name = {};
  /// A stop asked of this token is asked of the task.
  std::stop_token stop = {};
  /// The line that starts the task.
  std::source_location from = std::source_location::current();
};

namespace detail {

template <class>
inline constexpr bool is_place = false;
template <>
inline constexpr bool is_place<threads_t> = true;
template <>
inline constexpr bool is_place<inplace_t> = true;
template <>
inline constexpr bool is_place<blocking_t> = true;
template <>
inline constexpr bool is_place<pool> = true;
template <>
inline constexpr bool is_place<place> = true;

/// Something that is named as the first argument of async() and map() to say where; other modules add theirs.
template <class Where>
concept any_place = is_place<std::remove_cvref_t<Where>>;
template <class F>
concept no_place = !any_place<F> && !std::is_same_v<std::remove_cvref_t<F>, how>;

/// The pool that a place means, which for `blocking` is one without workers; null for `inplace`.
struct place_access {
  static place_core* core(threads_t) { return &default_pool(); }
  static place_core* core(inplace_t) noexcept { return nullptr; }
  static place_core* core(blocking_t) { return &blocking_place(); }
  static place_core* core(pool const& p) { return p.core(); }
  static place_core* core(place const& p) {
    if (is_default(p)) return &default_pool();
    if (p.kind_ == place::kind::here) return nullptr;
    if (p.kind_ == place::kind::on_queue) return p.queue_;
    return p.kind_ == place::kind::on_own_thread ? &blocking_place() : p.pool_->core();
  }
  static place_core* core(queue const& q);  // defined where queues are
  static place make(place_core& queue) noexcept { return place{queue}; }
  static bool is_default(place const& p) noexcept { return p.kind_ == place::kind::on_pool && p.pool_ == nullptr; }
};

/// The places that this header knows; the others bring their own async().
template <class Where>
concept core_place = any_place<Where> && requires(Where& where) { place_access::core(where); };

struct start_options {
  std::int64_t deadline;
  std::string_view name;
  std::stop_token const& stop;
  bool outside = false;  // it is no pool's: to stop it is another module's work, and may take its time
};

template <class F, class... Args>
struct started {
  using type = call_result_t<F, Args...>;
};
template <class F, class... Args>
  requires is_task<call_result_t<F, Args...>>
struct started<F, Args...> {
  using type = typename call_result_t<F, Args...>::value_type;
};
template <class F>
  requires is_task<std::remove_cvref_t<F>>
struct started<F> {
  using type = typename std::remove_cvref_t<F>::value_type;
};
/// What the future of async(f, args...) gives.
template <class F, class... Args>
using started_t = typename started<F, Args...>::type;

template <class F, class... Args>
concept runs = (is_task<std::remove_cvref_t<F>> && sizeof...(Args) == 0) || startable<F, Args...>;

/// The record of a task that calls f(args...), not yet given to anybody; with `Base` for a kind of record.
template <class Base = record, class F, class... Args>
auto* make_task_record(std::source_location from, F&& f, Args&&... args) {
  using T = started_t<F, Args...>;
  if constexpr (is_task<std::remove_cvref_t<F>>) {
    static_assert(!std::is_lvalue_reference_v<F>, "errand: a task<T> is started once: async(std::move(t))");
    return make_record<coroutine_record<Base, T, made_coroutine<T>>>(from, std::move(f));
  } else if constexpr (is_task<call_result_t<F, Args...>>) {
    using make = coroutine_function<std::decay_t<F>, std::decay_t<Args>...>;
    return make_record<coroutine_record<Base, T, make>>(from, std::forward<F>(f), std::forward<Args>(args)...);
  } else {
    return make_record<function_record<Base, T, std::decay_t<F>, std::decay_t<Args>...>>(from, std::forward<F>(f),
                                                                                        std::forward<Args>(args)...);
  }
}

template <class F, class... Args>
future<started_t<F, Args...>> start(place_core* where, std::source_location from, F&& f, Args&&... args) {
  auto* r = make_task_record(from, std::forward<F>(f), std::forward<Args>(args)...);
  if (where != nullptr)
    start_on(*where, *r);
  else
    start_in_place(*r);
  return future_access::make<started_t<F, Args...>>(r);
}

/// What `how` says beside place and line.
inline start_options carried_by(how const& options) {
  auto const by_timeout = deadline_of(options.timeout);
  auto const by_deadline = deadline_of(options.deadline);
  return {by_timeout < by_deadline ? by_timeout : by_deadline, options.name, options.stop};
}

template <class F, class... Args>
future<started_t<F, Args...>> start(how const& options, F&& f, Args&&... args) {
  auto* const where = place_access::core(options.on);
  start_options const carried = carried_by(options);
  auto* r = make_task_record(options.from, std::forward<F>(f), std::forward<Args>(args)...);
  if (where != nullptr)
    start_on(*where, *r, carried);
  else
    start_in_place(*r, carried);
  return future_access::make<started_t<F, Args...>>(r);
}

/// Parks the running task, or blocks the thread, until then. Throws operation_cancelled.
void sleep_until(std::int64_t deadline);

}  // namespace detail

// ---- async -----------------------------------------------------------------------------------------------------------

/// Starts f(args...) on the default pool and returns at once with its future. The callable and the arguments are copied
/// or moved into the task, as by std::async. A callable that cannot be called otherwise gets its std::stop_token first.
/// Also takes a task<T> or a coroutine function, whose coroutine it starts. Never waits; may be called from anywhere.
/// Throws std::bad_alloc, std::system_error (the pool's threads could not be started), and what copying throws.
/// Cost: some tens of nanoseconds; no system allocation in the steady state; a system call only to wake a sleeping worker.
#define ERRAND_FROM std::source_location from = std::source_location::current()
template <detail::no_place F>
  requires detail::runs<F>
auto async(F&& f, ERRAND_FROM) {
  return detail::start(&detail::default_pool(), from, std::forward<F>(f));
}
template <detail::no_place F, class A>
  requires detail::startable<F, A>
auto async(F&& f, A&& a, ERRAND_FROM) {
  return detail::start(&detail::default_pool(), from, std::forward<F>(f), std::forward<A>(a));
}
template <detail::no_place F, class A, class B>
  requires detail::startable<F, A, B>
auto async(F&& f, A&& a, B&& b, ERRAND_FROM) {
  return detail::start(&detail::default_pool(), from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b));
}
template <detail::no_place F, class A, class B, class C>
  requires detail::startable<F, A, B, C>
auto async(F&& f, A&& a, B&& b, C&& c, ERRAND_FROM) {
  return detail::start(&detail::default_pool(), from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b),
                       std::forward<C>(c));
}
template <detail::no_place F, class A, class B, class C, class D>
  requires detail::startable<F, A, B, C, D>
auto async(F&& f, A&& a, B&& b, C&& c, D&& d, ERRAND_FROM) {
  return detail::start(&detail::default_pool(), from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b),
                       std::forward<C>(c), std::forward<D>(d));
}
/// Five arguments and more: the line is not captured; async({}, f, args...) captures it.
template <detail::no_place F, class... Args>
  requires(sizeof...(Args) > 4) && detail::startable<F, Args...>
auto async(F&& f, Args&&... args) {
  return detail::start(&detail::default_pool(), std::source_location{}, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same at a place: `threads`, `inplace`, `blocking`, a pool.
template <detail::core_place Where, class F>
  requires detail::runs<F>
auto async(Where&& where, F&& f, ERRAND_FROM) {
  return detail::start(detail::place_access::core(where), from, std::forward<F>(f));
}
template <detail::core_place Where, class F, class A>
  requires detail::startable<F, A>
auto async(Where&& where, F&& f, A&& a, ERRAND_FROM) {
  return detail::start(detail::place_access::core(where), from, std::forward<F>(f), std::forward<A>(a));
}
template <detail::core_place Where, class F, class A, class B>
  requires detail::startable<F, A, B>
auto async(Where&& where, F&& f, A&& a, B&& b, ERRAND_FROM) {
  return detail::start(detail::place_access::core(where), from, std::forward<F>(f), std::forward<A>(a),
                       std::forward<B>(b));
}
template <detail::core_place Where, class F, class A, class B, class C>
  requires detail::startable<F, A, B, C>
auto async(Where&& where, F&& f, A&& a, B&& b, C&& c, ERRAND_FROM) {
  return detail::start(detail::place_access::core(where), from, std::forward<F>(f), std::forward<A>(a),
                       std::forward<B>(b), std::forward<C>(c));
}
template <detail::core_place Where, class F, class A, class B, class C, class D>
  requires detail::startable<F, A, B, C, D>
auto async(Where&& where, F&& f, A&& a, B&& b, C&& c, D&& d, ERRAND_FROM) {
  return detail::start(detail::place_access::core(where), from, std::forward<F>(f), std::forward<A>(a),
                       std::forward<B>(b), std::forward<C>(c), std::forward<D>(d));
}
template <detail::core_place Where, class F, class... Args>
  requires(sizeof...(Args) > 4) && detail::startable<F, Args...>
auto async(Where&& where, F&& f, Args&&... args) {
  return detail::start(detail::place_access::core(where), std::source_location{}, std::forward<F>(f),
                       std::forward<Args>(args)...);
}
#undef ERRAND_FROM

/// The same with options: `async({.timeout = 2s, .name = "fetch"}, f, args...)`. Also throws std::bad_alloc for them.
template <class F, class... Args>
  requires detail::runs<F, Args...>
auto async(how const& options, F&& f, Args&&... args) {
  return detail::start(options, std::forward<F>(f), std::forward<Args>(args)...);
}
/// Of options that have a name of their own, and may change.
template <class Options, class F, class... Args>
  requires std::is_same_v<std::remove_cvref_t<Options>, how> && detail::runs<F, Args...>
auto async(Options&& options, F&& f, Args&&... args) {
  return detail::start(options, std::forward<F>(f), std::forward<Args>(args)...);
}

// What is wrong when the compiler points here:
template <class... Arguments>
void async(Arguments&&...) = delete;  // errand::async: the function cannot be called with copies of these arguments. An argument it takes by reference is passed as std::ref(x); std::launch policies are places here: threads, inplace, a pool.

// ---- inside a coroutine ------------------------------------------------------------------------------------------------

/// `co_await resume_on(where)`: the coroutine, and with it the task it is part of, goes on at `threads` or in that pool from
/// now on, also after later waits; at once, without suspending, if it is there. No point of cancellation. The pool must
/// not have come to its end. Throws std::invalid_argument for a `place` that is `inplace` or `blocking`, std::logic_error in a
/// coroutine that runs as part of no task of errand's.
template <detail::core_place Where>
detail::resume_on_awaiter resume_on(Where&& where) {
  static_assert(!std::is_same_v<std::remove_cvref_t<Where>, inplace_t>,
                "errand: resume_on(inplace) names no thread to go on on; a coroutine stays where it is by itself");
  static_assert(!std::is_same_v<std::remove_cvref_t<Where>, blocking_t>,
                "errand: resume_on(blocking): there a coroutine cannot suspend; co_await async(blocking, f) is for what blocks");
  return detail::resume_on_awaiter{detail::place_access::core(where)};
}

// ---- inside a task ---------------------------------------------------------------------------------------------------

/// What a running task may ask of itself. Outside any task: no name, a token that never stops; sleeping sleeps the thread.
namespace this_task {

/// The name its starter gave it, or nothing. Valid while the task runs.
[[nodiscard]] std::string_view name() noexcept;
/// The token by which it learns that it was asked to stop; the same that a callable taking a std::stop_token gets. One that
/// the task has kept may say so a moment after a point of cancellation has thrown: stops call the callbacks one by one.
[[nodiscard]] std::stop_token stop_token();
/// Throws operation_cancelled if the task, or the task that started it, was asked to stop. A point of cancellation.
void check_stop();
/// Lets others run first, if any are ready. A point of cancellation. A foreign thread yields to the system's scheduler.
void yield();

/// Parks the task until the time has come (blocks a foreign thread). Points of cancellation: throw operation_cancelled;
/// std::bad_alloc if there is no stack to be had for its worker. In a coroutine, `co_await errand::sleep_for()` needs no stack.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> const& span) {
  detail::sleep_until(detail::deadline_of(span));
}
template <class Clock, class Duration>
void sleep_until(std::chrono::time_point<Clock, Duration> const& at) {
  detail::sleep_until(detail::deadline_of(at));
}

}  // namespace this_task

// ---- the end of the program ------------------------------------------------------------------------------------------

/// For `return errand::finish();` in main: waits until all detached tasks, and all writes of files, have ended, at most
/// ERRAND_EXIT_DEADLINE seconds (10; anew while files are written), and says on stderr what was left. Returns 0, or 1 if a
/// task was left or an error was never taken. The same wait happens at the program's normal end anyway; finish() turns it into
/// an exit status. Not to be called from a task.
[[nodiscard]] int finish();

// ---- what was declared before places were known ------------------------------------------------------------------------

template <class T>
T task<T>::get() {
  return async(std::move(*this)).get();
}

namespace detail {

template <class Where>
place_core* place_of_link(Where&& where) {
  static_assert(core_place<Where>, "errand: then(where, f): where is threads, blocking, a pool or a place");
  static_assert(!std::is_same_v<std::remove_cvref_t<Where>, inplace_t>,
                "errand: then() never calls f inside then(), nor in the midst of another task's end: not inplace");
  place_core* const core = place_access::core(where);
  if (core == nullptr) throw_inplace_link();
  return core;
}

/// The body of then(f) for an input of type T, whose value it is to see as Value.
template <class T, class Value, class F>
struct body_of_link {
  static_assert(continues_plainly<F, Value> || continues_with_token<F, Value>,
                "errand: the function given to then() cannot be called with the value of the task before");
  using type = continuation<T, std::decay_t<F>, Value>;
};
template <class F>
struct body_of_link<void, void, F> {
  static_assert(continues_plainly<F> || continues_with_token<F>,
                "errand: the function given to then() cannot be called with no arguments: the task before gives no value");
  using type = continuation<void, std::decay_t<F>>;
};

template <class T, class F>
auto then(future<T>& f, place_core* where, F&& function, std::source_location from) {
  auto& input = future_access::record_of(f, "errand::future::then()");
  return continue_with<typename body_of_link<T, T, F>::type>(input, false, where, std::forward<F>(function), from,
                                                             [&f]() noexcept { future_access::release(f); });
}
template <class T, class F>
auto then(shared_future<T> const& f, place_core* where, F&& function, std::source_location from) {
  auto& input = future_access::record_of(f, "errand::shared_future::then()");
  return continue_with<typename body_of_link<T, shared_value<T>, F>::type>(
      input, true, where, std::forward<F>(function), from, [&input]() noexcept { add_share(input); });
}

}  // namespace detail

template <class T>
template <class F>
auto future<T>::then(F&& f, std::source_location from) {
  return detail::then(*this, nullptr, std::forward<F>(f), from);
}
template <class T>
template <class Where, class F>
auto future<T>::then(Where&& where, F&& f, std::source_location from) {
  return detail::then(*this, detail::place_of_link(where), std::forward<F>(f), from);
}
template <class T>
template <class F>
auto shared_future<T>::then(F&& f, std::source_location from) const {
  return detail::then(*this, nullptr, std::forward<F>(f), from);
}
template <class T>
template <class Where, class F>
auto shared_future<T>::then(Where&& where, F&& f, std::source_location from) const {
  return detail::then(*this, detail::place_of_link(where), std::forward<F>(f), from);
}

}  // namespace errand
