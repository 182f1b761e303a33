// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An operation on files as a task: a completion record that is begun outside, carried out by a file thread, and moved to a
// thread of the place `blocking` if it turns out that it may wait for ever. How a stop and the end of the program see it is
// in README.md. Whoever offers an operation writes a class like those of whole_file.cpp and calls start_io().
#pragma once

#include "io/file_threads.hpp"

#include <errand/detail/future.hpp>
#include <errand/detail/outside_task.hpp>

#include <optional>

namespace errand::detail {

/// The untyped half. Its memory is the record's.
class io_task : private file_operation, private waiter {
 public:
  io_task(io_task const&) = delete;
  io_task& operator=(io_task const&) = delete;

  /// Whether it was asked to stop. For operations that then end early.
  [[nodiscard]] bool stop_requested() const noexcept {
    return stop_asked_.load(std::memory_order_seq_cst);  // (IT1)
  }
  /// For an operation that waits on a thread of its own: a descriptor that can be read once it was asked to stop, perhaps at
  /// once. By the operation alone. Less than 0, and errno says why: there is none.
  [[nodiscard]] int stop_event() noexcept;
  /// To the file threads, of one that has begun; it may be done afterwards. Once.
  void hand_over() noexcept { file_threads::of_process().submit(*this); }

 protected:
  explicit io_task(record& self) noexcept;
  ~io_task();

  /// Begins it: from now on a stop finds it.
  void begin(bool kept) noexcept;
  /// Begins it and hands it over; it may be done afterwards.
  void start(bool kept) noexcept {
    begin(kept);
    hand_over();
  }
  /// Its operation has been destroyed; error_, stopped_ or the value is in place. May free the record.
  void end() noexcept { end_outside(self_, *this); }
  /// The rest on a thread of the place `blocking`; it may be done afterwards. Throws std::bad_alloc, and then stays here.
  void move_to_its_own_thread();

 private:
  /// Carries on. `may_wait`: this thread is its own.
  virtual void go_on(bool may_wait) noexcept = 0;
  /// It is not to begin at all, or could not be moved (then error_ is set): destroys the operation.
  virtual void discard() noexcept = 0;

  void ask_to_stop() noexcept;

  struct on_its_own_thread;

  record& self_;
  // (IT1) seq_cst: the stopper sets the flag, then looks for the event; the operation makes the event, then looks at the flag.
  std::atomic<bool> stop_asked_{false};
  std::atomic<int> stop_event_{-1};
};

/// What `Operation` has:
///   using result = …;                       what its future gives
///   bool carry_out(io_task&, bool may_wait)  all the work, on one thread. False: it would have to wait for who knows how long,
///                                           and wants to be called once more where it may. Throws its error; and
///                                           operation_cancelled, if it ends because of a stop
///   result take()                           afterwards, once
template <class Operation>
class io_record final : public result_record<typename Operation::result>, public io_task {
  using result = typename Operation::result;

 public:
  template <class... From>
  explicit io_record(std::source_location from, From&&... with)
      : result_record<result>{&act, from}, io_task{static_cast<record&>(*this)} {
    operation_.emplace(std::forward<From>(with)...);
  }
  using io_task::begin;
  using io_task::start;

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<io_record*>(base);
    if (verb == record_verb::drop) self->drop_value();
    if (verb == record_verb::destroy) {
      self->~io_record();
      deallocate_record(self, sizeof(io_record));
    }
    return true;  // it runs elsewhere
  }

  void go_on(bool may_wait) noexcept override {
    try {
      if (stop_requested())
        this->stopped_ = true;
      else if (operation_->carry_out(*this, may_wait))
        this->set_value_from([this]() -> result { return operation_->take(); });
      else
        return move_to_its_own_thread();
    } catch (operation_cancelled const&) {
      this->stopped_ = true;
    } catch (...) {
      this->error_ = std::current_exception();
    }
    operation_.reset();
    end();
  }
  void discard() noexcept override { operation_.reset(); }

  std::optional<Operation> operation_;
};

/// Starts one. `kept`: it is finished in any case, as a write (begin_kept_outside); else the drop of its future stops it.
/// Throws std::bad_alloc.
template <class Operation, class... From>
[[nodiscard]] future<typename Operation::result> start_io(bool kept, std::source_location from, From&&... with) {
  auto* const r = make_record<io_record<Operation>>(from, std::forward<From>(with)...);
  auto handle = future_access::make<typename Operation::result>(r);
  r->start(kept);
  return handle;
}

}  // namespace errand::detail
