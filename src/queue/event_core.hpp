// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is behind a source of events. A kind of source says how something is taken from it (take), how to be told when something
// is there (watch), and what is given back at its end (close). All else is here: who waits, the handler's calls, cancellation.
// How it goes on, and why: events.md of this folder.
#pragma once

#include "base/lock.hpp"
#include "base/recycler.hpp"

#include <errand/detail/events.hpp>

#include <memory>

namespace errand::detail {

class event_core {
 public:
  static void* operator new(std::size_t size) { return recycled_allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { recycled_free(memory, size); }

  event_core() noexcept;
  event_core(event_core const&) = delete;
  event_core& operator=(event_core const&) = delete;

  [[nodiscard]] bool inherited() const noexcept { return born_in_ != process_generation; }
  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop_reference() noexcept;

  // ---- whoever brings an event, in no lock ---------------------------------------------------------------------------
  /// What was watched for is there, perhaps. Nothing unless it is watched.
  void arrived() noexcept;

  // ---- who takes them --------------------------------------------------------------------------------------------------
  [[nodiscard]] bool try_take(void* raw);
  [[nodiscard]] bool wait_and_take(void* raw);
  [[nodiscard]] bool listen(event_listener& l);
  void listen_no_more(event_listener& l) noexcept;
  [[nodiscard]] bool is_over();

  // ---- the handler -------------------------------------------------------------------------------------------------------
  void start_handler(place_core& where, std::unique_ptr<event_function> f, std::source_location from);
  void cancel() noexcept;
  [[nodiscard]] bool handler_is_active() noexcept;
  void wait_for_handler();
  /// Something may be due earlier than it was: looks anew. By a kind of source, after it has changed, in no lock.
  void watch_anew();

 protected:
  virtual ~event_core();

  /// All under guard_. Moves what has gathered to *raw; false if there is nothing. Throws what ends the source.
  virtual bool take(void* raw) = 0;
  /// True: something can be taken. Else arrived() will be called when it can be, once. Throws what ends the source.
  virtual bool watch() = 0;
  /// By arrived(), if it is often called in vain: whether something can be taken.
  [[nodiscard]] virtual bool is_there() const noexcept { return true; }
  /// arrived() need not be called any more.
  virtual void watch_no_more() noexcept {}
  /// Not under guard_, once: gives back what the system keeps.
  virtual void close() noexcept {}

  [[nodiscard]] small_lock& guard() noexcept { return guard_; }
  /// By take(): this event was the last one.
  void last_was_taken() noexcept { over_ = true; }
  [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_; }

 private:
  struct call_record;  // one call of the handler's function: a task of its place
  struct concerned {   // by an event: who waits for one, or else the handler; or nobody
    event_listener* listener = nullptr;
    call_record* call = nullptr;
  };

  void refuse_if_handled(char const* operation) const;
  [[nodiscard]] bool over() const noexcept { return cancelled_ || over_; }
  [[nodiscard]] call_record* prepare_call() noexcept;      // under guard_
  [[nodiscard]] concerned whom_it_concerns() noexcept;     // likewise; to be told when that is open
  void tell(concerned who) noexcept;
  void begin_to_watch(bool& call_it) noexcept;             // under guard_
  void fail(std::exception_ptr error) noexcept;            // likewise
  void hand_over(call_record& call) noexcept;
  void call() noexcept;
  void call_is_over() noexcept;
  void finish_if_over() noexcept;
  void wait_for_finisher() noexcept;
  [[nodiscard]] call_record& its_call() noexcept;
  [[nodiscard]] bool called_by_itself() noexcept;

  std::atomic<std::uint32_t> references_{1};  // (EV1)
  std::uint32_t const born_in_ = process_generation;

  small_lock guard_;                     // all below, if nothing else is said
  bool watched_ = false;                 // arrived() means something
  bool cancelled_ = false;
  bool over_ = false;                    // no more events come
  bool closed_ = false;
  bool under_way_ = false;               // a call is queued or runs: there is one in call_room_
  bool call_is_dead_ = false;            // and it never will run: what refers to it is a list from which it will be skipped
  event_listener* after_call_ = nullptr;  // who waits for its end; linked by `next`
  bool finished_ = false;                // of a handler: end_ is done, or about to be
  void const* finisher_ = nullptr;       // the task, or thread, that does that
  event_listener* listener_ = nullptr;
  std::unique_ptr<event_function> function_{};  // set once; destroyed by who finishes
  bool handled_ = false;                 // set once
  place_core* where_ = nullptr;          // likewise
  std::source_location from_{};          // likewise
  event_listener end_;                   // of a handler: done when it has ended; its error
  alignas(64) std::byte call_room_[256];  // the call under way
};

}  // namespace errand::detail
