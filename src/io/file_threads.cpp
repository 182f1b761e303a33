// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/file_threads.hpp"

#include "base/cpu_count.hpp"
#include "base/fork.hpp"
#include "sched/threads.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

namespace errand::detail {

namespace {

constexpr unsigned enough_for_a_disk = 4;

constinit std::atomic<file_threads*> threads_of_process{nullptr};
constinit file_threads* parents = nullptr;  // of the process that forked this one; keeps reachable what is there

// The child has none of the threads, and perhaps a lock that nobody will open: it starts afresh.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  if (auto* const left = threads_of_process.exchange(nullptr, std::memory_order_relaxed); left != nullptr) parents = left;
}};

}  // namespace

file_threads& file_threads::of_process() noexcept {
  // Not a static: a child that is forked meanwhile would inherit its guard taken.
  auto* there = threads_of_process.load(std::memory_order_acquire);  // (FT1) the threads' owner as made
  if (there != nullptr) return *there;
  auto made = std::make_unique<file_threads>(
      settings{.most = std::max(enough_for_a_disk, usable_processors()), .parents = parents});
  if (!threads_of_process.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) return *there;  // (FT1)
  return *made.release();
}

file_threads::~file_threads() {
  std::unique_lock held{guard_};
  closing_ = true;
  while (idle_ != nullptr) {
    auto& word = std::exchange(idle_, idle_->next)->woken;
    word.store(1, std::memory_order_release);  // (FT2)
    futex_wake(&word);                         // its frame stays until it has our lock
  }
  while (threads_ != 0) {
    auto const seen = gone_.load(std::memory_order_relaxed);
    held.unlock();
    futex_wait(gone_, seen);
    held.lock();
  }
}

// Each operation wakes or starts a thread as long as there is one more to be had: those that run may be in the kernel for
// long. It stays in the queue until that thread, or one that has just become free, comes to take it.
void file_threads::submit(file_operation& op) noexcept {
  std::atomic<std::uint32_t>* word = nullptr;
  {
    std::lock_guard const held{guard_};
    push(op);
    if (idle_ != nullptr) {
      word = &std::exchange(idle_, idle_->next)->woken;
      word->store(1, std::memory_order_release);  // (FT2) pairs with (FT2) in next_operation()
    } else {
      if (threads_ == settings_.most) return;
      ++threads_;
    }
  }
  if (word != nullptr) return futex_wake(word);  // the frame may be gone: only the address is used
  try {
    if (settings_.before_start != nullptr) settings_.before_start();
    start_thread("errand/file", [this] { thread(); }).detach();
  } catch (...) {
    could_not_start();
  }
}

bool file_threads::cancel(file_operation& op) noexcept {
  std::lock_guard const held{guard_};
  if (!op.queued) return false;
  take_off(op);
  return true;
}

void file_threads::could_not_start() noexcept {
  {
    std::lock_guard const held{guard_};
    if (--threads_ != 0) return;  // somebody will come by
  }
  // One by one, so that what still waits can be cancelled, or taken by a thread that comes to be after all.
  for (;;) {
    file_operation* next;
    {
      std::lock_guard const held{guard_};
      next = pop();
    }
    if (next == nullptr) return;
    next->run(next);
  }
}

void file_threads::thread() noexcept {
  while (file_operation* const op = next_operation()) op->run(op);
}

file_operation* file_threads::next_operation() noexcept {
  for (;;) {
    idle_thread self;
    {
      std::lock_guard const held{guard_};
      if (file_operation* const op = pop(); op != nullptr) return op;
      if (closing_) return leave();
      self.next = idle_;
      idle_ = &self;
    }
    auto const until = detail::now() + settings_.idle_limit;
    bool in_time = true;
    while (in_time && self.woken.load(std::memory_order_acquire) == 0)  // (FT2)
      in_time = futex_wait(self.woken, 0, until);
    std::lock_guard const held{guard_};
    bool const woken = self.woken.load(std::memory_order_relaxed) != 0;
    if (!woken) forget(self);
    if (file_operation* const op = pop(); op != nullptr) return op;
    if (!woken || closing_) return leave();
    // Another one has taken what we were woken for, or it was cancelled.
  }
}

void file_threads::push(file_operation& op) noexcept {
  op.next = nullptr;
  op.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &op;
  last_ = &op;
  op.queued = true;
  ++queued_;
}

void file_threads::take_off(file_operation& op) noexcept {
  (op.previous != nullptr ? op.previous->next : first_) = op.next;
  (op.next != nullptr ? op.next->previous : last_) = op.previous;
  op.queued = false;
  --queued_;
}

file_operation* file_threads::pop() noexcept {
  file_operation* const op = first_;
  if (op != nullptr) take_off(*op);
  return op;
}

void file_threads::forget(idle_thread& self) noexcept {
  idle_thread** link = &idle_;
  while (*link != &self) link = &(*link)->next;
  *link = self.next;
}

file_operation* file_threads::leave() noexcept {
  --threads_;
  gone_.fetch_add(1, std::memory_order_relaxed);
  futex_wake(&gone_);
  return nullptr;
}

file_threads::counts file_threads::now() noexcept {
  std::lock_guard const held{guard_};
  unsigned idle = 0;
  for (idle_thread const* i = idle_; i != nullptr; i = i->next) ++idle;
  return {threads_, idle, queued_};
}

}  // namespace errand::detail
