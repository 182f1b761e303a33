// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The floor of a round trip between threads: two of them, two words, two futex calls each way and nothing else.
#include "round_trips.hpp"

#include <atomic>
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
  explicit partner(unsigned) : thread_{[this] { answer(); }} {}
  partner(partner const&) = delete;
  partner& operator=(partner const&) = delete;
  ~partner() {
    over_ = true;
    set_and_wake(question_, ++asked_);
    thread_.join();
  }

  // Wakes the partner and sleeps until it has answered, which it does when it has called the task.
  template <class F>
  void ask(F task) {
    task_ = &task;
    call_ = [](void* t) { (*static_cast<F*>(t))(); };
    auto const before = asked_++;
    set_and_wake(question_, asked_);
    sleep_while(answer_, before);
  }

 private:
  void answer() {
    for (std::uint32_t n = 0;;) {
      sleep_while(question_, n++);
      if (over_) return;
      call_(task_);
      set_and_wake(answer_, n);
    }
  }

  alignas(128) word question_{0};
  alignas(128) word answer_{0};
  std::uint32_t asked_ = 0;
  void* task_ = nullptr;  // written before the question, as the two below
  void (*call_)(void*) = nullptr;
  bool over_ = false;
  std::thread thread_;
};

add const cold{"wake-cold", role::floor, "raw futex", &cold_asker<partner, false>, place::own_process};
add const both_asleep{"wake-both-asleep", role::floor, "raw futex", &cold_asker<partner, true>, place::own_process};
// To a pool and back to the main thread: two wakes as well.
add const to_main{"queue-main", role::floor, "raw futex", &cold_asker<partner, true>, place::own_process};
add const cold_to_main{"queue-main-cold", role::floor, "raw futex", &cold_asker<partner, false>, place::own_process};
add const hot{"wake-hot", role::floor, "raw futex", &hot_asker<partner, 5000>};

}  // namespace

}  // namespace microbench
