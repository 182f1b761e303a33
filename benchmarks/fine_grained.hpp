// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CPU jobs n = 2000 and n = 15 000 of the suite with each inner loop dispatched by itself, 17 000 in all. What a
// dispatch adds is small beside the loops and beside a virtual machine's drift, so the work is cut into slices, each done
// serially and dispatched in turn; the cost is the median slice's difference, for each dispatch.
#pragma once

#include "system_state.hpp"
#include "who_ran.hpp"

namespace microbench {

// The inner loop: every step is kept.
[[gnu::noinline]] inline std::size_t count_to(std::size_t n) {
  std::size_t count = 0;
  for (std::size_t x = 0; x < n; ++x) {
    ++count;
    asm volatile("" : "+r"(count));
  }
  return count;
}
inline std::size_t counted_task(std::size_t n, seat const* dispatcher) {
  visit_from(dispatcher);
  return count_to(n);
}

class slices {
 public:
  explicit slices(settings const& s) : jobs_{2000, s.quick ? std::size_t{1000} : std::size_t{15'000}} {}

  // The next slice; false when there are none.
  bool next() {
    if (job_ == 2) return false;
    begin_ = end_;
    if (begin_ == jobs_[job_]) {
      begin_ = end_ = 0;
      if (++job_ == 2) return false;
    }
    end_ = begin_ + length;
    return true;
  }
  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t end() const { return end_; }

  // Of the slice: when its serial half began, when the dispatched half began, and when that ended, with their counts.
  void note(std::int64_t t0, std::int64_t t1, std::int64_t t2, std::size_t serial, std::size_t dispatched) {
    require(serial == dispatched, "the dispatched loops did not count what the serial ones counted");
    serial_ += serial;
    added_.push_back(ns_each(t1 - t0, t2 - t1, length));
  }

  [[nodiscard]] std::size_t dispatches() const { return jobs_[0] + jobs_[1]; }
  [[nodiscard]] sample result(std::vector<fact> facts) const {
    std::size_t expected = 0;
    for (auto const n : jobs_) expected += n * (n - 1) / 2;
    require(serial_ == expected, "the loops did not count every step");
    return {median(added_), std::move(facts)};
  }
  [[nodiscard]] sample result(roll_call const& who) const {
    turnout const t = who.end(dispatches());
    return result({{"threads", static_cast<double>(t.threads)},
                   {"% elsewhere", 100 * static_cast<double>(t.dispatched) / static_cast<double>(dispatches())}});
  }

 private:
  static constexpr std::size_t length = 250;
  std::size_t jobs_[2];
  std::size_t job_ = 0, begin_ = 0, end_ = 0, serial_ = 0;
  std::vector<double> added_{};
};

// dispatch(n) has the loop of n steps run somewhere and returns its count.
template <class Dispatch>
void dispatch_slices(slices& work, Dispatch dispatch) {
  while (work.next()) {
    std::size_t serial = 0, dispatched = 0;
    auto const t0 = now_ns();
    for (auto i = work.begin(); i < work.end(); ++i) serial += count_to(i);
    auto const t1 = now_ns();
    for (auto i = work.begin(); i < work.end(); ++i) dispatched += dispatch(i);
    work.note(t0, t1, now_ns(), serial, dispatched);
  }
}

// dispatch(n, seat) has counted_task(n, seat) run on some thread and returns its count.
template <class Dispatch>
sample added_by_dispatch(settings const& s, Dispatch dispatch) {
  static_cast<void>(dispatch(0, seat_of_this_thread()));
  roll_call const who;
  slices work{s};
  dispatch_slices(work, [&](std::size_t n) { return dispatch(n, seat_of_this_thread()); });
  return work.result(who);
}

}  // namespace microbench
