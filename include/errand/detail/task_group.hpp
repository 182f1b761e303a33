// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: parallel
//
// A group of tasks that belong together: started one by one, from anywhere, joined as one. Its tasks have no futures; a
// failure of one stops the others; nothing of them is left when wait() or the destructor returns. Included by group.hpp.
#pragma once

#include <errand/task.hpp>

#include <vector>

namespace errand {
namespace detail {

class group_record;

/// A record that stands in its group's list from its start to its end.
struct group_member : record {
  using record::record;
  group_member* next_member_ = nullptr;      // under the group's guard
  group_member** link_to_member_ = nullptr;  // likewise
};

[[nodiscard]] group_record& make_group(std::source_location from);
/// Stops and joins all, reports the errors that nobody took.
void end_group(group_record& group) noexcept;
/// Starts a member, or runs it in place if there is no pool; in a group that was stopped it never begins. Takes over the
/// record.
void spawn(group_record& group, place_core* where, group_member& member);
void spawn(group_record& group, place_core* where, group_member& member, start_options const& options);
void wait_for_group(group_record& group);
void stop_group(group_record& group) noexcept;
[[nodiscard]] std::vector<std::exception_ptr> errors_of_group(group_record& group);

}  // namespace detail

/// Tasks that belong together: `spawn` starts one more, `wait` joins all. The first that fails stops the others.
///
/// Any thread may spawn, stop and wait, also the group's own tasks may spawn; but all that must have returned before the
/// group is destroyed. Tasks free themselves as they end, so a group may serve any number of them. What a task did
/// happens before the end of a wait that joined it.
///
/// A stop of the task that made the group, or of one that waits for it, is a stop of the group. A group that was stopped
/// stays stopped: what has not begun, and what is spawned from then on, never begins.
class task_group {
 public:
  /// Its tasks run at `on`, unless spawn() says otherwise. Throws std::bad_alloc.
  explicit task_group(place on = threads, std::source_location from = std::source_location::current())
      : group_{&detail::make_group(from)}, on_{on} {}
  task_group(task_group const&) = delete;
  task_group& operator=(task_group const&) = delete;
  /// Stops its tasks and joins them. An error nobody took, by wait() or errors(), is reported with its task's line. Inside
  /// one of its own tasks it ends the program with a message.
  ~task_group() { detail::end_group(*group_); }

  /// Starts f(args...) as one more task; as async() does, but its result is ignored. At `inplace` it returns when f has.
  /// Never waits otherwise. Throws std::bad_alloc, std::system_error (the default pool's threads could not be started),
  /// and what copying throws.
#define ERRAND_FROM std::source_location from = std::source_location::current()
  template <detail::no_place F>
    requires detail::runs<F>
  void spawn(F&& f, ERRAND_FROM) {
    start(on_, from, std::forward<F>(f));
  }
  template <detail::no_place F, class A>
    requires detail::startable<F, A>
  void spawn(F&& f, A&& a, ERRAND_FROM) {
    start(on_, from, std::forward<F>(f), std::forward<A>(a));
  }
  template <detail::no_place F, class A, class B>
    requires detail::startable<F, A, B>
  void spawn(F&& f, A&& a, B&& b, ERRAND_FROM) {
    start(on_, from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b));
  }
  template <detail::no_place F, class A, class B, class C>
    requires detail::startable<F, A, B, C>
  void spawn(F&& f, A&& a, B&& b, C&& c, ERRAND_FROM) {
    start(on_, from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
  }
  template <detail::no_place F, class A, class B, class C, class D>
    requires detail::startable<F, A, B, C, D>
  void spawn(F&& f, A&& a, B&& b, C&& c, D&& d, ERRAND_FROM) {
    start(on_, from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d));
  }
  /// Five arguments and more: the line is not captured; spawn({}, f, args...) captures it.
  template <detail::no_place F, class... Args>
    requires(sizeof...(Args) > 4) && detail::startable<F, Args...>
  void spawn(F&& f, Args&&... args) {
    start(on_, std::source_location{}, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// The same at another place.
  template <detail::core_place Where, class F>
    requires detail::runs<F>
  void spawn(Where&& where, F&& f, ERRAND_FROM) {
    start(where, from, std::forward<F>(f));
  }
  template <detail::core_place Where, class F, class A>
    requires detail::startable<F, A>
  void spawn(Where&& where, F&& f, A&& a, ERRAND_FROM) {
    start(where, from, std::forward<F>(f), std::forward<A>(a));
  }
  template <detail::core_place Where, class F, class A, class B>
    requires detail::startable<F, A, B>
  void spawn(Where&& where, F&& f, A&& a, B&& b, ERRAND_FROM) {
    start(where, from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b));
  }
  template <detail::core_place Where, class F, class A, class B, class C>
    requires detail::startable<F, A, B, C>
  void spawn(Where&& where, F&& f, A&& a, B&& b, C&& c, ERRAND_FROM) {
    start(where, from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
  }
  template <detail::core_place Where, class F, class A, class B, class C, class D>
    requires detail::startable<F, A, B, C, D>
  void spawn(Where&& where, F&& f, A&& a, B&& b, C&& c, D&& d, ERRAND_FROM) {
    start(where, from, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d));
  }
  template <detail::core_place Where, class F, class... Args>
    requires(sizeof...(Args) > 4) && detail::startable<F, Args...>
  void spawn(Where&& where, F&& f, Args&&... args) {
    start(where, std::source_location{}, std::forward<F>(f), std::forward<Args>(args)...);
  }
#undef ERRAND_FROM

  /// The same with options. `.on = threads`, which is what it is if nothing is said, means the group's own place. A task
  /// that its time limit stopped has failed.
  template <class F, class... Args>
    requires detail::runs<F, Args...>
  void spawn(how const& options, F&& f, Args&&... args) {
    auto* const where = detail::place_access::core(detail::place_access::is_default(options.on) ? on_ : options.on);
    auto const carried = detail::carried_by(options);
    auto* r = detail::make_task_record<detail::group_member>(options.from, std::forward<F>(f), std::forward<Args>(args)...);
    detail::spawn(*group_, where, *r, carried);
  }
  /// Of options that have a name of their own, and may change.
  template <class Options, class F, class... Args>
    requires std::is_same_v<std::remove_cvref_t<Options>, how> && detail::runs<F, Args...>
  void spawn(Options&& options, F&& f, Args&&... args) {
    spawn(std::as_const(options), std::forward<F>(f), std::forward<Args>(args)...);
  }

  // What is wrong when the compiler points here:
  template <class... Arguments>
  void spawn(Arguments&&...) = delete;  // errand::task_group::spawn: the function cannot be called with copies of these arguments. An argument it takes by reference is passed as std::ref(x). Its places are threads, inplace, blocking and pools: for worker processes spawn a task that waits for async(processes, f, args...).

  /// Waits until all tasks have ended, those included that are spawned meanwhile. Rethrows the first failure, then and each
  /// time after. Returns normally if there was none, also if request_stop() was called. A point of cancellation: a stop of
  /// the waiting task stops the group; when all have ended operation_cancelled is thrown; at once in a task below one of the
  /// group's own. Throws deadlock in one of its own tasks.
  void wait() { detail::wait_for_group(*group_); }

  /// Asks its tasks, and theirs, to stop, and returns at once.
  void request_stop() noexcept { detail::stop_group(*group_); }

  /// The failures so far, in the order in which they came. They count as taken. Throws std::bad_alloc.
  [[nodiscard]] std::vector<std::exception_ptr> errors() { return detail::errors_of_group(*group_); }

 private:
  template <class Where, class F, class... Args>
  void start(Where&& where, std::source_location from, F&& f, Args&&... args) {
    auto* const pool = detail::place_access::core(where);
    auto* r = detail::make_task_record<detail::group_member>(from, std::forward<F>(f), std::forward<Args>(args)...);
    detail::spawn(*group_, pool, *r);
  }

  detail::group_record* group_;
  place on_;
};

}  // namespace errand
