// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/record.hpp>

#include "base/recycler.hpp"
#include "task/anchor.hpp"
#include "task/detached.hpp"
#include "task/place.hpp"
#include "task/rare_fields.hpp"
#include "task/settle.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/future.hpp>

namespace errand::detail {

constinit thread_local thread_state state_of_this_thread{};

thread_state& this_thread() noexcept {
  asm volatile("");  // no two calls are the same call
  return state_of_this_thread;
}

void* allocate_frame(std::size_t size) { return recycled_allocate(size); }
void deallocate_frame(void* memory, std::size_t size) noexcept { recycled_free(memory, size); }

rare_fields& rare_fields_of(record& r) {
  // (F1) acquire: sees the fields as made; pairs with the release below.
  rare_fields* there = r.rare_.load(std::memory_order_acquire);
  if (there == nullptr) {
    auto made = std::make_unique<rare_fields>();
    if (r.rare_.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel))  // (F1)
      there = made.release();
  }
  return *there;
}

// By whoever holds the handle.
static void report_if_unobserved(record& r) noexcept {
  if (r.error_ && !r.observed_.exchange(true, std::memory_order_relaxed)) report_unobserved(r);
  auto* const rare = r.rare_.load(std::memory_order_relaxed);
  if (rare == nullptr || rare->further_errors_taken.exchange(true, std::memory_order_relaxed)) return;
  for (auto const& further : rare->further_errors) report_unobserved(further);
}

// What is lent to a record is given back when it is gone: read before, given after. Not with its handle: a stopped one may still stand
// in the queue's list. This is for one with rare fields.
class loans_of {
 public:
  explicit loans_of(record& r) noexcept {
    if ((r.state_.load(std::memory_order_relaxed) & record_state::lent) == 0) return;
    auto* const rare = r.rare_.load(std::memory_order_relaxed);
    if (!rare->loans.empty())
      many_.swap(rare->loans);
    else
      one_ = &r.home_->gate();
  }
  loans_of(loans_of const&) = delete;
  loans_of& operator=(loans_of const&) = delete;
  ~loans_of() {
    if (one_ != nullptr) one_->give_back();
    for (queue_gate* const q : many_) q->give_back();
  }

 private:
  queue_gate* one_ = nullptr;
  std::vector<queue_gate*> many_{};
};

// The rare parts of what is on every task's way stand apart: inlined, their registers would be saved each time.
[[gnu::noinline]] static void destroy_with_more(record& r) noexcept {
  loans_of const lent{r};
  delete r.rare_.load(std::memory_order_relaxed);
  r.act_(&r, record_verb::destroy);
}

void destroy(record& r) noexcept {
  if (r.rare_.load(std::memory_order_relaxed) != nullptr) return destroy_with_more(r);
  bool const lent = (r.state_.load(std::memory_order_relaxed) & record_state::lent) != 0;
  queue_gate* const of = lent ? &r.home_->gate() : nullptr;
  r.act_(&r, record_verb::destroy);
  if (of != nullptr) of->give_back();
}

bool hook(record& r, waiter& w) noexcept {
  lock_record(r);
  auto const s = r.state_.load(std::memory_order_acquire);  // (C1)
  if ((s & record_state::done) != 0) {
    unlock_record(r);
    return false;
  }
  w.next = r.waiters_;
  r.waiters_ = &w;
  // (K2), and `hooked`, which only changes under the lock, in one step. (H1) seq_cst: before the waiter shows itself (S2) and
  // looks who waits for its own task; pairs with (H1) there.
  r.state_.fetch_add(((s & record_state::hooked) != 0 ? 0 : record_state::hooked) - record_state::lock,
                     std::memory_order_seq_cst);
  return true;
}

void unhook(record& r, waiter& w) noexcept {
  if (r.done()) return;
  lock_record(r);
  waiter** link = &r.waiters_;
  while (*link != nullptr && *link != &w) link = &(*link)->next;
  if (*link != nullptr) *link = w.next;  // else it has ended meanwhile, and its list is gone
  unlock_record(r);
}

// Takes from the list whoever nobody has claimed yet; the others are being woken by somebody else and are left alone.
static waiter* claim_all(waiter* list) noexcept {
  waiter* claimed = nullptr;
  while (list != nullptr) {
    waiter* const next = list->next;  // before the claim: after losing it, the waiter may be gone
    if (claim(*list, claimant::completion)) {
      list->next = claimed;
      claimed = list;
    }
    list = next;
  }
  return claimed;
}

// What a record has of a queue, or has no more of its parent, does not say that anybody refers to the record.
static constexpr state_bits of_its_own(state_bits s) noexcept { return s & ~(record_state::lent | record_state::orphan); }

void complete(record& r) noexcept {
  if (auto* const rare = r.rare_.load(std::memory_order_acquire); rare != nullptr) {  // (F1)
    rare->outer_stop.reset();
    if (rare->deadline) rare->deadline->disarm();
  }
  bool const nested = r.nested_;
  record* const parent = r.parent_;
  // Children that have not begun, or run elsewhere, keep this memory until they have ended: their share of the references,
  // counted by the flow of control that started them, becomes part of the common count. See README, "Parents".
  state_bits const owed = state_bits{r.unresolved_children_} * record_state::pin;
  bool unlinked = false;
  waiter* to_wake = nullptr;
  state_bits before = r.state_.load(std::memory_order_acquire);  // (R1)
  state_bits after = before | record_state::done;
  // Detached, and nobody else refers to it: then nobody can come to, and no read-modify-write is needed. See README, "Alone".
  bool const alone = of_its_own(before) == (record_state::handle | record_state::begun | record_state::detached) && owed == 0;
  if (alone) r.state_.store(after, std::memory_order_relaxed);
  while (!alone) {
    if ((before & record_state::kin) != 0 && !unlinked) {
      unlink_from_parent(r);
      unlinked = true;
    } else if ((before & record_state::lock) != 0) {
      cpu_relax();
    } else if ((before & record_state::hooked) == 0) {
      // (C1) release: the result is visible to whoever sees `done`. acquire: so is what the other holders did.
      after = (before | record_state::done) + owed;
      if (r.state_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_relaxed)) break;  // (C1)
      continue;
    } else if (r.state_.compare_exchange_weak(before, before | record_state::lock, std::memory_order_acquire,  // (K1)
                                              std::memory_order_relaxed)) {
      to_wake = claim_all(std::exchange(r.waiters_, nullptr));
      write_link(r.children_, nullptr);  // they see `done` under our lock, and leave us alone
      // (C1) and (K2) in one step: nothing of ours touches the record under its lock once `done` is seen.
      auto const change = record_state::done - record_state::lock - record_state::hooked + owed;
      after = r.state_.fetch_add(change, std::memory_order_acq_rel) + change;  // (C1)
      break;
    }
    before = r.state_.load(std::memory_order_relaxed);
  }
  // Last touch, unless the record is our own: of a detached task the handle is inherited by the task itself.
  if ((after & (record_state::detached | record_state::member)) != 0) {
    // A group's member has no waiters, and no share of its parent: the group counts it.
    if ((after & record_state::member) != 0) return static_cast<anchor*>(parent)->member_ended(r);
    if (is_settling())
      release_detached_elsewhere(r);
    else
      release_detached(r);
  } else {
    destroy_if_unreferenced(r, after);
  }
  if (parent != nullptr && !nested) unpin(*parent);
  while (to_wake != nullptr) {
    waiter* const next = to_wake->next;  // before the wake: the waiter may be gone after it
    to_wake->wake(to_wake);
    to_wake = next;
  }
}

void release_detached(record& r) noexcept {
  report_if_unobserved(r);  // first: finish() counts it, and waits only for the end
  detached_ended(r);
  release_handle(r);
}

// Destroys what is left of `r`. Returns the record whose handle is to be released next: what a link of a chain waited for,
// which would else be released from here, and what that waited for from there, on an ever deeper stack.
static record* drop_one(record& r) noexcept {
  r.act_(&r, record_verb::drop);
  thread_state& t = this_thread();
  record* const next = std::exchange(t.left_over, nullptr);
  if (next == nullptr || !std::exchange(t.left_over_is_shared, false)) return next;
  if (!release_share(*next)) return nullptr;
  stop_and_join(*next);
  return next;
}

[[gnu::noinline]] static void release_long_way(record& r) noexcept {
  for (record* next = &r; next != nullptr;) {
    record& one = *next;
    report_if_unobserved(one);
    // Others only look at the state: what is left of body and result goes with the handle, on its holder's thread, so that
    // whoever happens to let go last runs no code of the user's.
    next = drop_one(one);
    one.error_ = nullptr;
    auto const before = one.state_.fetch_and(~record_state::handle, std::memory_order_acq_rel);  // (R1)
    destroy_if_unreferenced(one, before & ~record_state::handle);
  }
}

void drop_contents(record& r) noexcept {
  if (record* const next = drop_one(r); next != nullptr) release_long_way(*next);
}

void release_handle(record& r) noexcept {
  // No error, and nobody but us: the common case needs no read-modify-write.
  constexpr auto alone = record_state::handle | record_state::begun | record_state::done;
  if (!r.error_) {
    auto const s = of_its_own(r.state_.load(std::memory_order_acquire));  // (R1)
    if (s == alone || s == (alone | record_state::detached)) return destroy(r);
  }
  release_long_way(r);
}

std::exception_ptr failure_of(record& r) {
  if (r.error_) return r.error_;
  if (!r.stopped_ || (r.state_.load(std::memory_order_relaxed) & record_state::expired) == 0) return nullptr;
  return std::make_exception_ptr(timed_out{describe(r) + " was stopped by its deadline"});
}

void rethrow_failure(record& r) {
  r.observed_.store(true, std::memory_order_relaxed);
  if (auto const error = failure_of(r)) std::rethrow_exception(error);
  throw operation_cancelled{};
}

void throw_inherited(record const& r, char const* operation) {
  throw std::logic_error{std::string{operation} + ": " + describe(r) +
                         " was started before this process was forked: it belongs to the parent process, and so does "
                         "its result"};
}

void throw_stopped() { throw operation_cancelled{}; }

void throw_no_task(char const* operation) {
  throw std::logic_error{std::string{operation} + ": there is no task (it was taken, detached, or moved away)"};
}

}  // namespace errand::detail
