// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "who_ran.hpp"

#include <mutex>

namespace microbench {

namespace {

// Threads come and go by the ten thousand (std::async makes one for each task), so seats are given back, with their count.
struct hall {
  std::mutex guard{};  // all below
  seat* seats = nullptr;
  std::uint64_t visits_of_the_gone = 0;
  unsigned gone = 0;  // that visited
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
    h.visits_of_the_gone += visits;
    if (visits != 0) ++h.gone;
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

std::vector<fact> turnout::facts() const {
  auto const share = visits == 0 ? 0 : 100 * static_cast<double>(elsewhere) / static_cast<double>(visits);
  return {{"threads", static_cast<double>(threads)}, {"% elsewhere", share}};
}

roll_call::roll_call() : home_{my_seat != nullptr ? my_seat : &sit_down()} {
  hall& h = the_hall();
  std::lock_guard const lock{h.guard};
  for (seat* s = h.seats; s != nullptr; s = s->next) s->visits.store(0, std::memory_order_relaxed);
  h.visits_of_the_gone = 0;
  h.gone = 0;
}

turnout roll_call::end() const {
  hall& h = the_hall();
  std::lock_guard const lock{h.guard};
  turnout t{h.visits_of_the_gone, 0, h.gone};
  for (seat const* s = h.seats; s != nullptr; s = s->next) {
    auto const visits = s->visits.load(std::memory_order_relaxed);
    t.visits += visits;
    if (visits != 0) ++t.threads;
  }
  t.elsewhere = t.visits - home_->visits.load(std::memory_order_relaxed);
  return t;
}

turnout roll_call::end(std::uint64_t expected) const {
  turnout const t = end();
  if (t.visits != expected)
    throw wrong_result{std::to_string(t.visits) + " tasks ran instead of " + std::to_string(expected)};
  return t;
}

}  // namespace microbench
