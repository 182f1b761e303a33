// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/pool_core.hpp"

#include "base/check.hpp"
#include "base/cpu_count.hpp"
#include "fiber/overflow.hpp"
#include "sched/affinity.hpp"
#include "sched/blocking.hpp"
#include "sched/exit.hpp"
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

}  // namespace

pool_core::pool_core(unsigned workers, pool_setup setup)
    : setup_{std::move(setup)},
      size_{workers},
      most_searching_{std::clamp(workers / 2, 1U, std::max(1U, std::thread::hardware_concurrency()))},
      workers_{workers != 0 ? std::make_unique<worker[]>(workers) : nullptr} {
  set_describe_running(&describe_running_task);
  drain_at_exit();
  unsigned started = 0;
  try {
    for (; started < size_; ++started) workers_[started].start(*this, started);
  } catch (std::system_error const& e) {
    close();
    for (unsigned i = 0; i < started; ++i) workers_[i].join();
    throw std::system_error{e.code(), "errand: could not start worker " + std::to_string(started + 1) + " of " +
                                          std::to_string(size_)};
  }
}

pool_core::~pool_core() {
  if (auto const* const w = this_thread().as_worker; w != nullptr && &w->home() == this)
    fatal("a pool is destroyed by one of its own tasks, which it would wait for");
  {
    std::lock_guard const held{sleep_guard_};
    closing_ = true;
  }
  for (;;) {
    auto const seen = settled_.load(std::memory_order_acquire);  // (E2) pairs with (E1) in sleep()
    if (all_ended()) break;
    futex_wait(settled_, seen);
  }
  close();
  for (auto& w : workers()) w.join();
}

unsigned pool_core::width() const noexcept { return size_ != 0 ? size_ : blocking_threads::of_process().most(); }

std::string pool_core::thread_name(unsigned index) const {
  constexpr std::size_t longest = 15;  // the system's limit
  auto const number = "/" + std::to_string(index);
  return setup_.name.substr(0, longest - number.size()) + number;
}

void pool_core::prepare_thread(unsigned index) noexcept {
  if (setup_.pinned) bind_to_processor(index);
  if (setup_.hook != nullptr) setup_.hook->started(index);
}

pool_statistics pool_core::statistics() noexcept {
  std::lock_guard const held{sleep_guard_};  // whoever sleeps has done before all that he ever did
  auto const asleep = static_cast<unsigned>(sleeping(idle_.load(std::memory_order_relaxed)));
  std::uint64_t ended = 0;
  std::uint64_t stolen = 0;
  for (auto const& w : workers()) {
    ended += w.ended();
    stolen += w.stolen();
  }
  return {.workers = size_, .asleep = asleep, .started = started(), .ended = ended, .stolen = stolen};
}

bool pool_core::all_ended() noexcept {
  std::lock_guard const held{sleep_guard_};
  // All sleep, and what they did they did before: their counters stand still and are visible by this lock.
  if (sleeping(idle_.load(std::memory_order_relaxed)) != size_ || has_work()) return false;
  std::uint64_t ended = 0;
  for (auto const& w : workers()) ended += w.ended();
  return started() == ended;  // started last: what a worker has taken from the inbox was counted before, and is not missed
}

std::uint64_t pool_core::started() const noexcept {
  auto sum = inbox_.started();
  for (worker const& w : std::span{workers_.get(), size_}) sum += w.started();
  return sum;
}

void pool_core::close() noexcept {
  std::lock_guard const held{sleep_guard_};
  closed_ = true;
  while (sleepers_ != nullptr) wake(take_sleeper());
}

bool pool_core::has_work() const noexcept {
  if (!inbox_.seems_empty()) return true;
  for (worker const& w : std::span{workers_.get(), size_})
    if (!w.work().seems_empty()) return true;
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
  if (searching(before) == 1 && sleeping(before) != 0 && has_work()) notify();
}

worker& pool_core::take_sleeper() noexcept {
  worker& w = *sleepers_;
  sleepers_ = w.next_sleeper_;
  w.asleep_ = false;
  idle_.fetch_add(one_searching - one_sleeping, std::memory_order_seq_cst);  // (P2)
  return w;
}

void pool_core::take_sleeper(worker& w) noexcept {
  worker** link = &sleepers_;
  while (*link != &w) link = &(*link)->next_sleeper_;
  *link = w.next_sleeper_;
  w.asleep_ = false;
  idle_.fetch_add(one_searching - one_sleeping, std::memory_order_seq_cst);  // (P2)
}

void pool_core::wake(worker& w) noexcept {
  auto* const word = &w.woken_;
  word->store(1, std::memory_order_release);  // (Z1) pairs with (Z1) in sleep(). The pool may be gone after this:
  futex_wake(word);                           // only the address is used
}

worker* pool_core::choose_sleeper() noexcept {
  std::lock_guard const held{sleep_guard_};
  if (sleepers_ == nullptr || searching(idle_.load(std::memory_order_relaxed)) != 0) return nullptr;
  return &take_sleeper();
}

worker* pool_core::choose(worker& w) noexcept {
  // (P1) seq_cst: after the push. Either we see it asleep here or it sees its mail there, (P2).
  if (sleeping(idle_.load(std::memory_order_seq_cst)) == 0) return nullptr;
  std::lock_guard const held{sleep_guard_};
  if (!w.asleep_) return nullptr;
  take_sleeper(w);
  return &w;
}

void pool_core::push_to_worker(runnable& r, std::uint32_t only) noexcept {
  worker& w = workers_[only];
  worker* const asleep = w.mail_->push(&r, 0, [&] { return choose(w); });
  if (asleep != nullptr) wake(*asleep);
}

worker* pool_core::choose_napper() noexcept {
  std::lock_guard const held{sleep_guard_};
  if (napper_ == nullptr) return nullptr;
  idle_.fetch_sub(napping, std::memory_order_seq_cst);  // (P2)
  return std::exchange(napper_, nullptr);
}

bool pool_core::nap_while_others_start(worker& w) noexcept {
  if (setup_.pinned) return false;  // mail wakes those who sleep
  // A task that its starter does not run by itself after all waits this long at most for another worker.
  constexpr std::int64_t nap = 100'000;  // ns
  for (auto before = started();;) {
    {
      std::lock_guard const held{sleep_guard_};
      if (napper_ != nullptr || closed_) return false;
      napper_ = &w;
      w.woken_.store(0, std::memory_order_relaxed);
      idle_.fetch_add(napping, std::memory_order_seq_cst);  // (P2)
    }
    bool const until_woken = futex_wait(w.woken_, 0, now() + nap);
    {
      std::lock_guard const held{sleep_guard_};
      if (napper_ != &w) return true;  // somebody chose us
      napper_ = nullptr;
      idle_.fetch_sub(napping, std::memory_order_seq_cst);  // (P2)
    }
    auto const after = started();
    if (after == before && !until_woken) return has_work();
    before = after;
  }
}

bool pool_core::sleep(worker& w, bool was_searching) noexcept {
  bool settling;
  {
    std::lock_guard const held{sleep_guard_};
    if (closed_) return false;
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
      return true;
    }
    // Somebody has just woken us: the word is set or about to be.
  } else if (settling) {
    settled_.fetch_add(1, std::memory_order_release);  // (E1) pairs with (E2): the destructor looks whether that was the last
    futex_wake(&settled_);
  }
  while (w.woken_.load(std::memory_order_acquire) == 0) futex_wait(w.woken_, 0);  // (Z1)
  std::lock_guard const held{sleep_guard_};
  return !closed_;
}

namespace {

constinit std::atomic<pool_core*> made_default_pool{nullptr};

pool_core& make_default_pool() {
  run_first_thread_hooks();
  static pool_core& the_pool = *new pool_core{default_worker_count()};  // leaked: no static destructor joins a thread
  made_default_pool.store(&the_pool, std::memory_order_release);        // (G1) the pool as made
  return the_pool;
}

}  // namespace

pool_core& default_pool() {
  auto* const made = made_default_pool.load(std::memory_order_acquire);  // (G1)
  return made != nullptr ? *made : make_default_pool();
}

pool_core& blocking_place() {
  static pool_core& without_workers = *new pool_core{0};
  return without_workers;
}

}  // namespace detail

pool::pool(unsigned workers) : pool{{.workers = workers}} {}

pool::pool(pool_options const& options) : pool{options, static_cast<detail::thread_hook*>(nullptr)} {}

pool::pool(pool_options const& options, detail::thread_hook* hook) {
  detail::pool_setup setup{.pinned = options.pinned, .hook = std::unique_ptr<detail::thread_hook>{hook}};
  setup.name = options.name;
  if (options.workers > detail::most_workers)
    throw std::invalid_argument{"errand::pool: " + std::to_string(options.workers) + " workers asked for, at most " +
                                std::to_string(detail::most_workers) + " allowed"};
  core_ = new detail::pool_core{options.workers != 0 ? options.workers : detail::default_worker_count(), std::move(setup)};
}

pool::~pool() { delete core_; }

unsigned pool::size() const noexcept { return core_->size(); }

pool_statistics pool::statistics() const noexcept { return core_->statistics(); }

}  // namespace errand
