// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/helper_threads.hpp"

#include "base/check.hpp"
#include "base/fork.hpp"
#include "sched/threads.hpp"

#include <mutex>
#include <utility>

namespace errand::detail {

namespace {

constinit std::atomic<helper_threads*> threads_of_process{nullptr};
constinit helper_threads* parents = nullptr;  // of the process that forked this one; keeps reachable what is there

// The child has none of the threads, and perhaps a lock that nobody will open: it starts afresh.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  if (auto* const left = threads_of_process.exchange(nullptr, std::memory_order_relaxed); left != nullptr) parents = left;
}};

}  // namespace

helper_threads& helper_threads::of_process() {
  // Tempting: a static. Fails because a child that is forked meanwhile inherits its guard taken.
  auto* there = threads_of_process.load(std::memory_order_acquire);  // (HT1) the threads' owner as made
  if (there != nullptr) return *there;
  auto made = std::make_unique<helper_threads>(settings{.parents = parents});
  if (!threads_of_process.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) return *there;  // (HT1)
  return *made.release();
}

helper_threads::~helper_threads() {
  std::unique_lock held{guard_};
  closing_ = true;
  while (idle_ != nullptr) {
    auto& word = std::exchange(idle_, idle_->next)->woken;
    word.store(1, std::memory_order_relaxed);
    futex_wake(&word);  // its frame stays until it has our lock
  }
  while (threads_ != 0) {
    auto const seen = gone_.load(std::memory_order_relaxed);
    held.unlock();
    futex_wait(gone_, seen);
    held.lock();
  }
}

void helper_threads::piece_queue::push(transfer_piece& piece) noexcept {
  piece.next = nullptr;
  (first == nullptr ? first : last->next) = &piece;
  last = &piece;
  ++count;
}

transfer_piece* helper_threads::piece_queue::pop() noexcept {
  transfer_piece* const taken = first;
  if (taken == nullptr) return nullptr;
  first = taken->next;
  --count;
  return taken;
}

void helper_threads::submit(transfer_piece& piece) noexcept {
  std::atomic<std::uint32_t>* word = nullptr;
  {
    std::lock_guard const held{guard_};
    if (idle_ != nullptr) {
      idle_thread& chosen = *std::exchange(idle_, idle_->next);
      chosen.given = &piece;
      ++busy_;
      word = &chosen.woken;
      word->store(1, std::memory_order_relaxed);
    } else {
      queue_.push(piece);
      // A thread that carries out another piece will look into the queue when it has done.
      if (queue_.count + busy_ <= threads_ || threads_ == settings_.most) return;
      ++threads_;
    }
  }
  if (word != nullptr) return futex_wake(word);  // the frame may be gone: only the address is used
  try {
    if (settings_.before_start != nullptr) settings_.before_start();
    start_thread("errand/transfer", [this] { thread(); }).detach();
  } catch (...) {
    // What is queued waits for those that there are. If there are none, the caller's thread does it all.
    std::unique_lock held{guard_};
    leave();
    while (threads_ == 0) {
      transfer_piece* const left = queue_.pop();
      if (left == nullptr) return;
      ++busy_;
      held.unlock();
      give_back(*left, carry_out(*left));
      held.lock();
    }
  }
}

void helper_threads::thread() noexcept {
  while (transfer_piece* const piece = next_piece()) give_back(*piece, carry_out(*piece));
}

void helper_threads::give_back(transfer_piece& piece, std::int64_t result) noexcept {
  auto& owner = static_cast<helped_transfer&>(*piece.owner);
  std::atomic<std::uint32_t>* const word = &owner.ends_;
  {
    std::lock_guard const held{guard_};
    --busy_;
    piece.result = result;
    owner.ended_.push(piece);
    word->fetch_add(1, std::memory_order_relaxed);
  }
  futex_wake(word);  // piece and owner may be gone: only the address is used
}

transfer_piece* helper_threads::next_piece() noexcept {
  idle_thread self;
  {
    std::lock_guard const held{guard_};
    if (transfer_piece* const next = queue_.pop(); next != nullptr) {
      ++busy_;
      return next;
    }
    if (closing_) {
      leave();
      return nullptr;
    }
    self.next = idle_;
    idle_ = &self;
  }
  auto const until = detail::now() + settings_.idle_limit;
  while (self.woken.load(std::memory_order_relaxed) == 0)
    if (!futex_wait(self.woken, 0, until)) break;
  std::lock_guard const held{guard_};
  if (self.given != nullptr) return self.given;
  if (self.woken.load(std::memory_order_relaxed) == 0) {  // nobody has taken it off the list
    idle_thread** link = &idle_;
    while (*link != &self) link = &(*link)->next;
    *link = self.next;
  }
  leave();
  return nullptr;
}

void helper_threads::leave() noexcept {
  --threads_;
  gone_.fetch_add(1, std::memory_order_relaxed);
  futex_wake(&gone_);
}

helper_threads::counts helper_threads::now() noexcept {
  std::lock_guard const held{guard_};
  unsigned idle = 0;
  for (idle_thread const* i = idle_; i != nullptr; i = i->next) ++idle;
  return {threads_, idle, queue_.count};
}

helped_transfer::helped_transfer(helper_threads& threads, unsigned depth) noexcept
    : threads_{threads}, depth_{depth}, generation_{process_generation} {}

helped_transfer::~helped_transfer() {
  if (generation_ != process_generation) return;
  while (under_way_ != 0) (void)wait();
}

void helped_transfer::submit(transfer_piece& piece) noexcept {
  if (generation_ != process_generation) fatal("a transfer of the parent process was used in the child of a fork");
  if (under_way_ == depth_) fatal("a transfer was given more pieces than its depth");
  ++under_way_;
  piece.owner = this;
  threads_.submit(piece);
}

transfer_piece& helped_transfer::wait() noexcept {
  for (;;)
    if (transfer_piece* const ended = wait_or_woken(); ended != nullptr) return *ended;
}

transfer_piece* helped_transfer::wait_or_woken() noexcept {
  if (under_way_ == 0) fatal("a transfer was waited for with nothing under way");
  for (;;) {
    std::uint32_t seen = 0;
    {
      std::lock_guard const held{threads_.guard_};
      if (std::exchange(woken_, false)) return nullptr;
      if (transfer_piece* const ended = ended_.pop(); ended != nullptr) {
        --under_way_;
        return ended;
      }
      seen = ends_.load(std::memory_order_relaxed);
    }
    futex_wait(ends_, seen);
  }
}

void helped_transfer::wake() noexcept {
  {
    std::lock_guard const held{threads_.guard_};
    woken_ = true;
    ends_.fetch_add(1, std::memory_order_relaxed);
  }
  futex_wake(&ends_);
}

std::unique_ptr<transfer> make_helped_transfer(unsigned depth) {
  return std::make_unique<helped_transfer>(helper_threads::of_process(), depth);
}

}  // namespace errand::detail
