// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "task/detached.hpp"

#include "base/address_set.hpp"
#include "base/fork.hpp"
#include "base/lock.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/stack_mark.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>

namespace errand::detail {

namespace {

// One of several sets, so that two threads that let go of tasks and end them seldom meet.
struct alignas(64) part {
  small_lock guard;
  address_set<record> running;
  std::uint64_t entered = 0;  // ever
};
constexpr std::size_t parts = 64;

// Leaked: tasks may end as late as any static destructor runs.
struct registry {
  registry* parents = nullptr;  // of the process that forked this one; keeps reachable what is there
  std::array<part, parts> detached{};
  // (J3) Who ends something that the drain waits for takes it away and then looks at this; the drain sets it and then looks for what
  // is there. So it finds nothing any more, or is told. The locks see to that, and seq_cst where there are none.
  std::atomic<bool> awaited{false};
  std::atomic<std::uint32_t> changes{0};  // what the drain sleeps on
  small_lock guard;                       // of the two below
  std::size_t kept = 0;                   // tasks that are kept; among them some that are detached
  std::uint64_t kept_ever = 0;

  // Records that lie side by side, as those do that one thread makes one after the other, are in the same part.
  part& part_of(record const& r) noexcept {
    auto const address = reinterpret_cast<std::uintptr_t>(&r);
    return detached[((address >> 13) * 0x9E3779B97F4A7C15U) >> 58];
  }
};
static_assert(parts == std::size_t{1} << (64 - 58));
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

// Calls f for each task that runs on the calling thread's stack, below what runs now: `self` and those in which it runs in place; and
// items of queues, where a loop in a loop has begun further ones. Of these only the address is good: one may be just ending.
template <class F>
void for_each_on_this_stack(record const* self, F f) noexcept {
  for (record const* r = self; r != nullptr; r = r->nested_ ? r->parent_ : nullptr) f(r);
  auto const seen = [self](record const* item) {
    for (record const* r = self; r != nullptr; r = r->nested_ ? r->parent_ : nullptr)
      if (r == item) return true;
    return false;
  };
  for (stack_mark const* m = this_thread().mark; m != nullptr; m = m->outer)
    if (m->item != nullptr && !seen(m->item)) f(m->item);
}

bool on_this_stack(record const* self, record const* searched) noexcept {
  bool found = false;
  for_each_on_this_stack(self, [&](record const* r) { found = found || r == searched; });
  return found;
}

void tell(registry& t) noexcept {
  if (!t.awaited.load(std::memory_order_seq_cst)) return;  // (J3)
  t.changes.fetch_add(1, std::memory_order_relaxed);
  futex_wake(&t.changes, INT32_MAX);
}

// How many were there, and how many have ever entered: at one moment only if none entered meanwhile, which a second count tells.
struct tally {
  std::size_t there = 0;
  std::uint64_t ever = 0;
};
tally count_all(registry& t) noexcept {
  tally all;
  {
    std::lock_guard const held{t.guard};
    all = {t.kept, t.kept_ever};
  }
  for (auto& p : t.detached) {
    std::lock_guard const held{p.guard};
    all.there += p.running.size();
    all.ever += p.entered;
  }
  return all;
}

// Those that cannot end while the caller waits: kept ones are not among them.
std::size_t count_on_this_stack(registry& t, record const* self) noexcept {
  std::size_t count = 0;
  for_each_on_this_stack(self, [&](record const* r) {
    part& p = t.part_of(*r);
    std::lock_guard const held{p.guard};
    count += p.running.contains(*r) ? 1 : 0;
  });
  return count;
}

}  // namespace

void own_itself(record& r) {
  auto& t = tasks();
  {
    part& p = t.part_of(r);
    std::lock_guard const held{p.guard};
    p.running.insert(r);
    ++p.entered;
  }
  // (R1) gives the handle to the task itself, complete() lets go of it; unless the task is done already.
  auto const before = r.state_.fetch_or(record_state::detached, std::memory_order_acq_rel);
  if ((before & record_state::done) == 0) return;
  release_detached(r);
}

void detached_ended(record& r) noexcept {
  auto& t = tasks();
  part& p = t.part_of(r);
  std::lock_guard const held{p.guard};
  p.running.erase(r);
  tell(t);
}

void await_one_more() noexcept {
  auto& t = tasks();
  std::lock_guard const held{t.guard};
  ++t.kept;
  ++t.kept_ever;
}

void await_one_less() noexcept {
  auto& t = tasks();
  std::lock_guard const held{t.guard};
  --t.kept;
  tell(t);
}

// (J2) release by who sets it, acquire by who drains.
static constinit std::atomic<void (*)() noexcept> while_draining{nullptr};
void serve_while_draining(void (*serve)() noexcept) noexcept { while_draining.store(serve, std::memory_order_release); }  // (J2)

void tell_who_drains() noexcept {
  registry* const there = made.load(std::memory_order_acquire);  // (J1)
  if (there == nullptr) return;
  tell(*there);
}

// What is left, by name.
static std::vector<std::string> names_of_the_rest(registry& t, record const* self) {
  std::vector<std::string> left;
  std::size_t kept_ones = 0;  // among the detached
  for (auto& p : t.detached) {
    std::lock_guard const held{p.guard};  // so they are alive
    p.running.for_each([&](record& r) {
      if ((r.state_.load(std::memory_order_relaxed) & record_state::kept) != 0) ++kept_ones;
      if (!on_this_stack(self, &r)) left.push_back(describe(r));
    });
  }
  std::lock_guard const held{t.guard};
  for (auto others = t.kept - std::min(t.kept, kept_ones); others != 0; --others) left.emplace_back("a write of a file");
  return left;
}

std::vector<std::string> wait_for_detached(std::int64_t deadline, record const* self) {
  auto& t = tasks();
  for (bool in_time = true;;) {
    t.awaited.store(true, std::memory_order_seq_cst);  // (J3)
    auto const seen = t.changes.load(std::memory_order_relaxed);
    auto const all = count_all(t);
    // If none has entered when they are counted again, there was a moment in which there were no others.
    if (all.there == count_on_this_stack(t, self) && count_all(t).ever == all.ever) return {};
    if (!in_time) return names_of_the_rest(t, self);
    if (auto const serve = while_draining.load(std::memory_order_acquire); serve != nullptr) serve();  // (J2)
    in_time = futex_wait(t.changes, seen, deadline);
  }
}

}  // namespace errand::detail
