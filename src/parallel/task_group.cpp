// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// task_group: an anchor with a list of its members. A member enters it as it is started and leaves it as its last step but
// one; whoever waits does so on a record in his own frame, which the last member completes, or a stop, so that the waiter
// looks again. README.md has the argument.
#include "base/check.hpp"
#include "base/lock.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/wait.hpp"
#include "task/anchor.hpp"
#include "task/inputs.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/group.hpp>

#include <mutex>
#include <string>

namespace errand::detail {

class group_record;

namespace {

// In the frame of somebody who waits for a group: stands for its members.
struct group_waiter : record {
  explicit group_waiter(group_record& g) noexcept;
  group_record& group;
  group_waiter* next = nullptr;
};

void complete_all(group_waiter* list) noexcept {
  while (list != nullptr) {
    group_waiter* const next = list->next;  // before its frame may go
    complete(*list);
    list = next;
  }
}

bool was_stopped(record const& r) noexcept {
  return (r.state_.load(std::memory_order_acquire) & record_state::stop) != 0;  // (S1)
}

}  // namespace

class group_record final : public anchor {
 public:
  explicit group_record(std::source_location from) : anchor{&act, from} {
    state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
    adopt_child(*this, this_thread().current);
    link_to_ancestors(*this);
  }

  // Into the list, and counted. False if the group was stopped: then it shall not begin.
  [[nodiscard]] bool enter(group_member& m) noexcept {
    m.parent_ = this;
    std::lock_guard const held{guard_};
    if (was_stopped(*this)) return false;
    m.next_member_ = members_;
    m.link_to_member_ = &members_;
    if (members_ != nullptr) members_->link_to_member_ = &m.next_member_;
    members_ = &m;
    ++open_;
    return true;
  }

  void member_ended(record& member) noexcept override {
    auto& m = static_cast<group_member&>(member);
    if (auto error = failure_of(m)) return member_failed(m, std::move(error));
    drop_contents(m);  // what is the user's goes before anybody learns of the end
    group_waiter* to_wake;
    {
      std::lock_guard const held{guard_};
      leave(m);
      to_wake = count_down();
    }
    release_handle(m);  // of the group nothing is touched any more
    complete_all(to_wake);
  }

  void member_expired() noexcept override {
    group_waiter* to_wake;
    {
      std::lock_guard const held{guard_};
      some_expired_ = true;
      to_wake = std::exchange(waiters_of_all_, nullptr);
    }
    complete_all(to_wake);
  }

  void run_in_place(group_member& m, start_options const& options) {
    // A member in place is a child of the task that runs it, and is joined before spawn() returns: a token is all that it
    // needs of the group.
    std::stop_source either;
    auto const stop = [&either] { either.request_stop(); };
    std::stop_callback const of_group{token(), stop};
    std::stop_callback const of_options{options.stop, stop};
    start_in_place(m, {options.deadline, options.name, either.get_token()});
    // In the child of a fork that it made, nothing but the member is ours.
    if (auto error = failure_of(m); error && !inherited()) {
      keep(m, std::move(error));
      stop_all();
    } else {
      release_handle(m);
    }
  }

  // Nobody is armed to begin from now on, and who waits learns that there are tasks to be stopped unrun.
  void stop_all() noexcept {
    if (was_stopped(*this)) return;
    stop_record(*this, false);
    group_waiter* to_wake;
    {
      std::lock_guard const held{guard_};
      to_wake = std::exchange(waiters_of_all_, nullptr);
    }
    complete_all(to_wake);
  }

  enum class join_end { all_ended, cancelled };

  // Returns when no member is left; `cancelled` if a stop of the waiting task was seen, which stops the group: at once below a
  // member, which may be waiting for that task. Throws deadlock if a member waits for the waiting task, and std::bad_alloc;
  // nothing if it shall not be `cancellable`.
  join_end join(bool cancellable) {
    bool cancelled = false;
    for (;;) {
      record* const self = cancellable && !cancelled ? cancellable_task() : nullptr;
      if (self != nullptr && stop_requested(*self)) {
        cancelled = true;
        stop_all();
      }
      if (cancelled && is_below_member(*this_thread().current)) return join_end::cancelled;
      bool const stopping = was_stopped(*this);
      stop_unbegun_members(stopping ? record_state::handle : record_state::expired);
      group_waiter w{*this};
      {
        std::lock_guard const held{guard_};
        if (open_ == 0) return cancelled ? join_end::cancelled : join_end::all_ended;
        if (was_stopped(*this) != stopping || some_expired_) continue;
        w.next = waiters_of_all_;
        waiters_of_all_ = &w;
      }
      wait_request q;
      q.awaited = &w;
      q.self = cancelled ? nullptr : self;
      q.may_refuse = cancellable;
      try {
        block(q);
      } catch (std::bad_alloc const&) {  // no stack to go on with
        if (!cancellable)
          block_or_sleep(q);
        else if (take_back(w))
          throw;
        else
          while (!w.done()) cpu_relax();  // it is being completed
      }
      if (q.deadlock) {
        if (take_back(w)) std::rethrow_exception(q.deadlock);
      } else if (!w.done()) {
        cancelled = true;
        stop_all();
        stop_unbegun_members(record_state::handle);
        if (is_below_member(*self) && take_back(w)) return join_end::cancelled;
      }
      if (w.done()) continue;
      wait_request to_the_end;
      to_the_end.awaited = &w;
      block_or_sleep(to_the_end);
    }
  }

  void show_members() noexcept {
    input_visitor& visitor = *this_thread().asking_for_inputs;
    std::lock_guard const held{guard_};
    for (group_member* m = members_; m != nullptr && visitor.visit(*m);) m = m->next_member_;
  }

  void rethrow_first() {
    std::lock_guard const held{guard_};
    for (record* const r : failed_) r->observed_.store(true, std::memory_order_relaxed);
    if (!failed_.empty()) std::rethrow_exception(failed_.front()->error_);
  }

  std::vector<std::exception_ptr> errors() {
    std::lock_guard const held{guard_};
    std::vector<std::exception_ptr> all;
    all.reserve(failed_.size());
    for (record* const r : failed_) {
      r->observed_.store(true, std::memory_order_relaxed);
      all.push_back(r->error_);
    }
    return all;
  }

  // After the last member has gone.
  void release_failed() noexcept {
    for (record* const r : failed_) release_handle(*r);
  }

  // The member on whose stack the caller runs, if any.
  [[nodiscard]] record const* member_here() const noexcept {
    for (record const* r = this_thread().current; r != nullptr; r = r->nested_ ? r->parent_ : nullptr)
      if (r->parent_ == this) return r;
    return nullptr;
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<group_record*>(base);
    if (verb == record_verb::destroy) {
      self->~group_record();
      deallocate_record(self, sizeof(group_record));
    }
    return true;
  }

  void member_failed(group_member& m, std::exception_ptr error) noexcept {
    keep(m, std::move(error));
    stop_all();
    group_waiter* to_wake;
    {
      std::lock_guard const held{guard_};
      leave(m);
      to_wake = count_down();
    }
    complete_all(to_wake);
  }

  // The record of a failed task is kept, with its handle: for its error, name and line. Not what it captured, which is still
  // there if a deadline has stopped it unrun.
  void keep(group_member& m, std::exception_ptr error) noexcept {
    drop_contents(m);
    m.error_ = std::move(error);
    std::lock_guard const held{guard_};
    failed_.push_back(&m);
  }

  // Both under guard_.
  void leave(group_member& m) noexcept {
    *m.link_to_member_ = m.next_member_;
    if (m.next_member_ != nullptr) m.next_member_->link_to_member_ = m.link_to_member_;
  }
  [[nodiscard]] group_waiter* count_down() noexcept {
    return --open_ == 0 ? std::exchange(waiters_of_all_, nullptr) : nullptr;
  }

  // Upwards lock by lock: nothing ends while its lock is held, and nothing goes before its children have ended.
  [[nodiscard]] bool is_below_member(record& task) const noexcept {
    record* r = &task;
    lock_record(*r);
    for (;;) {
      bool const on_its_own =
          (r->state_.load(std::memory_order_relaxed) & (record_state::done | record_state::detached)) != 0;
      record* const parent = on_its_own ? nullptr : r->parent_;
      bool const go_up = parent != nullptr && parent != this;
      if (go_up) lock_record(*parent);
      unlock_record(*r);
      if (!go_up) return parent == this;
      r = parent;
    }
  }

  // False if it is being completed, or is.
  [[nodiscard]] bool take_back(group_waiter& w) noexcept {
    std::lock_guard const held{guard_};
    for (group_waiter** link = &waiters_of_all_; *link != nullptr; link = &(*link)->next)
      if (*link == &w) {
        *link = w.next;
        return true;
      }
    return false;
  }

  // Those with this bit: all have the handle. By who waits, so that what they captured is destroyed there. Each is stopped here or
  // finds the stop as it begins.
  void stop_unbegun_members(std::uint64_t which) noexcept {
    std::vector<record*> unbegun;
    {
      std::lock_guard const held{guard_};
      bool const some_expired = std::exchange(some_expired_, false);
      if (which == record_state::expired && !some_expired) return;
      for (group_member* m = members_; m != nullptr; m = m->next_member_)
        if ((m->state_.load(std::memory_order_relaxed) & (record_state::begun | which)) == which) {
          pin(*m);
          unbegun.push_back(m);
        }
    }
    for (record* const m : unbegun) {
      stop_unbegun(*m);
      unpin(*m);
    }
  }

  std::stop_token token() {
    std::lock_guard const held{guard_};  // stop_token_of() is for one at a time
    return stop_token_of(*this);
  }

  small_lock guard_;                         // all below
  std::size_t open_ = 0;                     // members that have not ended
  bool some_expired_ = false;                // of these, since somebody last looked
  group_member* members_ = nullptr;          // these
  group_waiter* waiters_of_all_ = nullptr;   // who waits for open_ to be 0, or for a stop
  std::vector<group_member*> failed_;        // ended; in that order
};

namespace {

group_waiter::group_waiter(group_record& g) noexcept
    : record{[](record* self, record_verb verb) noexcept {
               if (verb == record_verb::inputs) static_cast<group_waiter*>(self)->group.show_members();
               return true;
             },
             g.from_},
      group{g} {
  stands_for_others_ = true;
  state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
}

}  // namespace

// What messages call it: it has no name, but a line.
static std::string described(group_record const& g) {
  return std::string{"the task group made at "} + g.from_.file_name() + ':' + std::to_string(g.from_.line());
}

group_record& make_group(std::source_location from) { return *make_record<group_record>(from); }

void end_group(group_record& g) noexcept {
  if (g.inherited()) return;
  if (auto const* const member = g.member_here(); member != nullptr)
    fatal(described(g) + " is destroyed by one of its own tasks, which it would wait for: " + describe(*member));
  g.stop_all();
  g.join(false);
  g.release_failed();
  complete(g);
  release_handle(g);
}

// In the child of a fork a group of the parent's is a picture.
static void require_own(group_record& g, group_member& m) {
  if (!g.inherited()) [[likely]]
    return;
  destroy(m);
  throw_inherited(g, "errand::task_group::spawn()");
}

// A queue may have no room, and refuse.
static void reserve_or_destroy(place_core& where, group_member& m) {
  try {
    reserve_at(where);
  } catch (...) {
    destroy(m);
    throw;
  }
}

void spawn(group_record& g, place_core* where, group_member& m) {
  require_own(g, m);
  if (where == nullptr) return spawn(g, where, m, {no_deadline, {}, std::stop_token{}});
  reserve_or_destroy(*where, m);
  m.home_ = home_at(*where);
  m.run = &run_queued_task;
  m.state_.store(record_state::handle | record_state::member | record_state::queued, std::memory_order_relaxed);
  if (!g.enter(m)) {
    give_back_room_at(*where);
    return destroy(m);
  }
  give_to(*where, m);
}

void spawn(group_record& g, place_core* where, group_member& m, start_options const& options) {
  require_own(g, m);
  if (was_stopped(g)) return destroy(m);
  if (where == nullptr && m.inplace_allowed_) return g.run_in_place(m, options);
  if (where != nullptr) reserve_or_destroy(*where, m);
  try {
    apply(options, m);
  } catch (...) {
    if (where != nullptr) give_back_room_at(*where);
    throw;
  }
  auto const queued = where != nullptr ? record_state::queued : 0;
  m.state_.fetch_or(record_state::member | queued, std::memory_order_relaxed);
  if (where != nullptr) {
    m.home_ = home_at(*where);
    m.run = &run_queued_task;
  }
  if (!g.enter(m)) {
    if (where != nullptr) give_back_room_at(*where);
    // Nobody sees it yet but its deadline and its token, and those let go first.
    m.state_.fetch_and(~(record_state::member | queued), std::memory_order_relaxed);
    m.stopped_ = true;
    m.parent_ = nullptr;
    complete(m);
    return release_handle(m);
  }
  bool const admitted = admit(m);
  if (where == nullptr) {
    if (admitted && try_begin(m)) run_here(m);
  } else if (admitted) {
    give_to(*where, m);
  } else {
    give_back_room_at(*where);
    release_queue_reference(m);
  }
}

void wait_for_group(group_record& g) {
  if (g.inherited()) throw_inherited(g, "errand::task_group::wait()");
  if (auto const* const member = g.member_here(); member != nullptr) {
    record const& self = *this_thread().current;
    throw deadlock{describe(self) + " waits for " + described(g) + ", which waits for " +
                   (member == &self ? "that task" : describe(*member))};
  }
  if (g.join(true) == group_record::join_end::cancelled) throw operation_cancelled{};
  g.rethrow_first();
}

void stop_group(group_record& g) noexcept {
  if (!g.inherited()) g.stop_all();
}

std::vector<std::exception_ptr> errors_of_group(group_record& g) {
  if (g.inherited()) throw_inherited(g, "errand::task_group::errors()");
  return g.errors();
}

}  // namespace errand::detail
