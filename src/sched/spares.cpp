// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Spares: workers that stand in for workers that are blocked in the kernel. Who is blocked the monitor finds out; whether
// it still is, the spare asks by itself. README.md, "Spares".
#include "base/cpu_count.hpp"
#include "sched/pool_core.hpp"
#include "sched/spares.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

namespace errand::detail {

namespace {

constexpr std::int64_t ms = 1'000'000;
// Blocked is who has not run for the whole time between two looks, or hardly: so at 4 ms it is found out within 8.
constexpr std::int64_t longest_interval = 4 * ms;
constexpr std::int64_t shortest_interval = ms;  // after spares were called: what they take up may block as well
constexpr std::int64_t shortest_window = shortest_interval * 3 / 4;
constexpr std::int64_t longest_window = 20 * ms;  // what was seen before that says nothing, except that it has not run since
constexpr std::int64_t hardly = 10;               // less than the tenth part of the time
constexpr unsigned looks_before_rest = 3;         // without work in the queues
constexpr std::int64_t check_interval = ms;       // a system call each, for each pick-up would be much for small tasks

bool sleeps(char state) noexcept { return state == 'S' || state == 'D'; }

}  // namespace

unsigned default_most_spares() { return limit_from_environment("ERRAND_SPARE_THREADS", 0, 256); }

void pool_core::arrive() noexcept {
  if (!has_spares()) return;
  {
    std::lock_guard const held{sleep_guard_};
    if (++arrived_ != size_) return;
    idle_.fetch_add(unwatched, std::memory_order_seq_cst);  // (P2)
    update_quiet();
  }
  if (!has_work()) return;  // (P2)
  if (auto* const word = whom_to_wake(false); word != nullptr) wake(word);
}

// ---- the monitor's looks ------------------------------------------------------------------------------------------------

std::int64_t pool_core::look() noexcept {
  called_.clear();
  if (!has_work()) {
    if (stop_watching()) return no_deadline;
  } else {
    looks_in_vain_ = 0;
    {
      std::lock_guard const held{sleep_guard_};
      if ((idle_.load(std::memory_order_relaxed) & unwatched) != 0) {
        idle_.fetch_sub(unwatched, std::memory_order_seq_cst);  // (P2)
        update_quiet();
      }
    }
    find_blocked();
    if (!candidates_.empty()) call_spares();
  }
  look_interval_ = called_.empty() ? std::clamp(2 * look_interval_, shortest_interval, longest_interval) : shortest_interval;
  return now() + look_interval_;
}

// As a worker does: (P2) counted first, then one more look. That comes an interval later, for a worker that is alone pushes
// without a fence. True: it has found nothing either.
bool pool_core::stop_watching() noexcept {
  if (++looks_in_vain_ < looks_before_rest) return false;
  std::lock_guard const held{sleep_guard_};
  if (looks_in_vain_ == looks_before_rest) {
    idle_.fetch_add(unwatched, std::memory_order_seq_cst);  // (P2)
    update_quiet();
    return false;
  }
  looks_in_vain_ = 0;
  if ((idle_.load(std::memory_order_relaxed) & unwatched) == 0) return false;  // called meanwhile
  watched_.store(false, std::memory_order_relaxed);
  return true;
}

// Those that take part, have no stand-in, and have hardly run since the last look.
void pool_core::find_blocked() noexcept {
  candidates_.clear();
  {
    std::lock_guard const held{sleep_guard_};
    auto const idle = idle_.load(std::memory_order_relaxed);
    if (sleeping(idle) != 0 || searching(idle) != 0) return;  // they will see to it
    if (resting_ == nullptr && spare_threads_ == setup_.most_spares) return;
    for_each([&](worker& w) {
      if (w.presence_ == worker::presence::active && w.stand_in_ == nullptr) candidates_.push_back({&w, 0, '?'});
    });
  }
  std::erase_if(candidates_, [](candidate& c) {
    worker& w = *c.who;
    c.ran = w.probe_.time_run();
    if (c.ran < 0) return true;
    auto const at = now();
    auto const ran = c.ran - w.seen_run_;
    auto const window = at - w.seen_at_;
    if (window < shortest_window) return true;
    w.seen_run_ = c.ran;
    w.seen_at_ = at;
    bool const hardly_ran = ran >= 0 && window <= longest_window && ran * hardly <= window;
    if (ran == 0 || hardly_ran) c.state = w.probe_.state();
    bool const slept_before = std::exchange(w.seen_asleep_, sleeps(c.state));
    // If it has not run at all, it has slept all the while. Else it may have met a lock, just now.
    return !w.seen_asleep_ || (ran != 0 && !slept_before);
  });
}

// In one go as many as are blocked, and as there may be.
void pool_core::call_spares() noexcept {
  {
    std::lock_guard const held{sleep_guard_};
    auto const idle = idle_.load(std::memory_order_relaxed);
    // Nobody is asleep by us: so who sleeps all the same, and has not run since, is in the midst of a task.
    if (closed_ || sleeping(idle) != 0 || searching(idle) != 0) return;
    for (auto const& c : candidates_) {
      worker& w = *c.who;
      if (w.presence_ != worker::presence::active || w.stand_in_ != nullptr) continue;
      if (!freeze(w, c.ran, c.state) || (w.is_spare_ && !chain_is_blocked(w))) continue;
      worker* const s = take_spare();
      if (s == nullptr) break;
      s->stands_in_for_.store(&w, std::memory_order_relaxed);
      w.stand_in_ = s;
      w.ran_ = c.ran;
      w.ran_at_ = s->checked_at_ = now();
      ++active_spares_;
      called_.push_back(s);
    }
    update_spares_seen();
    update_quiet();
  }
  std::erase_if(called_, [this](worker* s) {
    if (!s->called_) return !start_spare(*s);
    wake(&s->woken_);
    return false;
  });
}

// Whether a worker of which this was seen is still where it was. The only worker of a pool is no longer alone from now on.
bool pool_core::freeze(worker& w, std::int64_t ran, char state) noexcept {
  bool const alone = size_ == 1 && !w.is_spare_;
  if (alone) {
    w.work_.set_alone(false);
    quiet_.store(false, std::memory_order_relaxed);
  }
  if (w.probe_.time_run() != ran) return false;
  return !alone || (state == 'S' && !w.work_.growing());
}

// One that rests, else one to be started; null if there may be no more.
worker* pool_core::take_spare() noexcept {
  worker* s = resting_;
  if (s != nullptr) {
    resting_ = s->next_sleeper_;
    s->called_ = true;
  } else {
    if (spare_threads_ < setup_.most_spares) s = make_spare();
    if (s == nullptr) return nullptr;
    ++spare_threads_;
  }
  s->presence_ = worker::presence::active;
  return s;
}

worker* pool_core::make_spare() noexcept {
  auto const made = spares_made_.load(std::memory_order_relaxed);
  for (unsigned i = 0; i < made; ++i)
    if (spares_[i]->presence_ == worker::presence::gone) return spares_[i].get();
  if (made == setup_.most_spares) return nullptr;  // some are just about to leave
  if (made == 0) spares_ = std::make_unique<std::unique_ptr<worker>[]>(setup_.most_spares);
  spares_[made] = std::make_unique<worker>();
  spares_made_.store(made + 1, std::memory_order_release);  // (M2) pairs with for_each()
  return spares_[made].get();
}

bool pool_core::start_spare(worker& s) noexcept {
  unsigned slot = 0;
  while (spares_[slot].get() != &s) ++slot;
  try {
    s.start(*this, size_ + slot, true);
    return true;
  } catch (...) {
    std::lock_guard const held{sleep_guard_};
    dismiss_stand_in(s);
    retire(s, worker::presence::gone);
    --spare_threads_;
    settle_if_closing();
    return false;
  }
}

// ---- a spare ------------------------------------------------------------------------------------------------------------

bool pool_core::still_needed(worker& s) noexcept {
  if (s.stands_in_for_.load(std::memory_order_relaxed) == nullptr) return false;
  if (now() - s.checked_at_ < check_interval) return true;
  std::lock_guard const held{sleep_guard_};
  bool const needed = chain_is_blocked(s);
  s.checked_at_ = now();
  if (!needed) part(s);
  return needed;
}

// The one it stands in for may itself be a spare: if the one at the chain's end goes on, so many run as shall run.
bool pool_core::chain_is_blocked(worker const& spare) noexcept {
  worker* w = spare.stands_in_for_.load(std::memory_order_relaxed);
  for (; w != nullptr && is_blocked(*w); w = w->stands_in_for_.load(std::memory_order_relaxed))
    if (!w->is_spare_) return true;
  return false;
}

bool pool_core::is_blocked(worker& w) noexcept {
  auto const at = now();
  auto const ran = w.probe_.time_run();
  auto const since = ran - std::exchange(w.ran_, ran);
  auto const window = at - std::exchange(w.ran_at_, at);
  if (since == 0) return ran >= 0;
  return since > 0 && 2 * since <= window && sleeps(w.probe_.state());  // it blocks again and again, and for most of the time
}

bool pool_core::rest(worker& s) noexcept {
  {
    std::lock_guard const held{sleep_guard_};
    if (closed_) return false;
    s.woken_.store(0, std::memory_order_relaxed);
    put_to_rest(s);
    settle_if_closing();
  }
  return await_wake(s) != woken_to::leave;
}

void pool_core::put_to_rest(worker& s) noexcept {
  dismiss_stand_in(s);
  retire(s, worker::presence::resting);
  s.next_sleeper_ = resting_;
  resting_ = &s;
}

void pool_core::retire(worker& s, worker::presence to) noexcept {
  part(s);
  s.presence_ = to;
  --active_spares_;
  update_spares_seen();
  update_quiet();
}

void pool_core::part(worker& s) noexcept {
  if (worker* const w = s.stands_in_for_.exchange(nullptr, std::memory_order_relaxed); w != nullptr) w->stand_in_ = nullptr;
}

// Who goes to sleep is not blocked. If its stand-in sleeps as well, it rests from now on; else it will ask.
void pool_core::dismiss_stand_in(worker& w) noexcept {
  worker* const s = w.stand_in_;
  if (s == nullptr) return;
  part(*s);
  if (!s->asleep_) return;
  unlist(*s);
  idle_.fetch_sub(one_sleeping, std::memory_order_seq_cst);  // (P2)
  put_to_rest(*s);
}

woken_to pool_core::await_wake(worker& w) noexcept {
  auto until = w.is_spare_ ? now() + spare_idle_limit.load(std::memory_order_relaxed) : no_deadline;
  while (w.woken_.load(std::memory_order_acquire) == 0) {  // (Z1)
    if (futex_wait(w.woken_, 0, until)) continue;
    if (leave(w)) return woken_to::leave;
    until = no_deadline;  // somebody is waking it at this moment
  }
  std::lock_guard const held{sleep_guard_};
  if (closed_) return woken_to::leave;
  w.checked_at_ = 0;  // a spare that slept asks at once
  return std::exchange(w.called_, false) ? woken_to::run : woken_to::search;
}

// True: its thread is to end, and is nobody's to join.
bool pool_core::leave(worker& s) noexcept {
  {
    std::lock_guard const held{sleep_guard_};
    if (s.asleep_) {
      unlist(s);
      idle_.fetch_sub(one_sleeping, std::memory_order_seq_cst);  // (P2)
      retire(s, worker::presence::leaving);
    } else if (s.presence_ == worker::presence::resting && !closed_) {
      worker** link = &resting_;
      while (*link != &s) link = &(*link)->next_sleeper_;
      *link = s.next_sleeper_;
      s.presence_ = worker::presence::leaving;
    } else {
      return false;
    }
    --spare_threads_;
    ++leaving_spares_;
    settle_if_closing();
  }
  s.detach();
  return true;
}

void pool_core::has_left(worker& s) noexcept {
  std::lock_guard const held{sleep_guard_};
  if (s.presence_ != worker::presence::leaving) return;  // the pool is closed, and joins it
  s.presence_ = worker::presence::gone;
  --leaving_spares_;
  settle_if_closing();
}

void pool_core::update_spares_seen() noexcept {
  auto seen = spares_made_.load(std::memory_order_relaxed);
  while (seen != 0 && spares_[seen - 1]->presence_ != worker::presence::active) --seen;
  spares_seen_.store(seen, std::memory_order_seq_cst);  // (P2)
}

void pool_core::update_quiet() noexcept {
  bool const quiet = size_ == 1 && active_spares_ == 0 && (idle_.load(std::memory_order_relaxed) & unwatched) == 0;
  quiet_.store(quiet, std::memory_order_relaxed);
}

}  // namespace errand::detail
