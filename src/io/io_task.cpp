// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/io_task.hpp"

#include "sched/blocking.hpp"
#include "sched/exit.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

namespace errand::detail {

// A task of the place `blocking` that carries on with an operation. Nobody holds it: it goes with its end.
struct io_task::on_its_own_thread final : record {
  explicit on_its_own_thread(io_task& t) noexcept : record{&act, t.self_.from_}, task{t} {
    state_.store(record_state::queued, std::memory_order_relaxed);
    run = nullptr;  // only a pool would call it
  }

  static bool act(record* base, record_verb verb) noexcept {
    auto& self = static_cast<on_its_own_thread&>(*base);
    switch (verb) {
      case record_verb::run:
        self.task.go_on(true);
        break;
      case record_verb::drop:  // no thread could be started
        self.task.self_.error_ = self.error_;
        self.task.discard();
        self.task.end();
        break;
      case record_verb::destroy:
        self.~on_its_own_thread();
        deallocate_record(&self, sizeof(on_its_own_thread));
        break;
      case record_verb::end:
      case record_verb::stop:
      case record_verb::inputs:
        break;
    }
    return true;
  }

  io_task& task;
};

io_task::io_task(record& self) noexcept : self_{self} {
  run = [](file_operation* op) noexcept { static_cast<io_task*>(op)->go_on(false); };
  wake = [](waiter* w) noexcept { static_cast<io_task*>(w)->ask_to_stop(); };
}

io_task::~io_task() {
  // Nobody refers to the record, so no stopper is on his way to the event.
  if (int const event = stop_event_.load(std::memory_order_relaxed); event >= 0) ::close(event);
}

void io_task::begin(bool kept) noexcept {
  if (kept) {
    drain_at_exit_again();
    begin_kept_outside(self_, *this);
  } else {
    begin_outside(self_, *this);  // a stop that comes from above at once leaves its flag
  }
}

void io_task::move_to_its_own_thread() {
  blocking_threads::of_process().run(*make_record<on_its_own_thread>(*this));
}

int io_task::stop_event() noexcept {
  int event = stop_event_.load(std::memory_order_relaxed);
  if (event >= 0) return event;
  event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) return event;
  stop_event_.store(event, std::memory_order_seq_cst);                          // (IT1)
  if (stop_asked_.load(std::memory_order_seq_cst)) ::eventfd_write(event, 1);  // (IT1)
  return event;
}

// By a stopper, once. He refers to the record.
void io_task::ask_to_stop() noexcept {
  stop_asked_.store(true, std::memory_order_seq_cst);  // (IT1)
  if (file_threads::of_process().cancel(*this)) {
    self_.stopped_ = true;
    discard();
    end();
    return;
  }
  int const event = stop_event_.load(std::memory_order_seq_cst);  // (IT1)
  if (event >= 0) ::eventfd_write(event, 1);
}

}  // namespace errand::detail
