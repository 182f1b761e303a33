// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A pool: its workers, its inbox, and who of them sleeps. The scheduler's five verbs are start_on() (submit), park(),
// make_ready(), run (worker.cpp) and stop (the destructor). The sleep protocol is in README.md.
#pragma once

#include "sched/inbox.hpp"
#include "task/place.hpp"
#include "sched/worker.hpp"

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace errand {
struct pool_statistics;
}

namespace errand::detail {

struct thread_hook;

/// What a pool's maker may choose beside its size.
struct pool_setup {
  bool pinned = false;
  std::string name = "errand";
  std::shared_ptr<thread_hook> hook{};  // shared with the pool that is started anew in the child of a fork
  unsigned most_spares = 0;             // at a time; a pinned pool has none all the same
};

/// What a worker that slept is to do.
enum class woken_to : std::uint8_t {
  leave,   // its thread is to end
  search,  // look for work; it is counted as searching
  run,     // a spare that was called: look for work, not counted
};

class pool_core : public place_core {
 public:
  /// Starts `workers` threads. Throws std::system_error. With none it is what stands behind `blocking`: start_on() looks.
  explicit pool_core(unsigned workers, pool_setup setup = {});
  /// Lets everything that was given to it end, then joins the threads.
  ~pool_core();
  pool_core(pool_core const&) = delete;
  pool_core& operator=(pool_core const&) = delete;

  /// In the child of a fork: a pool of the parent's, whose threads are not here. Nothing is destroyed; its memory is kept
  /// where leak checkers look.
  static void leave_to_parent(pool_core& left) noexcept;

  [[nodiscard]] unsigned size() const noexcept { return size_; }
  /// Those that may have work in their deques: its own, then spares. From anywhere; (P2) seq_cst: a spare is counted before
  /// it pushes.
  [[nodiscard]] std::size_t worker_count() const noexcept { return size_ + spares_seen_.load(std::memory_order_seq_cst); }
  [[nodiscard]] worker& worker_at(std::size_t i) const noexcept { return i < size_ ? workers_[i] : *spares_[i - size_]; }
  [[nodiscard]] inbox& arrivals() noexcept { return inbox_; }
  /// How many of its tasks, at most, are run at a time.
  [[nodiscard]] unsigned width() const noexcept;
  [[nodiscard]] pool_setup const& setup() const noexcept { return setup_; }
  [[nodiscard]] bool pinned() const noexcept { return setup_.pinned; }
  [[nodiscard]] std::string thread_name(unsigned index) const;
  /// The first thing that each of its threads does.
  void prepare_thread(unsigned index) noexcept;
  [[nodiscard]] pool_statistics statistics() noexcept;

  /// From outside its workers: into the inbox, and wakes a worker if need be. `tasks` as for the inbox. The pool may be gone
  /// when this returns.
  void push_from_outside(runnable& r, std::uint64_t tasks) noexcept {
    auto* const word = inbox_.push(&r, tasks, [this] { return whom_to_wake(false); });
    if (word != nullptr) wake(word);
  }
  /// From anywhere, for something that the worker `only` alone may go on with: into its mail.
  void push_to_worker(runnable& r, std::uint32_t only) noexcept;
  /// By one of its workers, after it has pushed to its own deque. `lone`: nothing else lay there, so the worker may well
  /// be about to run it by itself; that does not wake one who naps.
  void notify(bool lone = false) noexcept {
    if (quiet_.load(std::memory_order_relaxed)) return;  // there is nobody but the one that has pushed
    if (auto* const word = whom_to_wake(lone); word != nullptr) wake(word);
  }

  // ---- tasks that come to a worker later, or never: links of chains. Anybody may call these. --------------------------

  /// A task is given to it: counted as started, and not yet to be run. The caller knows that the pool is open.
  void expect() noexcept;
  /// The same if `pool` is open: false if it was destroyed, or is closed.
  [[nodiscard]] static bool expect_if_open(place_core& pool) noexcept;
  /// A task that was expected has ended, and never came to a worker. The pool may be gone when this returns.
  void forgo() noexcept;

  // ---- for its workers ----------------------------------------------------------------------------------------------

  /// running -> searching: at most half of the workers, and no more than there are processors, look for work at a time;
  /// false for the others, which sleep.
  [[nodiscard]] bool begin_searching() noexcept;
  /// searching -> running. The last searcher hands on what it may have missed to somebody else: README.md (P3).
  void end_searching() noexcept;
  /// Sleeps until woken, as a searcher, or until the pool closes. `was_searching`: give that up in the same step.
  [[nodiscard]] woken_to sleep(worker& w, bool was_searching) noexcept;
  /// For a searcher that was woken in vain several times: it naps, still counted as searching, as long as the others go on
  /// starting tasks that they run by themselves, so that they need not wake anybody for each. True: there is, or may be, work.
  [[nodiscard]] bool nap_while_others_start(worker& w) noexcept;
  /// Whether anything is to be seen in the inbox or any deque.
  [[nodiscard]] bool has_work() const noexcept;

  // ---- spares: spares.cpp, README.md -----------------------------------------------------------------------------------

  /// By each of its own workers once, when it has looked for its first task: from the last one on the monitor may be called.
  void arrive() noexcept;
  /// By the monitor: looks at the open pools that are to be watched. When to look again, no_deadline if none is left.
  [[nodiscard]] static std::int64_t look_at_watched() noexcept;
  /// By a spare that would pick up work: whether whom it stands in for is still blocked.
  [[nodiscard]] bool still_needed(worker& spare) noexcept;
  /// By a spare that is not, and whose deque is empty: sleeps until it is called. False: its thread is to end.
  [[nodiscard]] bool rest(worker& spare) noexcept;
  /// By a spare's thread, which ends.
  void has_left(worker& spare) noexcept;
  [[nodiscard]] int number_of_first_thread() const noexcept { return workers_[0].probe_.number(); }

 private:
  // idle_: how many sleep (from bit 0), whether the monitor does not watch, and may be called (bit 30), whether one naps
  // (bit 31), how many search, the napper included (from bit 32).
  static constexpr std::uint64_t one_sleeping = 1;
  static constexpr std::uint64_t unwatched = std::uint64_t{1} << 30;
  static constexpr std::uint64_t napping = std::uint64_t{1} << 31;
  static constexpr std::uint64_t one_searching = std::uint64_t{1} << 32;
  static constexpr std::uint64_t sleeping(std::uint64_t idle) noexcept { return idle & (unwatched - 1); }
  static constexpr bool somebody_to_wake(std::uint64_t idle) noexcept { return (idle & (napping - 1)) != 0; }
  static constexpr std::uint64_t searching(std::uint64_t idle) noexcept { return idle >> 32; }

  // The napper, unless the push was a lone one; else a sleeper, now counted as searching, if no worker is looking for work
  // already; if none sleeps, the monitor. The word it sleeps on, for wake().
  [[nodiscard]] wake_word* whom_to_wake(bool lone) noexcept {
    // (P1) seq_cst: after the push. Either we see the sleeper here or it sees the push there, (P2).
    auto const idle = idle_.load(std::memory_order_seq_cst);
    if ((idle & napping) != 0) return lone ? nullptr : choose_napper();
    return somebody_to_wake(idle) && searching(idle) == 0 ? choose_sleeper() : nullptr;
  }
  [[nodiscard]] wake_word* choose_sleeper() noexcept;
  [[nodiscard]] wake_word* choose_napper() noexcept;
  [[nodiscard]] wake_word* choose(worker& w) noexcept;
  [[nodiscard]] std::uint64_t started() const noexcept;
  [[nodiscard]] bool close_if_all_ended() noexcept;
  [[nodiscard]] worker& take_sleeper() noexcept;  // under sleep_guard_, from a list that is not empty
  void take_sleeper(worker& w) noexcept;          // likewise, this one, who stands in the list
  void unlist(worker& w) noexcept;                // likewise, and no more than that
  static void wake(wake_word* word) noexcept;
  static void wait_until_woken(worker& w) noexcept;
  [[nodiscard]] bool all_ended() noexcept;
  void close() noexcept;
  void settle_if_closing() noexcept;  // under sleep_guard_
  void join_all() noexcept;

  // Spares. Under sleep_guard_, where nothing else is said.
  template <class F>
  void for_each(F f) const {  // of those it has and had
    for (unsigned i = 0; i < size_; ++i) f(workers_[i]);
    auto const made = spares_made_.load(std::memory_order_acquire);  // (M2)
    for (unsigned i = 0; i < made; ++i) f(*spares_[i]);
  }
  [[nodiscard]] bool has_spares() const noexcept { return setup_.most_spares != 0 && !setup_.pinned; }
  [[nodiscard]] std::int64_t look() noexcept;          // by the monitor, not under it
  [[nodiscard]] bool stop_watching() noexcept;         // likewise
  void find_blocked() noexcept;                        // likewise
  void call_spares() noexcept;                         // likewise
  [[nodiscard]] bool start_spare(worker& s) noexcept;  // likewise
  [[nodiscard]] bool is_blocked(worker& w) noexcept;
  [[nodiscard]] bool chain_is_blocked(worker const& spare) noexcept;
  [[nodiscard]] bool freeze(worker& w, std::int64_t ran, char state) noexcept;
  [[nodiscard]] worker* take_spare() noexcept;
  [[nodiscard]] worker* make_spare() noexcept;
  void put_to_rest(worker& s) noexcept;
  void retire(worker& s, worker::presence to) noexcept;
  void part(worker& s) noexcept;
  void dismiss_stand_in(worker& w) noexcept;
  [[nodiscard]] woken_to await_wake(worker& w) noexcept;  // not under it
  [[nodiscard]] bool leave(worker& s) noexcept;           // likewise
  void update_spares_seen() noexcept;
  void update_quiet() noexcept;

  pool_setup const setup_;
  unsigned size_;
  unsigned most_searching_;  // at a time
  std::unique_ptr<worker[]> workers_;
  inbox inbox_;
  // Spares that were made so far; they stay until the end of the pool. Written by the monitor, each before it is counted.
  std::unique_ptr<std::unique_ptr<worker>[]> spares_{};
  std::atomic<unsigned> spares_made_{0};
  std::atomic<unsigned> spares_seen_{0};  // changed under sleep_guard_: all up to the last active one
  std::atomic<bool> quiet_;               // likewise: a push by the only worker need not look whom to wake, for there is nobody
  std::atomic<bool> watched_{false};      // likewise: the monitor looks at it

  alignas(128) std::atomic<std::uint64_t> idle_{0};  // changed under sleep_guard_ or by searchers
  small_lock sleep_guard_;                     // may be taken under the inbox's guard, not the other way round
  worker* sleepers_ = nullptr;                 // under sleep_guard_: the one that fell asleep last comes first
  worker* napper_ = nullptr;                   // likewise: whoever naps, until he is chosen or wakes by himself
  worker* resting_ = nullptr;                  // likewise: spares
  unsigned arrived_ = 0;                       // likewise: workers that have looked for their first task
  unsigned active_spares_ = 0;                 // likewise
  unsigned spare_threads_ = 0;                 // likewise: active, resting
  unsigned leaving_spares_ = 0;                // likewise
  std::uint64_t forgone_ = 0;                  // likewise: tasks that ended without a worker
  bool closing_ = false;                       // likewise: the destructor waits for the end of all tasks
  bool closed_ = false;                        // likewise: the workers are to leave
  std::atomic<std::uint32_t> settled_{0};      // what the destructor sleeps on
  bool looked_at_ = false;                     // under the lock of the open pools: the monitor is at it
  struct candidate {
    worker* who;
    std::int64_t ran;
    char state;
  };
  std::vector<candidate> candidates_{};        // the monitor's own
  std::vector<worker*> called_{};              // likewise
  unsigned looks_in_vain_ = 0;                 // likewise
  std::int64_t look_interval_ = 0;             // likewise, ns
  pool_core* next_open_ = nullptr;             // in the list of open pools, under its lock
  pool_core* left_before_ = nullptr;           // in the list of those left to the parent
};

/// A place that is no queue, as what it is.
[[nodiscard]] inline pool_core& as_pool(place_core& p) noexcept { return static_cast<pool_core&>(p); }
/// To where a task belongs that is given to that place: to nowhere at `blocking`.
[[nodiscard]] inline place_core* home_at(place_core& p) noexcept {
  return p.what() != place_core::kind::blocking ? &p : nullptr;
}
/// The pool that counts a task of that home; null for one of no home or of a queue.
[[nodiscard]] inline pool_core* pool_of(place_core* home) noexcept {
  return home != nullptr && !home->is_queue() ? &as_pool(*home) : nullptr;
}
/// The pool to spread a loop over; null for `inplace`. Throws std::invalid_argument for a queue.
[[nodiscard]] pool_core* pool_of_loop(place_core* where);

}  // namespace errand::detail
