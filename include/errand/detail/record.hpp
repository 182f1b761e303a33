// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// The completion record: the one block of memory behind a started task, and the waiter, the one way to be told
// that it has ended. Templates derive from `record` to add the callable and the result; everything that can be
// said without knowing their types is a function compiled once, declared here, and defined in src/task and src/sched.
// Who may touch which field, and the state word's bits and transitions, are in src/task/README.md.
#pragma once

#include <errand/detail/process_generation.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>

namespace errand::detail {

class pool_core;
class place_core;
struct record;
struct rare_fields;

/// How an item gets into a queue: which of those that wait comes first, and whether it runs alone.
enum class lane : std::uint8_t { normal, high, low, barrier };

/// Any worker of a pool; else the number of the one that alone may go on with something, in a pinned pool.
constexpr std::uint32_t any_worker = UINT32_MAX;

/// Something a worker takes from a deque or an inbox and carries on: a task not yet begun, a parked fiber,
/// a suspended coroutine. `run` may return on another thread than it was called on.
struct runnable {
  void (*run)(runnable* self) noexcept = nullptr;
};

/// Somebody who waits: a sleeping thread, a parked fiber, a suspended coroutine, a queue's callback.
/// Several sources may want to wake it (completion, stop, timer); the first to `claim` it calls `wake`, once.
struct waiter {
  waiter* next = nullptr;  // in the list of the record it waits for; under that record's lock
  void (*wake)(waiter* self) noexcept = nullptr;
  // (W1) acq_rel compare-exchange: the first to claim it wakes it; pairs with (W1) of the others.
  std::atomic<std::uint8_t> claimed_by{0};
  // (W2) release by a stopper that came too late and has let go; pairs with (W2) acquire in disarm().
  std::atomic<bool> stopper_left{false};
};

struct timer_entry;

/// The waiter of a thread or a fiber, which can tell what it waits for.
struct parked_waiter : waiter {
  record* awaits = nullptr;  // before it is shown (S2); taken back under the guard of the searches for cycles
};

/// How a waiter is shown to stoppers, and to searches for cycles of waits: its address, or one of these with a bit added.
struct shown_as {
  static constexpr std::uintptr_t nothing = 0;
  static constexpr std::uintptr_t parked = 1;     // the address of a parked_waiter: see its `awaits`
  static constexpr std::uintptr_t coroutine = 2;  // the address of the awaited record: the waiter is the task's own flow
};
/// The flow of a task that is a coroutine lies so far in front of its record.
constexpr std::size_t room_of_flow = 32;

/// One wait: what may end it. Lives in the frame that waits, beside its waiter.
struct wait_request {
  record* awaited = nullptr;           // a task whose end is waited for
  record* self = nullptr;              // the task that waits, if a stop of it shall end the wait
  std::uintptr_t shown = 0;            // how its interrupt_ then shows the waiter
  std::int64_t deadline = INT64_MAX;   // nanoseconds of the steady clock
  timer_entry* timer = nullptr;        // for the deadline, unless the thread itself sleeps up to it
  std::exception_ptr deadlock;         // by arm(): why there is no wait
  bool may_refuse = false;             // who waits can do with `deadlock`: asked of threads that serve queues
  bool holds_queues = false;           // who waits keeps queues from going on, and says so there
  // (A1) release: the last touch by arm(); disarm() acquires it before the frame may go.
  std::atomic<bool> armed{false};
};

/// What is asked of a record whose type only its maker knows.
enum class record_verb : std::uint8_t {
  run,      // call the body, keep its result or exception, destroy the body
  end,      // of a task that is a coroutine: it has ended; the same with its result
  drop,     // nobody will run it or look at it: destroy whatever is left of body and result. By drop_contents() alone
  destroy,  // destroy what is left of all, and give the memory back
  stop,     // of a record with stands_for_others_: it was asked to stop, and shall stop what it stands for. Once at most, and
            // perhaps at the same time as its end; the caller refers to it. Calls no code of the user's itself
  inputs,   // of the same: show those that it still waits for to the thread's input_visitor (task/inputs.hpp)
};

/// Bits of record::state. Their legal transitions: src/task/README.md.
struct record_state {
  static constexpr std::uint64_t lock = 1U << 0;       // guards waiters_, children_, and rare_ against others
  static constexpr std::uint64_t begun = 1U << 1;      // somebody runs it, or has stopped it unrun
  static constexpr std::uint64_t done = 1U << 2;       // the result stands; never cleared
  static constexpr std::uint64_t stop = 1U << 3;       // it was asked to stop
  static constexpr std::uint64_t handle = 1U << 4;     // a future refers to it
  static constexpr std::uint64_t queued = 1U << 5;     // a deque or inbox refers to it
  static constexpr std::uint64_t hooked = 1U << 6;     // waiters_ or children_ is not empty: to complete takes the lock
  static constexpr std::uint64_t kin = 1U << 7;        // it stands in its parent's list of children
  static constexpr std::uint64_t detached = 1U << 8;   // its handle was given up; it belongs to nobody but itself
  static constexpr std::uint64_t expired = 1U << 9;    // it was its deadline that asked it to stop
  static constexpr std::uint64_t unrun = 1U << 10;     // begun by who stopped it: the body was never called
  static constexpr std::uint64_t chained = 1U << 11;   // it has the handles of others: to release its own takes the long way
  static constexpr std::uint64_t member = 1U << 12;    // its handle is its group's, which is told of its end
  static constexpr std::uint64_t kept = 1U << 13;      // it is finished even if its handle is dropped: that detaches it
  static constexpr std::uint64_t lent = 1U << 14;      // a queue is kept as long as it: that of its home, if not those of `loans`
  static constexpr std::uint64_t awaits_input = 1U << 15;  // a link whose input has not ended: stopped, it ends with that, unrun
  static constexpr std::uint64_t orphan = 1U << 16;    // it was detached before it began, and has left its parent
  static constexpr std::uint64_t pin = 1U << 17;       // unit of the count of other references (modulo 2^47)
};

struct record : runnable {
  using act_function = bool (*)(record* self, record_verb verb) noexcept;
  static constexpr bool packed = false;  // its memory comes from allocate_record(); a derived one may say allocate_frame()

  record(act_function act, std::source_location from) noexcept : act_{act}, from_{from} {}
  record(record const&) = delete;
  record& operator=(record const&) = delete;

  // ---- The first cache line: all that a worker touches of a task that neither waits nor fails.
  std::atomic<std::uint64_t> state_{record_state::handle};
  act_function act_;                        // run answers whether the task has ended (a coroutine may go on later)
  place_core* home_ = nullptr;              // its pool or queue; none for work in place, at `blocking`, for outside completions
  record* parent_ = nullptr;                // the task that started it; valid until this one has ended
  std::atomic<rare_fields*> rare_{nullptr};  // (F1) name, stop source, deadline, kin: made when first needed, kept
  std::uint32_t born_in_ = process_generation;  // the process that made it; see inherited()
  std::uint32_t unresolved_children_ = 0;   // begun nowhere yet; only the task's own flow of control touches it
  bool has_value_ = false;                  // written before done, read after: it ended with a value,
  bool stopped_ = false;                    // or by a stop, with neither value nor error
  bool body_alive_ = true;                  // what is to be run, or dropped unrun, is still there
  bool nested_ = false;                     // it runs in place, on its parent's stack
  bool inplace_allowed_ = true;             // get() may run it on the waiting task's stack; not once it is shared
  bool tells_of_waits_ = false;             // rare_->on_wait is to be called before it waits
  std::atomic<bool> observed_{false};       // the error was taken by somebody; relaxed: a shared one has many takers
  bool stands_for_others_ = false;          // its end is theirs, and a stop of it their business (record_verb::stop, inputs)
  // ---- The second.
  std::source_location from_;               // the line that started the task
  waiter* waiters_ = nullptr;               // under lock
  record* children_ = nullptr;              // under lock; those that must hear of a stop (state bit kin).
  std::atomic<std::uintptr_t> interrupt_{0};  // (S2) whom a stop wakes, while the task waits; see task/stop.hpp
  std::exception_ptr error_;                // written before done; read after

  [[nodiscard]] bool done() const noexcept {
    return (state_.load(std::memory_order_acquire) & record_state::done) != 0;  // (C1) pairs with complete()
  }
  /// Whether it belongs to a parent process, which forked this one after its making. Here it is a picture: nobody works on
  /// it, its lock may be taken for ever, and nothing of it but its name, line and result may be looked at.
  [[nodiscard]] bool inherited() const noexcept { return born_in_ != process_generation; }
};

// ---- memory ---------------------------------------------------------------------------------------------------

/// Memory, recycled per thread: no system allocation in the steady state. Packed closely, for what may wait by the million and
/// is worked on rarely: frames and records of coroutines. Throws std::bad_alloc.
[[nodiscard]] void* allocate_frame(std::size_t size);
void deallocate_frame(void* memory, std::size_t size) noexcept;

constexpr std::size_t whole_cache_lines(std::size_t size) noexcept { return (size + 63) & ~std::size_t{63}; }
/// The same for any other record, which gets cache lines of its own.
[[nodiscard]] inline void* allocate_record(std::size_t size) { return allocate_frame(whole_cache_lines(size)); }
inline void deallocate_record(void* memory, std::size_t size) noexcept { deallocate_frame(memory, whole_cache_lines(size)); }

// ---- starting -------------------------------------------------------------------------------------------------

struct start_options;  // name, deadline, outer stop token: what `how` carries beyond place and line

/// Hands an unbegun record to its place; afterwards the caller owns the handle's reference and nothing else. Only a queue
/// may wait for room, or throw; then the record is destroyed.
void start_on(place_core& where, record& r);
/// Runs it here and now, nested in whatever the thread is doing; it may only be waited for afterwards.
void start_in_place(record& r) noexcept;
/// The same two with a name, a deadline, a stop token.
void start_on(place_core& where, record& r, start_options const& options);
void start_in_place(record& r, start_options const& options);

/// The pool behind `errand::threads`, made and started by the first call; never destroyed.
[[nodiscard]] place_core& default_pool();
/// What stands behind `errand::blocking`: a pool without workers, which gives each task a thread of its own. Likewise.
[[nodiscard]] place_core& blocking_place();

// ---- ending ---------------------------------------------------------------------------------------------------

/// running -> done: the result (error_, stopped_, or the value) is in place; wakes the waiters. May free the record.
void complete(record& r) noexcept;
/// `w` shall be woken when `r` ends. False if it has ended already: then nobody will.
[[nodiscard]] bool hook(record& r, waiter& w) noexcept;

// ---- waiting and stopping, for the holder of the handle -----------------------------------------------------------

constexpr std::int64_t no_deadline = INT64_MAX;  // nanoseconds of the steady clock

/// Waits until `r` is done: a point of cancellation. Throws operation_cancelled, deadlock.
void wait(record& r);
/// The same up to a point in time; never runs `r` in place. Returns whether it is done.
bool wait_until(record& r, std::int64_t deadline);
/// Asks the task and its children to stop; one that has not begun is stopped at once.
void request_stop(record& r) noexcept;
/// Asks it to stop, unless it is kept, and waits for its end whatever asks the waiting task to stop.
void stop_and_join(record& r) noexcept;
/// Stops, joins and lets go: what the destructor of a future does. One that is kept is detached.
void drop(record& r) noexcept;
/// Lets go of a record that is done, with the result that nobody else could take.
void release_handle(record& r) noexcept;
/// Lets go of one that may be running: it becomes its own owner, drained at exit.
void detach(record& r);
/// From now on the handle is shared: by one, at first. By its holder, who alone waited for it so far. Throws std::bad_alloc.
void share(record& r);
/// One more shares it; one does not any more. Of the last one: stops, joins and lets go.
void add_share(record& r) noexcept;
void drop_share(record& r) noexcept;
/// One does not share it any more. True if that was the last one, who is to let go of the handle.
[[nodiscard]] bool release_share(record& r) noexcept;
/// Rethrows the error, operation_cancelled or timed_out of a record that is done; returns if it holds a value.
void rethrow_failure(record& r);

}  // namespace errand::detail
