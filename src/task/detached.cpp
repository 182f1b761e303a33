// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "task/detached.hpp"

#include "base/address_marks.hpp"
#include "base/fork.hpp"
#include "base/lock.hpp"
#include "base/sanitizers.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/stack_mark.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <type_traits>
#include <unordered_set>

namespace errand::detail {

namespace {

// A leak checker does not follow marks. For it the tasks stand here, too.
class in_sight {
 public:
  void insert(record& r) {
    std::lock_guard const held{guard_};
    all_.insert(&r);
  }
  void erase(record& r) noexcept {
    std::lock_guard const held{guard_};
    all_.erase(&r);
  }

 private:
  small_lock guard_;
  std::unordered_set<record*> all_{};
};
struct not_needed {
  void insert(record&) noexcept {}
  void erase(record&) noexcept {}
};

// Leaked: tasks may end as late as any static destructor runs.
struct registry {
  registry* parents = nullptr;  // of the process that forked this one; keeps reachable what is there
  [[no_unique_address]] std::conditional_t<address_sanitizer, in_sight, not_needed> for_leak_checkers{};
  address_marks<record> detached{};
  // (J3) Who ends something that the drain waits for takes it away and then looks at this; the drain sets it and then looks for what
  // is there. So it finds nothing any more, or is told: (M2) and (M3) of the marks, and the lock below, see to that.
  std::atomic<bool> awaited{false};
  std::atomic<std::uint32_t> changes{0};  // what the drain sleeps on
  small_lock guard;                       // of the two below
  std::size_t kept = 0;                   // tasks that are kept; among them some that are detached
  std::uint64_t kept_ever = 0;
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
address_marks<record>::tally count_all(registry& t) noexcept {
  auto all = t.detached.count();
  std::lock_guard const held{t.guard};
  all.there += t.kept;
  all.ever += t.kept_ever;
  return all;
}

// Those that cannot end while the caller waits: kept ones are not among them.
std::size_t count_on_this_stack(registry& t, record const* self) noexcept {
  std::size_t count = 0;
  for_each_on_this_stack(self, [&](record const* r) { count += t.detached.contains(*r) ? 1 : 0; });
  return count;
}

// (R1) gives the handle to the task itself, complete() lets go of it; unless the task is done already. Returns what was before.
// One that has not begun leaves its parent in the same step, so not while somebody goes up from it, with its lock.
state_bits set_detached(record& r) noexcept {
  auto s = r.state_.load(std::memory_order_relaxed);
  for (;;) {
    if ((s & (record_state::lock | record_state::begun)) == record_state::lock) {
      cpu_relax();
      s = r.state_.load(std::memory_order_relaxed);
      continue;
    }
    auto const leaves = (s & record_state::begun) == 0 ? record_state::orphan : state_bits{0};
    if (r.state_.compare_exchange_weak(s, s | record_state::detached | leaves, std::memory_order_acq_rel,  // (R1)
                                       std::memory_order_relaxed))
      return s;
  }
}

// In place of its child, which never will.
void leave_parent(record& parent) noexcept {
  if (&parent == this_thread().current)
    --parent.unresolved_children_;
  else
    unpin(parent);
}

}  // namespace

void own_itself(record& r) {
  auto& t = tasks();
  t.for_leak_checkers.insert(r);
  t.detached.insert(r);
  record* const parent = r.parent_;  // who begins it may forget that
  auto const before = set_detached(r);
  if ((before & record_state::done) != 0) return release_detached(r);
  if ((before & record_state::begun) == 0 && parent != nullptr) leave_parent(*parent);
}

void detached_ended(record& r) noexcept {
  auto& t = tasks();
  t.detached.erase(r);
  t.for_leak_checkers.erase(r);
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
  t.detached.for_each([&](record& r) {  // so they are alive
    if ((r.state_.load(std::memory_order_relaxed) & record_state::kept) != 0) ++kept_ones;
    if (!on_this_stack(self, &r)) left.push_back(describe(r));
  });
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
    if (all.there <= count_on_this_stack(t, self)) {
      // If none has entered when they are counted again, there was a moment in which there were no others.
      if (count_all(t).ever == all.ever) return {};
      if (in_time) continue;  // who has entered may be on this stack, and will not tell
    }
    if (!in_time) return names_of_the_rest(t, self);
    if (auto const serve = while_draining.load(std::memory_order_acquire); serve != nullptr) serve();  // (J2)
    in_time = futex_wait(t.changes, seen, deadline);
  }
}

}  // namespace errand::detail
