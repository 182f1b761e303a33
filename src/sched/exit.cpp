// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/exit.hpp"

#include "base/check.hpp"
#include "base/fork.hpp"
#include "base/futex.hpp"
#include "sched/worker.hpp"
#include "task/detached.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/task.hpp>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace errand {

namespace detail {

namespace {

constexpr double default_limit = 10;  // seconds

double limit_in_seconds() {
  char const* const text = std::getenv("ERRAND_EXIT_DEADLINE");
  if (text == nullptr || *text == '\0') return default_limit;
  double seconds = 0;
  std::string_view const whole{text};
  auto const [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), seconds);
  if (error == std::errc{} && end == whole.data() + whole.size() && seconds >= 0) return seconds;
  say("ERRAND_EXIT_DEADLINE=" + std::string{whole} + " is ignored: it must be a number of seconds, 0 or more");
  return default_limit;
}

// Some were left: the program ends without them, and nobody waits a second time.
constinit std::atomic<bool> gave_up{false};
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { gave_up.store(false, std::memory_order_relaxed); }};

// Counts; whoever waits looks whether it has changed.
constinit std::atomic<std::uint32_t> steps{0};

constinit exit_part* first_part = nullptr;  // written before main

bool wait_for_the_rest(record const* self) {
  double const limit = limit_in_seconds();
  double seconds = 0;
  std::vector<std::string> left;
  std::uint32_t before = 0;
  for (bool got_on = true; got_on; got_on = limit != 0 && steps.load(std::memory_order_relaxed) != before) {
    before = steps.load(std::memory_order_relaxed);
    seconds += limit;
    left = wait_for_detached(deadline_of(std::chrono::duration<double>{limit}), self);
    if (left.empty()) return true;
  }
  std::string line = std::to_string(left.size()) + (left.size() == 1 ? " detached task has" : " detached tasks have") +
                     " not ended " + std::to_string(seconds).substr(0, std::to_string(seconds).find('.') + 2) +
                     " s after the program did (ERRAND_EXIT_DEADLINE), and " + (left.size() == 1 ? "is" : "are") + " abandoned:";
  constexpr std::size_t most_named = 5;
  for (std::size_t i = 0; i < left.size() && i < most_named; ++i) line.append(i == 0 ? " " : ", ").append(left[i]);
  if (left.size() > most_named) line.append(", ...");
  say(line);
  gave_up.store(true, std::memory_order_relaxed);
  return false;
}

// True if nothing was left.
bool drain(record const* self) {
  for (exit_part* p = first_part; p != nullptr; p = p->next()) p->before();
  return wait_for_the_rest(self);
}

// Whether drain_now() was registered by a pool; whether it was by a detach() and has not run since.
constinit std::atomic<bool> registered_by_pool{false};
constinit std::atomic<bool> registered_by_detach{false};

// exit() inside a task does not wait for that task; others may need its worker.
void drain_now() {
  registered_by_detach.store(false, std::memory_order_relaxed);
  record const* const self = this_thread().current;
  if (auto* const w = this_thread().as_worker; w != nullptr) w->hand_over();
  if (!gave_up.load(std::memory_order_relaxed)) drain(self);
}

// Tempting: a once_flag. Fails because a child of fork() would inherit it in the midst of the call. If two threads come here
// at once, the second drain finds nothing to wait for.
void register_once(std::atomic<bool>& registered) noexcept {
  if (registered.load(std::memory_order_relaxed)) return;
  // Refused where there is no memory; and when all handlers have run, but then nobody waits for anything any more.
  if (std::atexit(&drain_now) == 0) registered.store(true, std::memory_order_relaxed);
}

}  // namespace

void drain_at_exit() noexcept { register_once(registered_by_pool); }
bool exit_has_given_up() noexcept { return gave_up.load(std::memory_order_relaxed); }
void drain_at_exit_again() noexcept { register_once(registered_by_detach); }
exit_part::exit_part(call b) noexcept : before{b}, next_{std::exchange(first_part, this)} {}
void is_getting_on() noexcept { steps.fetch_add(1, std::memory_order_relaxed); }

void detach(record& r) {
  if (r.inherited()) return;
  drain_at_exit_again();
  own_itself(r);
}

}  // namespace detail

int finish() {
  if (detail::this_thread().as_worker != nullptr)
    throw std::logic_error{"errand::finish() was called by a task; it waits for tasks, and belongs at the end of main"};
  bool const all_ended = detail::drain(detail::this_thread().current);
  return all_ended && detail::unobserved_count() == 0 ? 0 : 1;
}

}  // namespace errand
