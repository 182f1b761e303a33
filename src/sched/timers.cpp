// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/timers.hpp"

#include "base/lock.hpp"
#include "sched/threads.hpp"
#include "task/stop.hpp"

#include <mutex>
#include <sys/prctl.h>
#include <vector>

namespace errand::detail {

namespace {

// A heap with four children a node: shallower than a binary one, and siblings share a cache line.
class timekeeper {
 public:
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
    if (e.index != timer_entry::unarmed) remove(e.index);
  }

  void start() {
    run_first_thread_hooks();
    static std::once_flag once;
    std::call_once(once, [this] { start_thread("errand/timer", [this] { run(); }).detach(); });
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
        stop_record(r, true);
        unpin(r);
      }
      held.lock();
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

  small_lock guard_;                                  // all below
  std::vector<timer_entry*> heap_;
  std::int64_t sleeping_until_ = INT64_MIN;           // INT64_MIN while awake
  std::atomic<std::uint32_t> nearest_changed_{0};
};

timekeeper& the_timekeeper() {
  static timekeeper& t = *new timekeeper;  // leaked: its thread never ends
  return t;
}

}  // namespace

void prepare_timers() { the_timekeeper().start(); }
void arm_timer(timer_entry& entry) { the_timekeeper().arm(entry); }
void disarm_timer(timer_entry& entry) noexcept { the_timekeeper().disarm(entry); }

}  // namespace errand::detail
