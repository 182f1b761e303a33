// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/pool_core.hpp"

#include "base/check.hpp"
#include "base/cpu_count.hpp"
#include "base/fork.hpp"
#include "fiber/overflow.hpp"
#include "sched/affinity.hpp"
#include "sched/blocking.hpp"
#include "sched/exit.hpp"
#include "sched/monitor.hpp"
#include "sched/spares.hpp"
#include "sched/threads.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/task.hpp>

#include <algorithm>
#include <string>
#include <system_error>

namespace errand {

namespace detail {

namespace {

std::size_t describe_running_task(char* buffer, std::size_t size) noexcept {
  record const* const current = this_thread().current;
  return current != nullptr ? describe_into(*current, buffer, size) : 0;
}

// All pools but those that are closed: whom a task that has ended ran on may be gone. The lock comes before a pool's own.
constinit small_lock open_pools_guard;
constinit pool_core* open_pools = nullptr;

}  // namespace

pool_core::pool_core(unsigned workers, pool_setup setup)
    : place_core{workers != 0 ? kind::pool : kind::blocking},
      setup_{std::move(setup)},
      size_{workers},
      most_searching_{std::clamp(workers / 2, 1U, std::max(1U, std::thread::hardware_concurrency()))},
      workers_{workers != 0 ? std::make_unique<worker[]>(workers) : nullptr},
      quiet_{workers == 1} {
  set_describe_running(&describe_running_task);
  drain_at_exit();
  unsigned started = 0;
  auto const take_back = [&] {
    close();
    for (unsigned i = 0; i < started; ++i) workers_[i].join();
  };
  try {
    for (; started < size_; ++started) workers_[started].start(*this, started);
  } catch (std::bad_alloc const&) {
    take_back();
    throw;
  } catch (std::system_error const& e) {
    take_back();
    throw std::system_error{e.code(), "errand: could not start worker " + std::to_string(started + 1) + " of " +
                                          std::to_string(size_) + " of the pool \"" + setup_.name + '"'};
  }
  std::lock_guard const held{open_pools_guard};
  next_open_ = std::exchange(open_pools, this);
}

pool_core::~pool_core() {
  if (auto const* const w = this_thread().as_worker; w != nullptr && &w->home() == this)
    fatal("the pool \"" + setup_.name + "\" is destroyed by one of its own tasks, which it would wait for" +
          (this_thread().current != nullptr ? ": " + describe(*this_thread().current) : std::string{}));
  {
    std::lock_guard const held{sleep_guard_};
    closing_ = true;
  }
  for (;;) {
    auto const seen = settled_.load(std::memory_order_acquire);  // (E2) pairs with (E1) in sleep()
    if (close_if_all_ended()) break;
    futex_wait(settled_, seen);
  }
  close();
  join_all();
}

// In one step as those see it who look for an open pool: what they expect of it is waited for, or they do not find it.
bool pool_core::close_if_all_ended() noexcept {
  std::lock_guard const held{open_pools_guard};
  if (looked_at_ || !all_ended()) return false;
  pool_core** link = &open_pools;
  while (*link != this) link = &(*link)->next_open_;
  *link = next_open_;
  return true;
}

void pool_core::expect() noexcept {
  if (auto* const w = this_thread().as_worker; w != nullptr && &w->home() == this) return w->count_started();
  inbox_.expect();
}

bool pool_core::expect_if_open(place_core& pool) noexcept {
  if (auto* const w = this_thread().as_worker; w != nullptr && &w->home() == &pool) {
    w->count_started();
    return true;
  }
  std::lock_guard const held{open_pools_guard};
  pool_core* open = open_pools;
  while (open != nullptr && open != &pool) open = open->next_open_;
  if (open != nullptr) open->inbox_.expect();
  return open != nullptr;
}

void pool_core::forgo() noexcept {
  if (auto* const w = this_thread().as_worker; w != nullptr && &w->home() == this) return w->count_ended();
  std::lock_guard const held{sleep_guard_};
  ++forgone_;
  settle_if_closing();
}

void pool_core::settle_if_closing() noexcept {
  if (!closing_) return;
  settled_.fetch_add(1, std::memory_order_release);  // (E1) pairs with (E2); under the lock, without which the pool is not closed
  futex_wake(&settled_);
}

pool_core* pool_of_loop(place_core* where) {
  if (where == nullptr || !where->is_queue()) return static_cast<pool_core*>(where);
  throw std::invalid_argument{"errand: a loop is spread over a pool; here the place is the " + where->gate().described() +
                              ", whose items take turns"};
}

unsigned pool_core::width() const noexcept { return size_ != 0 ? size_ : blocking_threads::of_process().most(); }

std::string pool_core::thread_name(unsigned index) const {
  constexpr std::size_t longest = 15;  // the system's limit
  auto const number = std::to_string(index).insert(0, 1, '/');
  return setup_.name.substr(0, longest - number.size()) + number;
}

void pool_core::prepare_thread(unsigned index) noexcept {
  if (setup_.pinned) bind_to_processor(index);
  if (setup_.hook != nullptr) setup_.hook->started(index);
}

pool_statistics pool_core::statistics() noexcept {
  std::lock_guard const held{sleep_guard_};  // whoever sleeps has done before all that he ever did
  unsigned asleep = 0;
  std::uint64_t ended = forgone_;
  std::uint64_t stolen = 0;
  for_each([&](worker const& w) {
    asleep += w.asleep_ && !w.is_spare_ ? 1 : 0;
    ended += w.ended();
    stolen += w.stolen();
  });
  return {.workers = size_, .asleep = asleep, .spares = spare_threads_, .started = started(), .ended = ended, .stolen = stolen};
}

bool pool_core::all_ended() noexcept {
  std::lock_guard const held{sleep_guard_};
  // All sleep, and what they did they did before: their counters stand still and are visible by this lock.
  if (sleeping(idle_.load(std::memory_order_relaxed)) != size_ + active_spares_ || has_work()) return false;
  std::uint64_t ended = forgone_;
  for_each([&](worker const& w) { ended += w.ended(); });
  return started() == ended;  // started last: what a worker has taken from the inbox was counted before, and is not missed
}

std::uint64_t pool_core::started() const noexcept {
  auto sum = inbox_.started();
  for_each([&](worker const& w) { sum += w.started(); });
  return sum;
}

void pool_core::close() noexcept {
  std::lock_guard const held{sleep_guard_};
  closed_ = true;
  while (sleepers_ != nullptr) wake(&take_sleeper().woken_);
  while (resting_ != nullptr) wake(&std::exchange(resting_, resting_->next_sleeper_)->woken_);
}

bool pool_core::has_work() const noexcept {
  if (!inbox_.seems_empty()) return true;
  auto const count = worker_count();
  for (std::size_t i = 0; i < count; ++i)
    if (!worker_at(i).work().seems_empty()) return true;
  return false;
}

bool pool_core::begin_searching() noexcept {
  auto idle = idle_.load(std::memory_order_relaxed);
  do {
    if (searching(idle) >= most_searching_) return false;
    // (P2) seq_cst, as all changes of idle_.
  } while (!idle_.compare_exchange_weak(idle, idle + one_searching, std::memory_order_seq_cst, std::memory_order_relaxed));
  return true;
}

void pool_core::end_searching() noexcept {
  // (P3) seq_cst: whoever saw us searching and therefore woke nobody has pushed before this.
  auto const before = idle_.fetch_sub(one_searching, std::memory_order_seq_cst);
  if (searching(before) == 1 && somebody_to_wake(before) && has_work()) notify();
}

worker& pool_core::take_sleeper() noexcept {
  worker& w = *sleepers_;
  sleepers_ = w.next_sleeper_;
  w.asleep_ = false;
  idle_.fetch_add(one_searching - one_sleeping, std::memory_order_seq_cst);  // (P2)
  return w;
}

void pool_core::unlist(worker& w) noexcept {
  worker** link = &sleepers_;
  while (*link != &w) link = &(*link)->next_sleeper_;
  *link = w.next_sleeper_;
  w.asleep_ = false;
}

void pool_core::take_sleeper(worker& w) noexcept {
  unlist(w);
  idle_.fetch_add(one_searching - one_sleeping, std::memory_order_seq_cst);  // (P2)
}

void pool_core::wake(wake_word* word) noexcept {
  word->store(1, std::memory_order_release);  // (Z1) pairs with await_wake(). The pool may be gone after this:
  futex_wake(word);                           // only the address is used
  if (word == &monitor_called) start_monitor();
}

wake_word* pool_core::choose_sleeper() noexcept {
  std::lock_guard const held{sleep_guard_};
  auto const idle = idle_.load(std::memory_order_relaxed);
  if (searching(idle) != 0) return nullptr;
  if (sleepers_ != nullptr) return &take_sleeper().woken_;
  if ((idle & unwatched) == 0) return nullptr;
  idle_.fetch_sub(unwatched, std::memory_order_seq_cst);  // (P2)
  watched_.store(true, std::memory_order_relaxed);
  update_quiet();
  return &monitor_called;
}

wake_word* pool_core::choose(worker& w) noexcept {
  // (P1) seq_cst: after the push. Either we see it asleep here or it sees its mail there, (P2).
  if (sleeping(idle_.load(std::memory_order_seq_cst)) == 0) return nullptr;
  std::lock_guard const held{sleep_guard_};
  if (!w.asleep_) return nullptr;
  take_sleeper(w);
  return &w.woken_;
}

void pool_core::push_to_worker(runnable& r, std::uint32_t only) noexcept {
  worker& w = workers_[only];
  auto* const word = w.mail_->push(&r, 0, [&] { return choose(w); });
  if (word != nullptr) wake(word);
}

wake_word* pool_core::choose_napper() noexcept {
  std::lock_guard const held{sleep_guard_};
  if (napper_ == nullptr) return nullptr;
  idle_.fetch_sub(napping, std::memory_order_seq_cst);  // (P2)
  return &std::exchange(napper_, nullptr)->woken_;
}

void pool_core::wait_until_woken(worker& w) noexcept {
  while (w.woken_.load(std::memory_order_acquire) == 0) futex_wait(w.woken_, 0);  // (Z1)
}

bool pool_core::nap_while_others_start(worker& w) noexcept {
  if (setup_.pinned) return false;  // mail wakes those who sleep
  // A task that its starter does not run by itself after all waits this long at most for another worker.
  constexpr std::int64_t nap = 100'000;  // ns
  for (auto before = started();;) {
    {
      std::lock_guard const held{sleep_guard_};
      if (napper_ != nullptr || closed_) return false;
      dismiss_stand_in(w);
      napper_ = &w;
      w.woken_.store(0, std::memory_order_relaxed);
      idle_.fetch_add(napping, std::memory_order_seq_cst);  // (P2)
    }
    bool const until_woken = futex_wait(w.woken_, 0, now() + nap);
    bool chosen;
    {
      std::lock_guard const held{sleep_guard_};
      chosen = napper_ != &w;
      if (!chosen) {
        napper_ = nullptr;
        idle_.fetch_sub(napping, std::memory_order_seq_cst);  // (P2)
      }
    }
    if (chosen) {
      wait_until_woken(w);  // whoever chose us may still be on the way: his wake must not meet our next sleep
      return true;
    }
    auto const after = started();
    if (after == before && !until_woken) return has_work();
    before = after;
  }
}

woken_to pool_core::sleep(worker& w, bool was_searching) noexcept {
  bool settling;
  {
    std::lock_guard const held{sleep_guard_};
    if (closed_) return woken_to::leave;
    dismiss_stand_in(w);
    if (size_ == 1 && active_spares_ == 0) w.work_.set_alone();  // no thief is left
    w.woken_.store(0, std::memory_order_relaxed);
    w.next_sleeper_ = sleepers_;
    sleepers_ = &w;
    w.asleep_ = true;
    idle_.fetch_add(one_sleeping - (was_searching ? one_searching : 0), std::memory_order_seq_cst);  // (P2)
    settling = closing_;
  }
  // (P2) counted first, then one more look: a push that did not see us is seen here.
  if (has_work() || w.has_mail()) {
    std::lock_guard const held{sleep_guard_};
    if (w.asleep_) {
      take_sleeper(w);
      return woken_to::search;
    }
    // Somebody has just woken us: the word is set or about to be.
  } else if (settling) {
    settled_.fetch_add(1, std::memory_order_release);  // (E1) pairs with (E2): the destructor looks whether that was the last
    futex_wake(&settled_);
  }
  return await_wake(w);
}

// As the monitor for a moment: nothing is looked at that has gone, and the pool stays until it is done.
std::int64_t pool_core::look_at_watched() noexcept {
  auto next_look = no_deadline;
  std::unique_lock held{open_pools_guard};
  for (pool_core* p = open_pools; p != nullptr; p = p->next_open_) {
    if (!p->watched_.load(std::memory_order_relaxed)) continue;
    p->looked_at_ = true;
    held.unlock();
    next_look = std::min(next_look, p->look());
    held.lock();
    p->looked_at_ = false;
    std::lock_guard const as_settling{p->sleep_guard_};
    p->settle_if_closing();
  }
  return next_look;
}

void pool_core::join_all() noexcept {
  for (unsigned i = 0; i < size_; ++i) workers_[i].join();
  for (unsigned i = 0; i < spares_made_.load(std::memory_order_relaxed); ++i) {
    worker& s = *spares_[i];
    sleep_guard_.lock();
    bool const stayed = s.presence_ == worker::presence::active || s.presence_ == worker::presence::resting;
    sleep_guard_.unlock();
    if (stayed) s.join();
  }
  for (;;) {
    auto const seen = settled_.load(std::memory_order_acquire);  // (E2) pairs with (E1) in settle_if_closing()
    {
      std::lock_guard const held{sleep_guard_};
      if (leaving_spares_ == 0) return;
    }
    futex_wait(settled_, seen);
  }
}

namespace {

// Leaked: no static destructor joins a thread.
constinit std::atomic<pool_core*> made_default_pool{nullptr};

// Held by who starts a pool that others may start at the same moment. Tempting: a static of a function. Fails because the
// child of a fork would inherit it in the midst of its making, and wait for ever.
constinit small_lock starting;

pool_core& make_default_pool() {
  run_first_thread_hooks();
  std::lock_guard const held{starting};
  if (auto* const made = made_default_pool.load(std::memory_order_relaxed); made != nullptr) return *made;
  auto* const made = new pool_core{default_worker_count(), {.most_spares = default_most_spares()}};
  made_default_pool.store(made, std::memory_order_release);  // (G1) the pool as made
  return *made;
}

constinit std::atomic<pool_core*> made_blocking_place{nullptr};

// It has neither threads nor queues in use, so the child of a fork keeps it.
pool_core& make_blocking_place() {
  std::lock_guard const held{starting};
  if (auto* const made = made_blocking_place.load(std::memory_order_relaxed); made != nullptr) return *made;
  auto* const made = new pool_core{0};
  made_blocking_place.store(made, std::memory_order_release);  // (G4) the place as made
  return *made;
}

// The child of a fork makes pools of its own when it first uses them. What the forking thread was doing in the parent goes on
// here as well if it is a foreign thread: a task that runs in place on it is the child's. A worker is none here, nor a blocking
// thread.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  static_cast<void>(starting.break_open());
  static_cast<void>(open_pools_guard.break_open());
  open_pools = nullptr;
  if (auto* const left = made_default_pool.exchange(nullptr, std::memory_order_relaxed); left != nullptr)
    pool_core::leave_to_parent(*left);
  thread_state& t = this_thread();
  if (t.as_worker != nullptr || t.blocking) t = {};
  for (record* r = t.current; r != nullptr; r = r->nested_ ? r->parent_ : nullptr) {
    r->born_in_ = process_generation;
    r->state_.fetch_and(~record_state::lock, std::memory_order_relaxed);
    r->tells_of_waits_ = false;
  }
}};

}  // namespace

void pool_core::leave_to_parent(pool_core& left) noexcept {
  static constinit std::atomic<pool_core*> all{nullptr};
  left.left_before_ = all.load(std::memory_order_relaxed);
  while (!all.compare_exchange_weak(left.left_before_, &left, std::memory_order_relaxed)) {
  }
}

place_core& default_pool() {
  auto* const made = made_default_pool.load(std::memory_order_acquire);  // (G1)
  return made != nullptr ? *made : make_default_pool();
}

place_core& blocking_place() {
  auto* const made = made_blocking_place.load(std::memory_order_acquire);  // (G4)
  return made != nullptr ? *made : make_blocking_place();
}

}  // namespace detail

pool::pool(unsigned workers) : pool{{.workers = workers}} {}

pool::pool(pool_options const& options) : pool{options, static_cast<detail::thread_hook*>(nullptr)} {}

pool::pool(pool_options const& options, detail::thread_hook* hook) {
  detail::pool_setup setup{.pinned = options.pinned, .hook = std::shared_ptr<detail::thread_hook>{hook}};
  setup.name = options.name;
  setup.most_spares = options.spares == pool_options::as_usual ? detail::default_most_spares() : options.spares;
  if (setup.most_spares > detail::most_workers)
    throw std::invalid_argument{"errand::pool: " + std::to_string(setup.most_spares) + " spares asked for, at most " +
                                std::to_string(detail::most_workers) + " allowed"};
  if (options.workers > detail::most_workers)
    throw std::invalid_argument{"errand::pool: " + std::to_string(options.workers) + " workers asked for, at most " +
                                std::to_string(detail::most_workers) + " allowed"};
  core_.store(new detail::pool_core{options.workers != 0 ? options.workers : detail::default_worker_count(), std::move(setup)},
              std::memory_order_relaxed);
}

pool::~pool() {
  auto* const core = static_cast<detail::pool_core*>(core_.load(std::memory_order_relaxed));
  if (born_in_.load(std::memory_order_relaxed) == detail::process_generation)
    delete core;
  else
    detail::pool_core::leave_to_parent(*core);
}

unsigned pool::size() const noexcept { return detail::as_pool(*core_.load(std::memory_order_relaxed)).size(); }

detail::place_core& pool::start_anew() const {
  detail::run_first_thread_hooks();
  std::lock_guard const held{detail::starting};
  auto* const core = static_cast<detail::pool_core*>(core_.load(std::memory_order_relaxed));
  if (born_in_.load(std::memory_order_relaxed) == detail::process_generation) return *core;
  auto* const fresh = new detail::pool_core{core->size(), core->setup()};
  detail::pool_core::leave_to_parent(*core);
  core_.store(fresh, std::memory_order_relaxed);
  born_in_.store(detail::process_generation, std::memory_order_release);  // (G2) the pool as made
  return *fresh;
}

pool_statistics pool::statistics() const noexcept {
  // (G2) acquire, as in core(). But nothing is started here: in the child of a fork it is idle up to its first task.
  if (born_in_.load(std::memory_order_acquire) == detail::process_generation)
    return detail::as_pool(*core_.load(std::memory_order_relaxed)).statistics();
  return {.workers = size(), .asleep = size(), .spares = 0, .started = 0, .ended = 0, .stolen = 0};
}

}  // namespace errand
