// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "who_ran.hpp"

#include "system_state.hpp"

#include <mutex>

namespace microbench {

namespace {

// Threads come and go by the ten thousand (std::async makes one for each task), so seats are given back, with their count.
struct hall {
  std::mutex guard{};  // all below
  seat* seats = nullptr;
  turnout of_the_gone{};
  seat const* home = nullptr;        // of the thread that called the roll; null if it has left
  std::uint64_t visits_of_home = 0;  // if it has left
};

hall& the_hall() {
  static hall& h = *new hall;  // leaked: threads may end after the statics
  return h;
}

struct leaving {
  seat* held = nullptr;
  ~leaving() {
    if (held == nullptr) return;
    hall& h = the_hall();
    std::lock_guard const lock{h.guard};
    auto const visits = held->visits.exchange(0, std::memory_order_relaxed);
    h.of_the_gone.visits += visits;
    h.of_the_gone.dispatched += held->dispatched.exchange(0, std::memory_order_relaxed);
    if (visits != 0) ++h.of_the_gone.threads;
    if (held == h.home) {
      h.visits_of_home = visits;
      h.home = nullptr;
    }
    held->taken = false;
    my_seat = nullptr;
  }
};
thread_local leaving my_leaving;

}  // namespace

seat& sit_down() {
  hall& h = the_hall();
  std::lock_guard const lock{h.guard};
  seat* s = h.seats;
  while (s != nullptr && s->taken) s = s->next;
  if (s == nullptr) {
    s = new seat;
    s->next = h.seats;
    h.seats = s;
  }
  s->taken = true;
  my_seat = my_leaving.held = s;
  return *s;
}

seat* seat_of_this_thread() noexcept { return my_seat != nullptr ? my_seat : &sit_down(); }

std::vector<fact> turnout::facts() const {
  auto const share = visits == 0 ? 0 : 100 * static_cast<double>(elsewhere) / static_cast<double>(visits);
  return {{"threads", static_cast<double>(threads)}, {"% elsewhere", share}};
}

roll_call::roll_call() {
  seat const* const home = seat_of_this_thread();
  hall& h = the_hall();
  std::lock_guard const lock{h.guard};
  for (seat* s = h.seats; s != nullptr; s = s->next) {
    s->visits.store(0, std::memory_order_relaxed);
    s->dispatched.store(0, std::memory_order_relaxed);
  }
  h.of_the_gone = {};
  h.home = home;
  h.visits_of_home = 0;
}

turnout roll_call::end() const {
  hall& h = the_hall();
  std::lock_guard const lock{h.guard};
  turnout t = h.of_the_gone;
  for (seat const* s = h.seats; s != nullptr; s = s->next) {
    auto const visits = s->visits.load(std::memory_order_relaxed);
    t.visits += visits;
    t.dispatched += s->dispatched.load(std::memory_order_relaxed);
    if (visits != 0) ++t.threads;
  }
  auto const at_home = h.home != nullptr ? h.home->visits.load(std::memory_order_relaxed) : h.visits_of_home;
  t.elsewhere = t.visits - at_home;
  return t;
}

turnout roll_call::end(std::uint64_t expected) const {
  turnout const t = end();
  if (t.visits != expected)
    throw wrong_result{std::to_string(t.visits) + " tasks ran instead of " + std::to_string(expected)};
  return t;
}

void roll_call::wait_for(std::uint64_t visits) const {
  auto const last = now_ns() + 60'000'000'000;
  while (end().visits < visits) {
    require(now_ns() < last, "not all tasks have run after a minute");
    timespec const moment{0, 20'000};
    ::nanosleep(&moment, nullptr);
  }
}

}  // namespace microbench
