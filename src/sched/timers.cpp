// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/timers.hpp"

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "sched/threads.hpp"
#include "task/rare_fields.hpp"
#include "task/stop.hpp"

#include <memory>
#include <mutex>
#include <sys/prctl.h>
#include <vector>

namespace errand::detail {

namespace {

// A heap with four children a node: shallower than a binary one, and siblings share a cache line.
class timekeeper {
 public:
  explicit timekeeper(timekeeper* parents) : parents_{parents} {}

  void arm(timer_entry& e) {
    std::unique_lock held{guard_};
    heap_.push_back(&e);
    e.index = heap_.size() - 1;
    up(e.index);
    if (heap_.front() != &e) return;
    // (T1) under the lock: the timekeeper reads the word there before it sleeps, so it cannot miss this.
    nearest_changed_.fetch_add(1, std::memory_order_relaxed);
    bool const wake = sleeping_until_ > e.at;
    held.unlock();
    if (wake) futex_wake(&nearest_changed_);
  }

  void disarm(timer_entry& e) noexcept {
    std::lock_guard const held{guard_};
    // Not those of a parent process, which stood in another heap.
    if (e.index < heap_.size() && heap_[e.index] == &e) remove(e.index);
  }

  void start() {
    run_first_thread_hooks();
    std::call_once(started_, [this] { start_thread("errand/timer", [this] { run(); }).detach(); });
  }

 private:
  [[noreturn]] void run() noexcept {
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);  // the default adds 50 us to every sleep
    std::unique_lock held{guard_};
    for (;;) {
      if (heap_.empty() || heap_.front()->at > now()) {
        auto const until = heap_.empty() ? no_deadline : heap_.front()->at;
        auto const seen = nearest_changed_.load(std::memory_order_relaxed);  // (T1)
        sleeping_until_ = until;
        held.unlock();
        futex_wait(nearest_changed_, seen, until);
        held.lock();
        sleeping_until_ = INT64_MIN;
        continue;
      }
      auto* const e = heap_.front();
      remove(0);
      if (auto* const w = e->to_wake; w != nullptr) {
        bool const ours = claim(*w, claimant::deadline);
        if (!ours) continue;
        held.unlock();
        w->wake(w);
      } else {
        record& r = *e->to_stop;
        pin(r);  // it is alive: it disarms this entry before it is done
        held.unlock();
        if (!may_call_back(r) || !stop_elsewhere(r)) {
          stop_record(r, true);
          unpin(r);
        }
      }
      held.lock();
    }
  }

  // Whether a stop may run code of the user's, of its own stop callbacks or of those below; or other modules'.
  static bool may_call_back(record& r) noexcept {
    if (r.stands_for_others_) return true;
    lock_record(r);
    auto const* const rare = r.rare_.load(std::memory_order_acquire);  // (F1)
    bool const may = r.children_ != nullptr || (rare != nullptr && (rare->source || rare->stop_takes_time));
    unlock_record(r);
    return may;
  }

  // By another thread: a callback may take its time, or wait for something that waits for the time. False if there is no memory,
  // or no thread to be had.
  bool stop_elsewhere(record& r) noexcept {
    try {
      std::call_once(stopper_started_, [this] { start_thread("errand/stops", [this] { run_stops(); }).detach(); });
      std::lock_guard const held{stops_guard_};
      stops_.push_back(&r);
    } catch (std::exception const&) {
      return false;
    }
    stops_given_.fetch_add(1, std::memory_order_relaxed);
    futex_wake(&stops_given_);
    return true;
  }

  [[noreturn]] void run_stops() noexcept {
    std::vector<record*> taken;
    for (;;) {
      auto const seen = stops_given_.load(std::memory_order_relaxed);
      {
        std::lock_guard const held{stops_guard_};  // what is given later changes the word after we have read it
        taken.swap(stops_);
      }
      if (taken.empty()) futex_wait(stops_given_, seen);
      for (record* const r : taken) {
        stop_record(*r, true);
        unpin(*r);
      }
      taken.clear();
    }
  }

  void place(std::size_t i, timer_entry* e) noexcept {
    heap_[i] = e;
    e->index = i;
  }
  void up(std::size_t i) noexcept {
    auto* const e = heap_[i];
    while (i > 0 && e->at < heap_[(i - 1) / 4]->at) {
      place(i, heap_[(i - 1) / 4]);
      i = (i - 1) / 4;
    }
    place(i, e);
  }
  void down(std::size_t i) noexcept {
    auto* const e = heap_[i];
    for (;;) {
      auto const first = 4 * i + 1;
      if (first >= heap_.size()) break;
      auto least = first;
      for (auto c = first + 1; c < first + 4 && c < heap_.size(); ++c)
        if (heap_[c]->at < heap_[least]->at) least = c;
      if (heap_[least]->at >= e->at) break;
      place(i, heap_[least]);
      i = least;
    }
    place(i, e);
  }
  void remove(std::size_t i) noexcept {
    heap_[i]->index = timer_entry::unarmed;
    auto* const last = heap_.back();
    heap_.pop_back();
    if (i == heap_.size()) return;
    place(i, last);
    up(i);
    down(last->index);
  }

  [[maybe_unused]] timekeeper* const parents_;
  std::once_flag started_;
  small_lock guard_;                                  // all below
  std::vector<timer_entry*> heap_;
  std::int64_t sleeping_until_ = INT64_MIN;           // INT64_MIN while awake
  std::atomic<std::uint32_t> nearest_changed_{0};
  std::once_flag stopper_started_;
  small_lock stops_guard_;        // the next
  std::vector<record*> stops_{};  // pinned: tasks whose limit has passed, and whose stop may call the user
  std::atomic<std::uint32_t> stops_given_{0};
};

// Leaked: its thread never ends. (T2) release publishes it as made, acquire sees it. A child of fork() makes its own, and
// must not inherit a static of a function, or a once_flag, in the midst of its making.
constinit std::atomic<timekeeper*> made{nullptr};
constinit timekeeper* parents = nullptr;  // of the process that forked this one; keeps reachable what is there

timekeeper& the_timekeeper() {
  timekeeper* there = made.load(std::memory_order_acquire);  // (T2)
  if (there != nullptr) return *there;
  auto fresh = std::make_unique<timekeeper>(parents);
  if (made.compare_exchange_strong(there, fresh.get(), std::memory_order_acq_rel)) there = fresh.release();  // (T2)
  return *there;
}

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  if (auto* const left = made.exchange(nullptr, std::memory_order_relaxed); left != nullptr) parents = left;
}};

}  // namespace

void prepare_timers() { the_timekeeper().start(); }
void arm_timer(timer_entry& entry) { the_timekeeper().arm(entry); }
void disarm_timer(timer_entry& entry) noexcept { the_timekeeper().disarm(entry); }

}  // namespace errand::detail
