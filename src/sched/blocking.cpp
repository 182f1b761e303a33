// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/blocking.hpp"

#include "base/check.hpp"
#include "base/cpu_count.hpp"
#include "base/fork.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/threads.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

namespace errand::detail {

namespace {

unsigned limit_of_process() {
  return limit_from_environment("ERRAND_BLOCKING_THREADS", 1, blocking_threads::settings{}.most);
}

constinit std::atomic<blocking_threads*> threads_of_process{nullptr};
constinit blocking_threads* parents = nullptr;  // of the process that forked this one; keeps reachable what is there

// The child has none of the threads, and perhaps a lock that nobody will open: it starts afresh.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  if (auto* const left = threads_of_process.exchange(nullptr, std::memory_order_relaxed); left != nullptr) parents = left;
}};

void fail_unbegun(record& r, std::exception_ptr error) noexcept {
  if (!try_begin(r, record_state::queued)) return release_queue_reference(r);
  r.error_ = std::move(error);
  drop_contents(r);
  complete(r);
}

}  // namespace

blocking_threads& blocking_threads::of_process() noexcept {
  // Tempting: a static. Fails because a child that is forked meanwhile inherits its guard taken.
  auto* there = threads_of_process.load(std::memory_order_acquire);  // (G3) the threads' owner as made
  if (there != nullptr) return *there;
  auto made = std::make_unique<blocking_threads>(settings{.most = limit_of_process(), .parents = parents});
  if (!threads_of_process.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) return *there;  // (G3)
  return *made.release();
}

blocking_threads::~blocking_threads() {
  std::unique_lock held{guard_};
  closing_ = true;
  while (idle_ != nullptr) {
    auto& word = std::exchange(idle_, idle_->next)->woken;
    word.store(1, std::memory_order_release);  // (Z2) with no task given
    futex_wake(&word);                         // its frame stays until it has our lock
  }
  while (threads_ != 0) {
    auto const seen = gone_.load(std::memory_order_relaxed);
    held.unlock();
    futex_wait(gone_, seen);
    held.lock();
  }
}

void blocking_threads::run(record& r) noexcept {
  std::atomic<std::uint32_t>* word = nullptr;
  {
    std::lock_guard const held{guard_};
    if (idle_ != nullptr) {
      idle_thread& chosen = *std::exchange(idle_, idle_->next);
      chosen.given = &r;
      word = &chosen.woken;
      word->store(1, std::memory_order_release);  // (Z2) pairs with (Z2) in next_task()
    } else {
      queue_.push_back(&r);
      if (threads_ == settings_.most) return;
      ++threads_;
    }
  }
  if (word != nullptr) return futex_wake(word);  // the frame may be gone: only the address is used
  try {
    if (settings_.before_start != nullptr) settings_.before_start();
    start_thread("errand/blocking", [this] { thread(); }).detach();
  } catch (...) {
    could_not_start(std::current_exception());
  }
}

void blocking_threads::could_not_start(std::exception_ptr const& error) noexcept {
  std::deque<record*> without_thread;
  {
    std::lock_guard const held{guard_};
    if (--threads_ == 0) without_thread.swap(queue_);  // else somebody will come by
  }
  if (without_thread.empty()) return;
  auto said = error;
  try {
    std::rethrow_exception(error);
  } catch (std::system_error const& e) {
    said = std::make_exception_ptr(std::system_error{
        e.code(), "errand: could not start a thread for " + std::to_string(without_thread.size()) +
                      (without_thread.size() == 1 ? " blocking task" : " blocking tasks") + ", and there is none"});
  } catch (...) {  // out of memory: that says it
  }
  for (record* const r : without_thread) fail_unbegun(*r, said);
}

void blocking_threads::thread() noexcept {
  this_thread().blocking = true;
  while (record* const r = next_task()) run_without_pool(*r);
}

record* blocking_threads::next_task() noexcept {
  idle_thread self;
  {
    std::lock_guard const held{guard_};
    if (!queue_.empty()) {
      record* const next = queue_.front();
      queue_.pop_front();
      return next;
    }
    if (closing_) return leave();
    self.next = idle_;
    idle_ = &self;
  }
  auto const until = detail::now() + settings_.idle_limit;
  while (self.woken.load(std::memory_order_acquire) == 0)  // (Z2)
    if (!futex_wait(self.woken, 0, until)) break;
  std::lock_guard const held{guard_};
  if (self.given != nullptr) return self.given;
  if (self.woken.load(std::memory_order_relaxed) == 0) {  // nobody has taken it off the list
    idle_thread** link = &idle_;
    while (*link != &self) link = &(*link)->next;
    *link = self.next;
  }
  return leave();
}

record* blocking_threads::leave() noexcept {
  --threads_;
  gone_.fetch_add(1, std::memory_order_relaxed);
  futex_wake(&gone_);
  return nullptr;
}

blocking_threads::counts blocking_threads::now() noexcept {
  std::lock_guard const held{guard_};
  unsigned idle = 0;
  for (idle_thread const* i = idle_; i != nullptr; i = i->next) ++idle;
  return {threads_, idle, queue_.size()};
}

}  // namespace errand::detail
