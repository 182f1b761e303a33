// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/stack.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <vector>

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "fiber/slab.hpp"

namespace errand::detail {

namespace {

constexpr std::size_t smallest_stack = 32 * 1024;

// Idle stacks keep their memory up to this number, or the number in use where that is larger; beyond it, the ones
// that have been idle longest lose theirs, a batch at a time. Ten thousand tasks that block, again and again, find
// warm stacks; a million that blocked once leave about 64 MiB behind.
constexpr std::size_t kept_warm = 16 * 1024;
constexpr std::size_t trim_batch = 256;

// Stacks a power of two apart would keep their tops, all they usually touch, in the same few sets of the caches. The
// steps stay within the lower half of a page, so that the upper half holds a suspended fiber and the fiber still
// touches one page.
constexpr std::size_t stagger_step = 128;
constexpr std::size_t stagger_steps = 16;

}  // namespace

// All stacks that nobody holds. One for the process, never destroyed: fibers may outlive main(). Everything is under
// the lock.
class stack_pool {
 public:
  static stack_pool& instance() {
    stack_pool* const made = instance_.load(std::memory_order_acquire);  // (I1)
    return made != nullptr ? *made : make();
  }
  // In the child of a fork.
  static void renew() noexcept;

  // Writes up to `wanted` stacks to `out`, the warmest last, and returns how many: more than one only where no memory
  // must be touched.
  std::size_t take(stack** out, std::size_t wanted);
  void give(stack* const* given, std::size_t count) noexcept;

  void add(stack_cache& cache) noexcept;
  void remove(stack_cache& cache) noexcept;

  void set_size(std::size_t bytes);
  std::size_t size() noexcept;
  std::size_t trim() noexcept;
  stack_statistics count() noexcept;

 private:
  static stack_pool& make();
  std::byte* take_slot();
  stack* make_stack(std::byte* slot) const;
  std::size_t warm() const noexcept { return warm_.size() - coldest_; }
  std::size_t most_warm() const noexcept { return std::max(kept_warm, out_); }
  std::size_t trim_one_batch(std::unique_lock<small_lock>& lock, std::size_t keep) noexcept;
  std::byte* slot_of(stack* s) const noexcept { return s->limit - guard_size(); }

  // (I1) release publishes the pool as made, acquire sees it. No static of a function: a child of fork() could inherit
  // that in the midst of its making, and would wait for ever.
  static std::atomic<stack_pool*> instance_;
  static stack_pool* left_behind_;  // half changed; written in a child of fork(), by its one thread

  small_lock guard_;
  std::size_t slot_size_ = 256 * 1024;
  // Both vectors have room for every stack there is, so that giving one back cannot fail.
  std::vector<stack*> warm_;  // idle, in the order they were given back; those before coldest_ are gone
  std::size_t coldest_ = 0;
  std::vector<std::byte*> bare_;  // slots without memory
  slab* newest_ = nullptr;
  std::size_t unused_ = 0;  // slots of the newest slab that were never used
  std::size_t out_ = 0;     // held by callers and caches
  std::size_t created_ = 0;
  std::size_t slabs_ = 0;
  std::size_t slots_ = 0;  // in all slabs
  stack_cache* caches_ = nullptr;
  stack_pool* replaces_ = nullptr;  // so that what is on its stacks stays reachable
};

constinit std::atomic<stack_pool*> stack_pool::instance_{nullptr};
constinit stack_pool* stack_pool::left_behind_ = nullptr;

stack_pool& stack_pool::make() {
  auto made = std::make_unique<stack_pool>();
  made->replaces_ = left_behind_;
  if (left_behind_ != nullptr) made->slot_size_ = left_behind_->slot_size_;
  stack_pool* there = nullptr;
  if (instance_.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) there = made.release();  // (I1)
  return *there;
}

// The idle stacks are the child's as well; those of the parent's tasks are out for good. Only if another thread was
// changing the pool at the moment of the fork, the child makes its own.
void stack_pool::renew() noexcept {
  stack_pool* const pool = instance_.load(std::memory_order_relaxed);
  if (pool == nullptr || !pool->guard_.break_open()) return;
  left_behind_ = pool;
  instance_.store(nullptr, std::memory_order_relaxed);
}

namespace {
[[gnu::init_priority(101)]] in_forked_child const renewal{&stack_pool::renew};
}  // namespace

std::size_t stack_pool::take(stack** out, std::size_t wanted) {
  std::unique_lock lock(guard_);
  if (std::size_t found = std::min(wanted, warm()); found != 0) {
    std::copy(warm_.end() - static_cast<std::ptrdiff_t>(found), warm_.end(), out);
    warm_.resize(warm_.size() - found);
    out_ += found;
    return found;
  }
  std::byte* slot = take_slot();
  ++out_;
  lock.unlock();
  try {
    *out = make_stack(slot);
  } catch (...) {
    lock.lock();
    --out_;
    bare_.push_back(slot);
    throw;
  }
  return 1;
}

// A slot without memory: one that lost its own, or else a new one.
std::byte* stack_pool::take_slot() {
  if (!bare_.empty()) {
    std::byte* slot = bare_.back();
    bare_.pop_back();
    return slot;
  }
  if (unused_ == 0) {
    // Room first: once the slab is mapped nothing may fail.
    constexpr std::size_t most_new = 1024;
    if (std::size_t needed = slots_ + most_new; bare_.capacity() < needed) {
      needed = std::max(needed, 2 * slots_);
      warm_.reserve(needed);
      bare_.reserve(needed);
    }
    newest_ = map_slab(slot_size_);
    unused_ = newest_->slots;
    slots_ += newest_->slots;
    ++slabs_;
  }
  std::byte* slot = newest_->begin + (newest_->slots - unused_) * slot_size_;
  --unused_;
  ++created_;
  return slot;
}

stack* stack_pool::make_stack(std::byte* slot) const {
  install_guard(slot);
  const std::size_t stagger = reinterpret_cast<std::uintptr_t>(slot) / slot_size_ % stagger_steps * stagger_step;
  std::byte* top = slot + slot_size_ - stagger - sizeof(stack);
  stack* made = new (top) stack;
  made->limit = slot + guard_size();
  made->top = top;
  return made;
}

void stack_pool::give(stack* const* given, std::size_t count) noexcept {
  std::unique_lock lock(guard_);
  if (warm_.size() + count > warm_.capacity()) {
    warm_.erase(warm_.begin(), warm_.begin() + static_cast<std::ptrdiff_t>(coldest_));
    coldest_ = 0;
  }
  warm_.insert(warm_.end(), given, given + count);
  out_ -= count;
  if (warm() >= most_warm() + trim_batch) trim_one_batch(lock, most_warm());
}

// Takes the memory of the stacks that have been idle longest, up to a batch, leaving `keep`. The lock is open
// meanwhile. Returns how many there were.
std::size_t stack_pool::trim_one_batch(std::unique_lock<small_lock>& lock, std::size_t keep) noexcept {
  if (warm() <= keep) return 0;
  const std::size_t count = std::min(trim_batch, warm() - keep);
  std::array<std::byte*, trim_batch> slots;
  for (std::size_t i = 0; i < count; ++i) slots[i] = slot_of(warm_[coldest_ + i]);
  coldest_ += count;
  if (coldest_ > warm_.size() / 2) {
    warm_.erase(warm_.begin(), warm_.begin() + static_cast<std::ptrdiff_t>(coldest_));
    coldest_ = 0;
  }
  lock.unlock();
  // Neighbours go in one call; a guard between them stays what it is.
  std::sort(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(count));
  for (std::size_t first = 0, last; first < count; first = last) {
    for (last = first + 1; last < count && slots[last] == slots[last - 1] + slot_size_;) ++last;
    drop_memory(slots[first], slots[last - 1] + slot_size_);
  }
  lock.lock();
  bare_.insert(bare_.end(), slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(count));
  return count;
}

std::size_t stack_pool::trim() noexcept {
  std::unique_lock lock(guard_);
  std::size_t trimmed = 0;
  // As many batches as there are now: stacks released meanwhile are not idle yet.
  for (std::size_t batches = warm() / trim_batch + 1; batches != 0; --batches) trimmed += trim_one_batch(lock, 0);
  return trimmed;
}

void stack_pool::add(stack_cache& cache) noexcept {
  std::lock_guard lock(guard_);
  cache.next_ = caches_;
  if (caches_ != nullptr) caches_->previous_ = &cache;
  caches_ = &cache;
}

void stack_pool::remove(stack_cache& cache) noexcept {
  std::lock_guard lock(guard_);
  (cache.previous_ != nullptr ? cache.previous_->next_ : caches_) = cache.next_;
  if (cache.next_ != nullptr) cache.next_->previous_ = cache.previous_;
}

void stack_pool::set_size(std::size_t bytes) {
  if (bytes < smallest_stack) throw std::invalid_argument("errand: a task's stack needs at least 32 KiB");
  std::lock_guard lock(guard_);
  if (slabs_ != 0) throw std::logic_error("errand: the size of stacks can be set only before the first task blocks");
  slot_size_ = (bytes + guard_size() - 1) / guard_size() * guard_size();
}

std::size_t stack_pool::size() noexcept {
  std::lock_guard lock(guard_);
  return slot_size_;
}

stack_statistics stack_pool::count() noexcept {
  std::lock_guard lock(guard_);
  std::size_t cached = 0;
  for (const stack_cache* c = caches_; c != nullptr; c = c->next_) cached += c->held_.load(std::memory_order_relaxed);
  return {out_ - std::min(out_, cached), created_, slabs_, warm() + cached, bare_.size()};
}

stack* acquire_stack() {
  stack* taken;
  stack_pool::instance().take(&taken, 1);
  return taken;
}

void release_stack(stack* unused) noexcept {
  abandon_frames(*unused);
  stack_pool::instance().give(&unused, 1);
}

void set_stack_size(std::size_t bytes) { stack_pool::instance().set_size(bytes); }
std::size_t stack_size() noexcept { return stack_pool::instance().size(); }
std::size_t trim_stacks() noexcept { return stack_pool::instance().trim(); }
stack_statistics stack_counts() noexcept { return stack_pool::instance().count(); }

stack_cache::stack_cache() noexcept { stack_pool::instance().add(*this); }

stack_cache::~stack_cache() {
  stack_pool::instance().remove(*this);
  stack_pool::instance().give(stacks_, held_.load(std::memory_order_relaxed));
}

// Called with an empty cache.
std::size_t stack_cache::refill() { return stack_pool::instance().take(stacks_, capacity / 2); }

// Called with a full cache. The lower half was released longest ago.
std::size_t stack_cache::spill() noexcept {
  constexpr std::size_t half = capacity / 2;
  stack_pool::instance().give(stacks_, half);
  std::copy(stacks_ + half, stacks_ + capacity, stacks_);
  held_.store(half, std::memory_order_relaxed);
  return half;
}

}  // namespace errand::detail
