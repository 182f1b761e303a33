// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "queue/event_core.hpp"

#include "base/check.hpp"
#include "sched/blocking.hpp"
#include "sched/pool_core.hpp"
#include "sched/run_task.hpp"
#include "sched/wait.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/stack_mark.hpp>

#include <mutex>
#include <stdexcept>

namespace errand::detail {

// A task that nobody holds, in memory of the source's. Whoever is to destroy it says that the call is over.
struct event_core::call_record final : record {
  explicit call_record(event_core& s) noexcept : record{&act, s.from_}, source{s} {
    run = &run_queued_task;
    home_ = home_at(*s.where_);
    inplace_allowed_ = false;
    // As to any item; and to the source, as long as it has its handler.
    auto const lent = s.where_->is_queue() ? record_state::lent : 0;
    if (lent != 0) s.where_->gate().lend();
    state_.store(record_state::queued | lent, std::memory_order_relaxed);
  }

  static bool act(record* base, record_verb verb) noexcept {
    auto& self = static_cast<call_record&>(*base);
    event_core& source = self.source;
    switch (verb) {
      case record_verb::run:
        source.call();
        break;
      case record_verb::drop:  // it could not be run: there is no thread
        if (self.error_ != nullptr) {
          std::lock_guard const held{source.guard_};
          source.fail(std::exchange(self.error_, nullptr));
        }
        break;
      case record_verb::destroy:
        source.call_is_over();
        break;
      case record_verb::end:
      case record_verb::stop:
      case record_verb::inputs:
        break;
    }
    return true;
  }

  event_core& source;
};

event_listener::event_listener() noexcept
    : record{[](record*, record_verb) noexcept { return true; }, std::source_location{}} {
  inplace_allowed_ = false;
  state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
}

event_core::event_core() noexcept = default;

event_core::~event_core() {
  if (end_.error_ != nullptr && !end_.observed_.load(std::memory_order_relaxed)) {
    end_.from_ = from_;
    report_unobserved(end_);
  }
}

void event_core::drop_reference() noexcept {
  // (EV1) acq_rel: what each did with the source happens before its end; pairs with the others.
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// ---- taking --------------------------------------------------------------------------------------------------------------

void event_core::refuse_if_handled(char const* operation) const {
  if (inherited())
    throw std::logic_error{std::string{operation} + ": the source was made before this process was forked: it belongs to the parent process"};
  if (handled_) throw std::logic_error{std::string{operation} + ": the source belongs to a handler, which gets its events"};
  if (listener_ != nullptr) throw std::logic_error{std::string{operation} + ": somebody else waits for the source; one at a time may"};
}

bool event_core::try_take(void* raw) {
  std::lock_guard const held{guard_};
  if (inherited() || listener_ != nullptr) refuse_if_handled("try_next() of an errand event source");
  return !over() && take(raw);
}

bool event_core::is_over() {
  std::lock_guard const held{guard_};
  refuse_if_handled("co_await of an errand event source");
  return over();
}

bool event_core::listen(event_listener& l) {
  std::lock_guard const held{guard_};
  refuse_if_handled("co_await of an errand event source");
  if (over() || watch()) return false;
  watched_ = true;
  listener_ = &l;
  return true;
}

void event_core::listen_no_more(event_listener& l) noexcept {
  {
    std::lock_guard const held{guard_};
    if (listener_ == &l) {
      listener_ = nullptr;
      watched_ = false;
      watch_no_more();
      return;
    }
    if (!l.told) return;
  }
  while (!l.done()) cpu_relax();  // it is being woken
}

bool event_core::wait_and_take(void* raw) {
  for (;;) {
    event_listener l;
    {
      std::lock_guard const held{guard_};
      refuse_if_handled("next() of an errand event source");
      if (over()) return false;
      if (take(raw)) return true;
    }
    record* const self = cancellable_task();
    if (self != nullptr) throw_if_stopped(*self);
    if (!listen(l)) continue;
    struct ear {
      event_core& source;
      event_listener& listener;
      ~ear() { source.listen_no_more(listener); }
    } const while_we_wait{*this, l};
    detail::wait(l);
  }
}

// ---- arriving ------------------------------------------------------------------------------------------------------------

void event_core::arrived() noexcept {
  concerned who;
  {
    std::lock_guard const held{guard_};
    if (!watched_ || cancelled_ || !is_there()) return;
    watched_ = false;
    who = whom_it_concerns();
  }
  tell(who);
}

event_core::concerned event_core::whom_it_concerns() noexcept {
  if (auto* const told = std::exchange(listener_, nullptr); told != nullptr) {
    told->told = true;
    return {.listener = told};
  }
  return {.call = handled_ ? prepare_call() : nullptr};
}

void event_core::tell(concerned who) noexcept {
  if (who.listener != nullptr) complete(*who.listener);
  if (who.call != nullptr) hand_over(*who.call);
}

// ---- the handler ---------------------------------------------------------------------------------------------------------

event_core::call_record* event_core::prepare_call() noexcept {
  static_assert(sizeof(call_record) <= sizeof call_room_);
  if (under_way_) return nullptr;
  under_way_ = true;
  add_reference();  // the call's
  return ::new (call_room_) call_record{*this};
}

void event_core::begin_to_watch(bool& call_it) noexcept {
  try {
    call_it = watch();
    watched_ = !call_it;
  } catch (...) {
    fail(std::current_exception());
  }
}

void event_core::fail(std::exception_ptr error) noexcept {
  if (end_.error_ == nullptr) end_.error_ = std::move(error);
  cancelled_ = true;
}

// It may run and be over when this returns; the caller refers to the source.
void event_core::hand_over(call_record& call) noexcept {
  place_core& where = *where_;
  switch (where.what()) {
    case place_core::kind::pool:
      return as_pool(where).push_from_outside(call, 1);  // behind what waits there, so that others have their turn
    case place_core::kind::blocking:
      return blocking_threads::of_process().run(call);
    case place_core::kind::queue:
      return where.gate().push_lent(call);
  }
}

void event_core::start_handler(place_core& where, std::unique_ptr<event_function> f, std::source_location from) {
  if (where.is_queue()) where.gate().require_own("errand::on()");
  call_record* to_call = nullptr;
  {
    std::lock_guard const held{guard_};
    refuse_if_handled("errand::on()");
    where_ = &where;
    from_ = from;
    function_ = std::move(f);
    handled_ = true;
    add_reference();  // until it has ended: its handle may be detached before
    if (where.is_queue()) where.gate().lend();
    bool call_it = false;
    if (!over()) begin_to_watch(call_it);
    if (call_it) to_call = prepare_call();
  }
  if (to_call != nullptr) return hand_over(*to_call);
  finish_if_over();
}

void event_core::watch_anew() {
  concerned who;
  {
    std::lock_guard const held{guard_};
    if (!watched_ || over()) return;  // who takes next looks by itself
    watch_no_more();
    bool const there = watch();
    watched_ = !there;
    if (!there) return;
    who = whom_it_concerns();
  }
  tell(who);
}

// The body of a call.
void event_core::call() noexcept {
  std::exception_ptr error;
  bool stopped = false;
  try {
    function_->call(*this);
  } catch (operation_cancelled const&) {
    stopped = true;
  } catch (...) {
    error = std::current_exception();
  }
  std::lock_guard const held{guard_};
  if (error != nullptr) fail(std::move(error));
  if (stopped) cancelled_ = true;
}

// Nobody refers to its record any more. By whoever let go of that last.
void event_core::call_is_over() noexcept {
  call_record* next = nullptr;
  event_listener* waiting = nullptr;
  {
    std::lock_guard const held{guard_};
    its_call().~call_record();
    under_way_ = false;
    waiting = std::exchange(after_call_, nullptr);
    for (event_listener* w = waiting; w != nullptr; w = w->next) w->told = true;
    bool call_it = false;
    if (!over()) begin_to_watch(call_it);
    if (call_it) next = prepare_call();
  }
  if (next != nullptr)
    hand_over(*next);
  else
    finish_if_over();
  while (waiting != nullptr) {
    event_listener* const after = waiting->next;  // before it is told: then its frame may go
    complete(*waiting);
    waiting = after;
  }
  drop_reference();  // the call's
}

// The task that runs, or the thread.
static void const* this_flow() noexcept {
  thread_state const& t = this_thread();
  return t.current != nullptr ? static_cast<void const*>(t.current) : &t;
}

// Nothing is called any more: once, by whoever sees that last.
void event_core::finish_if_over() noexcept {
  std::unique_ptr<event_function> function;
  bool to_close = false;
  {
    std::lock_guard const held{guard_};
    if (!over() || (under_way_ && !call_is_dead_)) return;
    if (watched_) watch_no_more();
    watched_ = false;
    to_close = !std::exchange(closed_, true);
    if (!handled_ || finished_) {
      if (!to_close) return;
    } else {
      finished_ = true;
      finisher_ = this_flow();
      function = std::move(function_);
    }
  }
  if (to_close) close();
  if (function == nullptr) return;
  function.reset();
  if (where_->is_queue()) where_->gate().give_back();
  complete(end_);
  drop_reference();  // the handler's own
}

event_core::call_record& event_core::its_call() noexcept { return *std::launder(reinterpret_cast<call_record*>(call_room_)); }

// Under guard_, while a call is under way: whether it lies beneath on the caller's stack.
bool event_core::called_by_itself() noexcept {
  thread_state const& t = this_thread();
  if (runs_on_stack_of(t.current, its_call())) return true;
  for (stack_mark const* m = t.mark; m != nullptr; m = m->outer)
    if (m->item == &its_call()) return true;
  return false;
}

void event_core::cancel() noexcept {
  event_listener* told = nullptr;
  event_listener end_of_call;
  bool stopped = false;
  bool running = false;
  {
    std::lock_guard const held{guard_};
    cancelled_ = true;
    if (watched_) watch_no_more();
    watched_ = false;
    told = std::exchange(listener_, nullptr);
    if (told != nullptr) told->told = true;
    if (under_way_ && !call_is_dead_) {
      // One that has not begun never will. Its record stays until call_is_over(), which needs our lock.
      stopped = call_is_dead_ = try_begin(its_call(), 0, record_state::unrun);
      running = !stopped && !called_by_itself();
      if (running) end_of_call.next = std::exchange(after_call_, &end_of_call);
    }
    if (stopped) add_reference();  // the call's may go with its end
  }
  if (told != nullptr) complete(*told);
  if (stopped) {
    its_call().stopped_ = true;
    complete(its_call());
    drop_reference();
  }
  if (running) {
    wait_request q;
    q.awaited = &end_of_call;
    block_or_sleep(q);
  }
  finish_if_over();
  wait_for_finisher();
}

// Another one may be at it, destroying the function; unless that is what calls us.
void event_core::wait_for_finisher() noexcept {
  {
    std::lock_guard const held{guard_};
    if (!finished_ || finisher_ == this_flow()) return;
  }
  wait_request q;
  q.awaited = &end_;
  block_or_sleep(q);
}

bool event_core::handler_is_active() noexcept {
  if (inherited()) return false;
  std::lock_guard const held{guard_};
  return handled_ && !over();
}

void event_core::wait_for_handler() {
  if (inherited()) refuse_if_handled("errand::handler::wait()");
  {
    std::unique_lock held{guard_};
    if (under_way_ && called_by_itself()) {
      held.unlock();
      throw deadlock{"errand::handler::wait(): the function of the handler waits for the handler's end"};
    }
  }
  if (!end_.done()) detail::wait(end_);
  if (end_.error_ == nullptr) return;
  end_.observed_.store(true, std::memory_order_relaxed);
  std::rethrow_exception(end_.error_);
}

// ---- as the header sees it -----------------------------------------------------------------------------------------------

void throw_no_source(char const* what) {
  throw std::logic_error{std::string{"errand: there is no "} + what + " (it was moved away, or taken over by a handler)"};
}

void cancel_source(event_core& s) noexcept {
  if (!s.inherited()) s.cancel();
}
void drop_source(event_core& s) noexcept {
  if (s.inherited()) return;
  s.cancel();
  s.drop_reference();
}
void share_source(event_core& s) noexcept {
  if (!s.inherited()) s.add_reference();
}
void release_source(event_core& s) noexcept {
  if (!s.inherited()) s.drop_reference();
}
void detach_handler(event_core& s) noexcept {
  if (!s.inherited()) s.drop_reference();
}
bool take_event(event_core& s, void* raw) { return s.try_take(raw); }
bool wait_for_event(event_core& s, void* raw) { return s.wait_and_take(raw); }
bool listen(event_core& s, event_listener& l) { return s.listen(l); }
void listen_no_more(event_core& s, event_listener& l) noexcept { s.listen_no_more(l); }
bool is_over(event_core& s) { return s.is_over(); }
bool handler_is_active(event_core& s) noexcept { return s.handler_is_active(); }
void wait_for_handler(event_core& s) { s.wait_for_handler(); }

void start_handler(event_core& s, place_core* where, event_function* f, std::source_location from) {
  std::unique_ptr<event_function> function{f};
  if (where == nullptr)
    throw std::invalid_argument{"errand::on(): the place is inplace, which names no thread that could call the function later"};
  s.start_handler(*where, std::move(function), from);
}

}  // namespace errand::detail
