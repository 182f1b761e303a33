// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The floor of a round trip between threads: two of them, two words, two futex calls each way and nothing else.
#include "round_trips.hpp"

#include <atomic>
#include <memory>
#include <thread>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace microbench {

namespace {

using word = std::atomic<std::uint32_t>;

void sleep_while(word& w, std::uint32_t value) {
  while (w.load(std::memory_order_acquire) == value)
    ::syscall(SYS_futex, &w, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void set_and_wake(word& w, std::uint32_t value) {
  w.store(value, std::memory_order_release);
  ::syscall(SYS_futex, &w, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

class partner {
 public:
  partner() : thread_{[this] { answer(); }} {}
  partner(partner const&) = delete;
  partner& operator=(partner const&) = delete;
  ~partner() {
    over_ = true;
    set_and_wake(question_, ++asked_);
    thread_.join();
  }

  // Wakes the partner and sleeps until it has answered.
  void round_trip() {
    auto const before = asked_++;
    set_and_wake(question_, asked_);
    sleep_while(answer_, before);
  }

 private:
  void answer() {
    for (std::uint32_t n = 0;;) {
      sleep_while(question_, n++);
      if (over_) return;
      visit();
      set_and_wake(answer_, n);
    }
  }

  alignas(128) word question_{0};
  alignas(128) word answer_{0};
  std::uint32_t asked_ = 0;
  bool over_ = false;  // written before the last question
  std::thread thread_;
};

add const cold{"wake-cold", role::floor, "raw futex",
               [](settings const& s) -> repetition {
                 auto other = std::make_shared<partner>();
                 return [=] { return cold_round_trips(s, [&] { other->round_trip(); }); };
               },
               place::own_process};
add const hot{"wake-hot", role::floor, "raw futex", [](settings const& s) -> repetition {
                auto other = std::make_shared<partner>();
                return [other, n = s.times(5'000)] { return hot_round_trips(n, [&] { other->round_trip(); }); };
              }};

}  // namespace

}  // namespace microbench
