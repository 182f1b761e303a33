// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "task/settle.hpp"

#include "task/thread_state.hpp"

#include <utility>

namespace errand::detail {

// On the stack of the outermost settle(). The thread points to it only while no code of the user's can run: after that the
// stack may go on on another thread.
class settle_list {
 public:
  void append(waiter& w) noexcept {
    w.next = nullptr;
    *end_ = &w;
    end_ = &w.next;
  }
  void append_apart(waiter& w) noexcept { w.next = std::exchange(apart_, &w); }

  void run() noexcept {
    for (;;) {
      this_thread().settling = this;
      while (first_ != nullptr) {
        waiter* const w = std::exchange(first_, first_->next);
        if (first_ == nullptr) end_ = &first_;
        w->wake(w);  // it may be gone after this
      }
      this_thread().settling = nullptr;
      if (apart_ == nullptr) return;
      waiter& w = *std::exchange(apart_, apart_->next);
      this_thread().told = nullptr;
      w.wake(&w);
      append(w);
    }
  }

 private:
  waiter* first_ = nullptr;
  waiter** end_ = &first_;
  waiter* apart_ = nullptr;
};

void settle(waiter& w, void (*step)(waiter* w) noexcept) noexcept {
  w.wake = step;  // nobody else knows it any more: it is being woken
  if (auto* const outer = this_thread().settling; outer != nullptr) return outer->append(w);
  settle_list list;
  list.append(w);
  list.run();
}

void settle_apart(waiter& w, void (*apart)(waiter* w) noexcept) noexcept {
  w.wake = apart;
  this_thread().settling->append_apart(w);
}

pause_of_settling::pause_of_settling() noexcept
    : settling_{std::exchange(this_thread().settling, nullptr)}, told_{std::exchange(this_thread().told, nullptr)} {}

pause_of_settling::~pause_of_settling() {
  thread_state& t = this_thread();  // perhaps another one
  t.settling = settling_;
  t.told = told_;
}

bool is_settling() noexcept { return this_thread().settling != nullptr; }

}  // namespace errand::detail
