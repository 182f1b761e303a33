// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// when_all and when_any without their types. Inputs arrive as they end, each once; one of them decides, and stops the others
// before it is counted as arrived; the last to arrive makes the result. README.md of src/task, "Composites".
#include "task/inputs.hpp"
#include "task/rare_fields.hpp"
#include "task/settle.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/when.hpp>

#include <utility>

namespace errand::detail {

namespace {

bool be_first(std::atomic<std::size_t>& first, std::size_t index) noexcept {
  auto nobody = when_state::nobody;
  return first.compare_exchange_strong(nobody, index, std::memory_order_relaxed);  // read after (Y1), or by nobody else
}

// Whether the input that has just ended is the one that decides. If so the others are to be asked to stop.
bool decides(when_state& s, when_input& in) noexcept {
  auto const index = static_cast<std::size_t>(&in - s.inputs);
  bool const succeeded = in.input->has_value_;
  if (s.any && in.input->error_) be_first(s.first_error, index);
  return succeeded == s.any && be_first(s.decided, index);
}

// Calls the user's callbacks. The inputs are there: the one that decides has not arrived yet.
void stop_all_but(when_state& s, when_input const& decided) noexcept {
  // If the whole was asked to stop, so are they, or are about to be.
  if ((s.self->state_.load(std::memory_order_relaxed) & record_state::stop) != 0) return;
  for (when_input* in = s.inputs; in != s.inputs + s.count; ++in)
    if (in != &decided) stop_unless_kept(*in->input);
}

// Not done -> failed, as `input` did.
void fail_as(record& whole, record& input) noexcept {
  whole.error_ = failure_of(input);
  whole.stopped_ = whole.error_ == nullptr;
  // That a time limit has passed is no error to be reported.
  whole.observed_.store(input.error_ == nullptr, std::memory_order_relaxed);
  input.observed_.store(true, std::memory_order_relaxed);
}

void fail(when_state& s, std::size_t first) noexcept {
  record& whole = *s.self;
  if (first == when_state::nobody) {
    whole.stopped_ = true;
  } else {
    fail_as(whole, *s.inputs[first].input);
  }
  for (std::size_t i = 0; i < s.count; ++i) {
    record& input = *s.inputs[i].input;
    if (i == first || !input.error_) continue;
    input.observed_.store(true, std::memory_order_relaxed);
    if (!s.any) rare_fields_of(whole).further_errors.push_back(further_error_of(input));
  }
}

void finish(when_state& s) noexcept {
  auto const decided = s.decided.load(std::memory_order_relaxed);
  if ((decided != when_state::nobody) == s.any) {
    s.gather(s);
    // The losers' errors are nobody's business.
    for (std::size_t i = 0; s.any && i < s.count; ++i)
      s.inputs[i].input->observed_.store(true, std::memory_order_relaxed);
  } else {
    fail(s, s.any ? s.first_error.load(std::memory_order_relaxed) : decided);
  }
  complete(*s.self);
}

void count_down(when_state& s, std::size_t arrived) noexcept {
  // (Y1) acq_rel: the last one sees what the others have decided, and their results; pairs with every other (Y1).
  if (s.left.fetch_sub(arrived, std::memory_order_acq_rel) == arrived) finish(s);
}

void arrive(waiter* w) noexcept { count_down(*static_cast<when_input*>(w)->whole, 1); }

void stop_others_and_arrive(waiter* w) noexcept {
  auto& in = static_cast<when_input&>(*w);
  stop_all_but(*in.whole, in);
  in.wake = &arrive;
}

void on_end(waiter* w) noexcept {
  auto& in = static_cast<when_input&>(*w);
  if (decides(*in.whole, in))
    settle_apart(in, &stop_others_and_arrive);
  else
    arrive(w);
}

}  // namespace

void begin_when(when_state& s) noexcept {
  record& whole = *s.self;
  whole.inplace_allowed_ = false;
  whole.stands_for_others_ = true;
  whole.state_.store(record_state::handle | record_state::begun | record_state::chained, std::memory_order_relaxed);
  s.left.store(s.count + 1, std::memory_order_relaxed);
  std::size_t arrived = 1;  // ourselves
  for (when_input* in = s.inputs; in != s.inputs + s.count; ++in) {
    in->whole = &s;
    in->wake = [](waiter* w) noexcept { settle(*w, &on_end); };
    if (!in->input->done() && hook(*in->input, *in)) continue;
    if (decides(s, *in)) stop_all_but(s, *in);
    ++arrived;
  }
  count_down(s, arrived);
}

void stop_inputs(when_state& s) noexcept {
  for (when_input* in = s.inputs; in != s.inputs + s.count; ++in) {
    lock_record(*s.self);
    bool const there = !s.released;
    if (there) pin(*in->input);
    unlock_record(*s.self);
    if (!there) return;
    stop_unless_kept(*in->input);
    unpin(*in->input);
  }
}

void show_inputs(when_state& s) noexcept {
  input_visitor& visitor = *this_thread().asking_for_inputs;
  if (s.any) visitor.ends_with_first();
  lock_record(*s.self);
  for (when_input* in = s.inputs; !s.released && in != s.inputs + s.count; ++in) {
    // The first success, too: when_any() stops the others now, and so ends.
    bool const matters = !in->input->done() || (s.any && in->input->has_value_);
    if (matters && !visitor.visit(*in->input)) break;
  }
  unlock_record(*s.self);
}

void leave_inputs(when_state& s) noexcept {
  lock_record(*s.self);
  s.released = true;
  unlock_record(*s.self);
  for (std::size_t i = 1; i < s.count; ++i) release_handle(*s.inputs[i].input);
  if (s.count != 0) this_thread().left_over = s.inputs[0].input;  // so that chains of them need no deep stack
}

void throw_nothing_to_choose() {
  throw std::invalid_argument{"errand::when_any(): there are no futures, so none can be the first"};
}

}  // namespace errand::detail
