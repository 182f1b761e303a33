// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "task/detached.hpp"

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "task/references.hpp"
#include "task/unobserved.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_set>

namespace errand::detail {

namespace {

// Leaked: tasks may end as late as any static destructor runs.
struct registry {
  registry* parents = nullptr;  // of the process that forked this one; keeps reachable what is there
  small_lock guard;
  std::unordered_set<record*> running;
  std::size_t kept = 0;                   // tasks that are kept; among them some that are detached
  std::atomic<std::uint32_t> changes{0};  // what the drain sleeps on; bumped under the lock
  bool awaited = false;                   // somebody drains
};
constinit std::atomic<registry*> made{nullptr};
constinit registry* parents = nullptr;

// (J1) release publishes the registry as made, acquire sees it.
registry& tasks() {
  registry* there = made.load(std::memory_order_acquire);  // (J1)
  if (there != nullptr) return *there;
  auto fresh = std::make_unique<registry>();
  fresh->parents = parents;
  if (made.compare_exchange_strong(there, fresh.get(), std::memory_order_acq_rel)) there = fresh.release();  // (J1)
  return *there;
}

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  if (auto* const left = made.exchange(nullptr, std::memory_order_relaxed); left != nullptr) parents = left;
}};

// Whether `r` runs on the calling thread's stack, below what runs now.
bool on_this_stack(record const* self, record const* r) noexcept {
  for (; self != nullptr; self = self->nested_ ? self->parent_ : nullptr)
    if (self == r) return true;
  return false;
}

// Under the lock: so they are alive.
std::size_t count_kept(registry const& t) noexcept {
  std::size_t count = 0;
  for (auto const* r : t.running) count += (r->state_.load(std::memory_order_relaxed) & record_state::kept) != 0 ? 1 : 0;
  return count;
}

std::size_t count_on_this_stack(registry const& t, record const* self) noexcept {
  std::size_t count = 0;
  for (; self != nullptr; self = self->nested_ ? self->parent_ : nullptr)
    count += t.running.count(const_cast<record*>(self));
  return count;
}

}  // namespace

void own_itself(record& r) {
  auto& t = tasks();
  {
    std::lock_guard const held{t.guard};
    t.running.insert(&r);
  }
  // (R1) gives the handle to the task itself, complete() lets go of it; unless the task is done already.
  auto const before = r.state_.fetch_or(record_state::detached, std::memory_order_acq_rel);
  if ((before & record_state::done) == 0) return;
  release_detached(r);
}

// Under the lock.
static void tell_who_drains(registry& t) noexcept {
  if (!t.awaited) return;
  t.changes.fetch_add(1, std::memory_order_relaxed);
  futex_wake(&t.changes, INT32_MAX);
}

void detached_ended(record& r) noexcept {
  auto& t = tasks();
  std::lock_guard const held{t.guard};
  t.running.erase(&r);
  tell_who_drains(t);
}

void await_one_more() noexcept {
  auto& t = tasks();
  std::lock_guard const held{t.guard};
  ++t.kept;
}

void await_one_less() noexcept {
  auto& t = tasks();
  std::lock_guard const held{t.guard};
  --t.kept;
  tell_who_drains(t);
}

std::vector<std::string> wait_for_detached(std::int64_t deadline, record const* self) {
  auto& t = tasks();
  for (bool in_time = true;;) {
    std::uint32_t seen;
    {
      std::lock_guard const held{t.guard};
      t.awaited = true;
      seen = t.changes.load(std::memory_order_relaxed);
      if (t.kept == 0 && t.running.size() == count_on_this_stack(t, self)) return {};
      if (!in_time) {
        std::vector<std::string> left;
        for (auto const* r : t.running)
          if (!on_this_stack(self, r)) left.push_back(describe(*r));
        for (auto held_ones = t.kept - std::min(t.kept, count_kept(t)); held_ones != 0; --held_ones)
          left.emplace_back("a write of a file");
        return left;
      }
    }
    in_time = futex_wait(t.changes, seen, deadline);
  }
}

}  // namespace errand::detail
