// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// file_writer: what is collected, what is handed over, and the operations that write it. README.md, "A writer".
#include "base/fork.hpp"
#include "base/lock.hpp"
#include "io/frame_record.hpp"
#include "io/io_task.hpp"
#include "io/target.hpp"
#include "io/under_way.hpp"
#include "sched/exit.hpp"
#include "task/rare_fields.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/file_writer.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace errand::detail {

namespace {

// Memory for pieces: so much at first, then so much, and from so many bytes on in buffers of 1 MiB, past the page cache.
constexpr std::size_t first_part = std::size_t{64} << 10;
constexpr std::size_t next_parts = std::size_t{256} << 10;
// What a call takes in one step: it and an unaligned beginning go into one buffer.
constexpr std::size_t most_at_once = io_buffer_size - io_alignment;
// Who gives more than the disk takes has to wait anyway. From wait to wait he may have less under way, down to this, until all was
// down once: the same few buffers are then in the processor's cache, which makes the disk up to a quarter faster where that is a
// virtual one. A burst still has the whole bound.
constexpr std::size_t least_window = std::size_t{8} << 20;
// After so many parts in a row a drain lets other operations have its thread.
constexpr unsigned parts_in_a_row = 16;

// Bytes that lie in one of the three.
struct part {
  std::unique_ptr<part> next;
  std::unique_ptr<char[]> memory;
  io_buffer buffer;
  std::string given;
  std::size_t capacity = 0;
  std::size_t begin = 0;  // before it all is written
  std::size_t end = 0;

  [[nodiscard]] char* data() noexcept {
    return memory != nullptr ? memory.get() : buffer != nullptr ? reinterpret_cast<char*>(buffer.get()) : given.data();
  }
  void write_to(write_target& target) {
    std::string_view left{data() + begin, end - begin};
    try {
      if (buffer != nullptr && begin == 0)
        target.write(buffer, left);
      else
        target.write(left);
    } catch (...) {
      begin = end - left.size();
      throw;
    }
    begin = end;
  }
};

class part_queue {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  void push(std::unique_ptr<part> p) noexcept {
    part* const added = p.get();
    (first_ == nullptr ? first_ : last_->next) = std::move(p);
    last_ = added;
  }
  void push_front(std::unique_ptr<part> p) noexcept {
    if (first_ == nullptr) last_ = p.get();
    p->next = std::move(first_);
    first_ = std::move(p);
  }
  [[nodiscard]] std::unique_ptr<part> pop() noexcept {
    auto p = std::move(first_);
    if (p != nullptr) first_ = std::move(p->next);
    return p;
  }
  // Not one inside the other: there may be many.
  ~part_queue() {
    while (pop() != nullptr) {
    }
  }

 private:
  std::unique_ptr<part> first_;
  part* last_ = nullptr;
};

}  // namespace

class writer_core final : public writer_front, public std::enable_shared_from_this<writer_core> {
 public:
  explicit writer_core(writer_start const& s);
  ~writer_core();
  writer_core(writer_core const&) = delete;
  writer_core& operator=(writer_core const&) = delete;

  [[nodiscard]] std::source_location from() const noexcept { return from_; }
  [[nodiscard]] bool inherited() const noexcept { return born_in_ != process_generation; }
  /// Its locks may be taken for ever, its pieces under way for ever; and what it has collected, the parent writes.
  void keep_for_ever(std::shared_ptr<writer_core> self) noexcept { itself_ = std::move(self); }
  static void in_child() noexcept;

  // ---- at the end of the program, by whoever ends it -------------------------------------------------------------------

  // What every writer has collected, whosever it is; but one that is to replace a file as a whole was not closed.
  static void hand_over_all() noexcept;

  // ---- by the writer's user ------------------------------------------------------------------------------------------

  void throw_if_inherited() const {
    if (inherited())
      throw std::logic_error{"errand::file_writer: in the child of a fork, the parent process's was used"};
  }
  void write(std::string_view piece) {
    check();
    // All or nothing of what is less than a MiB.
    if (piece.size() > most_at_once && piece.size() < io_buffer_size) return write(std::string{piece});
    do {
      auto const taken = piece.substr(0, most_at_once);
      take(taken);
      piece.remove_prefix(taken.size());
    } while (!piece.empty());
  }
  void write(std::string&& piece) {
    check();
    auto given = std::make_unique<part>();
    wait_for_room(piece.size());
    given->given = std::move(piece);
    given->capacity = given->end = given->given.size();
    hand_over_collected();
    hand_over(std::move(given));
  }
  [[nodiscard]] bool try_write(std::string_view piece) {
    check();
    if (piece.size() >= room()) {
      std::lock_guard const held{guard_};
      auto const more = piece.size() + (collecting_ == nullptr ? 0 : collecting_->capacity);
      if (!may_hand_over(more)) return false;
    }
    does_not_wait_ = true;  // not even if others take that room meanwhile
    struct reset {
      ~reset() { flag = false; }
      bool& flag;
    } const at_the_end{does_not_wait_};
    write(piece);
    return true;
  }
  void hand_over_collected() noexcept {
    {
      std::lock_guard const held{guard_};
      if (collecting_ == nullptr) return;
      collecting_->end = static_cast<std::size_t>(place() - collecting_->data());
      go_on_at(nullptr);
      end.store(nullptr, std::memory_order_relaxed);
      if (collecting_->begin == collecting_->end) return collecting_.reset();
      if (!queue(std::move(collecting_))) return;
    }
    start_drain();
  }
  void forbid_writes() noexcept {
    std::lock_guard const held{guard_};
    closed_ = true;
    end.store(nullptr, std::memory_order_relaxed);
  }
  void retry() {
    throw_if_inherited();
    {
      std::lock_guard const held{guard_};
      if (error_ == nullptr) return;
      error_ = nullptr;
      error_taken_ = false;
      flushed_at_exit_ = false;
      again_ = true;
      if (std::exchange(drain_queued_, true)) return;
    }
    start_drain();
  }
  [[nodiscard]] std::uint64_t waits() noexcept {
    std::lock_guard const held{guard_};
    return waits_;
  }

  // ---- by operations, on file threads --------------------------------------------------------------------------------

  enum class until { handed_over, flushed, closed };

  // False: where it may wait. Throws the error that sticks if it is asked for more than to write what was handed over. `dropped`:
  // nobody hears of an error that somebody has taken already.
  bool drain(until goal, bool may_wait, bool dropped) {
    // A thread that may be there for long, with a pipe that nobody reads, is waited for on a thread of one's own.
    if (!may_wait && may_take_long_.load(std::memory_order_relaxed)) return false;
    std::lock_guard const alone{draining_};
    if (finished_) return true;
    try {
      if (!has_error()) {
        if (!target_.open(may_wait)) {
          may_take_long_.store(true, std::memory_order_relaxed);
          return false;
        }
        if (is_to_repeat()) target_.retry();
        write_parts(goal);
        if (goal == until::flushed) target_.sync();
        if (goal == until::closed) {
          target_.finish();
          finished_ = true;
        }
      }
    } catch (...) {
      std::lock_guard const held{guard_};
      drain_queued_ = false;
      error_ = std::current_exception();
      error_taken_ = false;
      end.store(nullptr, std::memory_order_relaxed);
    }
    settle();
    if (goal == until::handed_over) return true;
    std::lock_guard const held{guard_};
    if (error_ == nullptr || (dropped && error_taken_)) return true;
    error_taken_ = true;
    std::rethrow_exception(error_);
  }

 private:
  // ---- by the writer's user ------------------------------------------------------------------------------------------

  void check() {
    throw_if_inherited();
    std::lock_guard const held{guard_};
    throw_if_there_is_error();
    if (closed_) throw std::logic_error{"errand::file_writer: written to after close()"};
  }
  [[nodiscard]] std::size_t room() noexcept {
    return collecting_ == nullptr ? 0 : static_cast<std::size_t>(collecting_->data() + collecting_->capacity - place());
  }
  // In what is written, if the part before is filled to its end.
  [[nodiscard]] std::uint64_t offset_of_next() noexcept {
    std::lock_guard const held{guard_};
    return handed_over_bytes_ + (collecting_ == nullptr ? 0 : collecting_->capacity - collecting_->begin);
  }
  // All of it; or it throws, and has taken nothing.
  void take(std::string_view piece) {
    if (piece.size() >= room()) {
      auto const now = piece.substr(0, room());
      auto const later = piece.substr(now.size());
      auto next = make_part(offset_of_next(), later.size());
      if (collecting_ != nullptr) {
        wait_for_room(collecting_->capacity);
        put(now);
        hand_over_collected();
      }
      std::lock_guard const held{guard_};
      collecting_ = std::move(next);
      go_on_at(collecting_->data());
      piece = later;
    }
    put(piece);
    std::lock_guard const held{guard_};
    if (error_ == nullptr) end.store(collecting_->data() + collecting_->capacity, std::memory_order_relaxed);
  }
  [[nodiscard]] std::unique_ptr<part> make_part(std::uint64_t offset, std::size_t least) {
    auto made = std::make_unique<part>();
    if (many_ || offset >= write_target::streamed_from || least > next_parts) {
      if (!many_) many_.emplace();
      made->buffer = take_io_buffer();
      // So that the next one begins at an aligned place.
      made->capacity = io_buffer_size - static_cast<std::size_t>(offset % io_alignment);
      return made;
    }
    made->capacity = std::max(least, offset == 0 ? first_part : next_parts);
    {
      std::lock_guard const held{guard_};
      made->memory = std::exchange(spare_, nullptr);
    }
    if (made->memory == nullptr || made->capacity != next_parts)
      made->memory = std::make_unique_for_overwrite<char[]>(made->capacity);
    return made;
  }
  void hand_over(std::unique_ptr<part> p) noexcept {
    {
      std::lock_guard const held{guard_};
      if (!queue(std::move(p))) return;
    }
    start_drain();
  }
  // Under guard_. True if a drain is to be started.
  bool queue(std::unique_ptr<part> p) noexcept {
    auto const size = p->end - p->begin;
    handed_over_bytes_ += size;
    queued_bytes_ += size;
    under_way_.add(size);
    handed_over_.push(std::move(p));
    flushed_at_exit_ = false;
    return error_ == nullptr && !std::exchange(drain_queued_, true);
  }
  void wait_for_room(std::size_t size) {
    bool counted = false;
    for (;;) {
      frame_record w{from_};
      bool nobody_drains = false;
      {
        std::lock_guard const held{guard_};
        throw_if_there_is_error();
        if (under_way_.count() == 0) window_ = bytes_under_way::bound();
        if (does_not_wait_ || may_hand_over(size)) return;
        if (!std::exchange(counted, true)) ++waits_;
        window_ = std::max(std::min(window_, least_window), window_ / 2);
        waits_for_ = size;
        waiter_ = &w;
        nobody_drains = !std::exchange(drain_queued_, true);
      }
      bool const drained = !nobody_drains || start_drain();
      if (drained && wait_unless_stopped(w)) continue;
      bool taken_back = false;
      {
        std::lock_guard const held{guard_};
        taken_back = std::exchange(waiter_, nullptr) == &w;
      }
      if (!taken_back) wait_to_the_end(w);
      if (!drained) throw std::bad_alloc{};
      throw operation_cancelled{};
    }
  }
  // Without memory for it, false: the next who hands over tries again, or who flushes or closes.
  bool start_drain() noexcept;

  // ---- by operations -------------------------------------------------------------------------------------------------

  bool has_error() noexcept {
    std::lock_guard const held{guard_};
    return error_ != nullptr;
  }
  bool is_to_repeat() noexcept {
    std::lock_guard const held{guard_};
    return std::exchange(again_, false);
  }
  // Until none is left, and none is on its way. What could not be written goes back to where it was.
  void write_parts(until goal) {
    for (unsigned n = 1;; ++n) {
      auto p = next_part();
      if (p == nullptr) {
        if (!target_.await_one() && nothing_is_left()) return;
        settle();
        continue;
      }
      auto const begin = p->begin;
      try {
        p->write_to(target_);
      } catch (...) {
        std::lock_guard const held{guard_};
        queued_bytes_ -= p->begin - begin;
        handed_over_.push_front(std::move(p));
        throw;
      }
      {
        std::lock_guard const held{guard_};
        queued_bytes_ -= p->end - begin;
        if (p->capacity == next_parts && p->memory != nullptr) spare_ = std::move(p->memory);
      }
      settle();
      if (goal == until::handed_over && n % parts_in_a_row == 0 && file_threads::of_process().now().queued != 0 && start_drain_here())
        return;
    }
  }
  [[nodiscard]] std::unique_ptr<part> next_part() noexcept {
    std::lock_guard const held{guard_};
    return handed_over_.pop();
  }
  [[nodiscard]] bool nothing_is_left() noexcept {
    std::lock_guard const held{guard_};
    if (!handed_over_.empty()) return false;
    drain_queued_ = false;
    return true;
  }
  // Another one that goes on, behind what others have queued. False: there is no memory for it.
  bool start_drain_here() noexcept;
  // Counts what is under way by now, and wakes who waits for that.
  void settle() noexcept {
    frame_record* woken = nullptr;
    {
      std::lock_guard const held{guard_};
      auto const now = queued_bytes_ + target_.under_way();
      if (auto const before = under_way_.count(); now > before)  // what had waited in the stream for more has gone off
        under_way_.add(now - before);
      else
        under_way_.remove(before - now);
      // Not for each part: a row of them is handed over in one go, while the disk has enough of the others.
      auto const enough = std::max(waits_for_, std::min(window_ / 4, bytes_under_way::bound() / 8));
      if (error_ != nullptr || may_hand_over(enough)) woken = std::exchange(waiter_, nullptr);
    }
    if (woken != nullptr) complete(*woken);
  }

  // ---- at the end of the program -------------------------------------------------------------------------------------

  void hand_over_at_exit() noexcept {
    try {
      auto copy = std::make_unique<part>();
      {
        std::lock_guard const held{guard_};
        bool const still_good = error_ == nullptr && !closed_ && how_ != durability::atomic;
        if (!still_good && (error_ == nullptr || error_taken_)) return;
        if (still_good && collecting_ != nullptr) {
          copy->given.assign(collecting_->data() + collecting_->begin, at.load(std::memory_order_acquire));  // (FW1)
          copy->end = copy->given.size();
          collecting_->begin += copy->end;
          if (copy->end != 0) queue(std::move(copy));
        }
        // Each flush has the end of the program come here once more.
        if (std::exchange(flushed_at_exit_, true)) return;
      }
      flush_for_nobody();
    } catch (...) {  // without memory
      {
        std::lock_guard const held{guard_};
        drain_queued_ = false;  // there is none for what has been queued just now
      }
      report_unobserved(further_error{std::current_exception(), {}, from_});
    }
  }
  // An error of it is one that nobody took.
  void flush_for_nobody();

  // Under guard_.
  [[nodiscard]] bool may_hand_over(std::size_t size) const noexcept {
    auto const own = under_way_.count();
    return own == 0 || (own + size <= window_ && bytes_under_way::is_room_for(size));
  }
  void throw_if_there_is_error() {
    if (error_ == nullptr) return;
    error_taken_ = true;
    std::rethrow_exception(error_);
  }

  std::source_location const from_;
  std::uint32_t const born_in_;
  durability const how_;

  // By the user alone, as are `at` and what it points to; `end` is given room under guard_.
  std::optional<many_io_buffers> many_;
  bool does_not_wait_ = false;

  std::atomic<bool> may_take_long_{false};  // relaxed: who does not see it yet waits for the lock, and looks again

  std::mutex draining_;         // by file threads; before guard_
  write_target target_;         // under it, as the next
  bool finished_ = false;

  small_lock guard_;            // all below
  std::unique_ptr<part> collecting_;      // changed by the user alone; what it holds before `begin` has been handed over
  part_queue handed_over_;
  std::uint64_t handed_over_bytes_ = 0;
  std::size_t queued_bytes_ = 0;  // handed over, and not the target's
  bytes_under_way under_way_;   // those, and what the target has on its way
  std::unique_ptr<char[]> spare_;
  bool drain_queued_ = false;   // an operation will look at handed_over_ once more
  bool flushed_at_exit_ = false;  // or asked for it, and nothing has come since
  bool again_ = false;          // the next that drains is to repeat what failed
  bool closed_ = false;
  std::exception_ptr error_;
  bool error_taken_ = false;
  std::uint64_t waits_ = 0;
  std::size_t window_ = bytes_under_way::bound();  // of what this writer may have under way
  std::size_t waits_for_ = 0;   // room for so many
  frame_record* waiter_ = nullptr;

  std::shared_ptr<writer_core> itself_;  // of the parent process, in the child of a fork: kept where leak checkers look

  // Of all that there are, so that those of the parent process take nothing in the child of a fork.
  static small_lock all_guard;
  static writer_core* all;
  writer_core* next_ = nullptr;
  writer_core* previous_ = nullptr;
  std::uint32_t round_ = 0;
};

constinit small_lock writer_core::all_guard;
constinit writer_core* writer_core::all = nullptr;  // under it, with the links and the round

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { writer_core::in_child(); }};
exit_part const at_exit{&writer_core::hand_over_all};

namespace {

class writer_operation {
 public:
  using result = void;

  writer_operation(std::shared_ptr<writer_core> core, writer_core::until goal, bool dropped) noexcept
      : core_{std::move(core)}, goal_{goal}, dropped_{dropped} {}
  bool carry_out(io_task&, bool may_wait) { return core_->drain(goal_, may_wait, dropped_); }
  void take() noexcept {}

 private:
  std::shared_ptr<writer_core> core_;
  writer_core::until goal_;
  bool dropped_;
};

[[nodiscard]] future<void> start(std::shared_ptr<writer_core> core, writer_core::until goal, bool dropped = false) {
  auto const from = core->from();
  return start_io<writer_operation>(true, from, std::move(core), goal, dropped);
}

writer_core& core_of(writer_front& w) noexcept { return static_cast<writer_core&>(w); }
std::shared_ptr<writer_core> core_of(writer_handle const& w) noexcept { return std::static_pointer_cast<writer_core>(w); }

}  // namespace

bool writer_core::start_drain() noexcept {
  if (start_drain_here()) return true;
  std::lock_guard const held{guard_};
  drain_queued_ = false;
  return false;
}

writer_core::writer_core(writer_start const& s)
    : from_{s.from}, born_in_{process_generation}, how_{s.how}, target_{"errand::file_writer", s.path, s.kind, s.how} {
  drain_at_exit_again();
  std::lock_guard const held{all_guard};
  next_ = all;
  if (next_ != nullptr) next_->previous_ = this;
  all = this;
}

writer_core::~writer_core() {
  std::lock_guard const held{all_guard};
  if (next_ != nullptr) next_->previous_ = previous_;
  (previous_ != nullptr ? previous_->next_ : all) = next_;
}

void writer_core::flush_for_nobody() { static_cast<void>(start(shared_from_this(), until::flushed, true)); }

// One after the other, without the lock: to hand over may destroy one.
void writer_core::hand_over_all() noexcept {
  static constinit std::atomic<std::uint32_t> rounds{0};
  auto const round = rounds.fetch_add(1, std::memory_order_relaxed) + 1;
  for (;;) {
    std::shared_ptr<writer_core> found;
    {
      std::lock_guard const held{all_guard};
      writer_core* w = all;
      while (w != nullptr && (w->round_ == round || w->inherited())) w = w->next_;
      if (w == nullptr) return;
      w->round_ = round;
      found = w->weak_from_this().lock();
    }
    if (found != nullptr) found->hand_over_at_exit();
  }
}

void writer_core::in_child() noexcept {
  // A thread that the child does not have may have been about to change the list: then one is missed, and says so a little
  // later, when it has collected enough.
  (void)all_guard.break_open();
  for (writer_core* w = all; w != nullptr; w = w->next_) w->end.store(nullptr, std::memory_order_relaxed);
}

bool writer_core::start_drain_here() noexcept {
  try {
    static_cast<void>(start(shared_from_this(), until::handed_over));
    return true;
  } catch (...) {
    return false;
  }
}

writer_handle open_writer(writer_start const& s) {
  if (s.kind == write_kind::append && s.how == durability::atomic)
    throw std::invalid_argument{
        "errand::file_writer::appending(): to append cannot be atomic: only a whole file can be replaced"};
  return std::make_shared<writer_core>(s);
}

void write_behind(writer_front& w, std::string_view piece) { core_of(w).write(piece); }
void write_behind(writer_front& w, std::string&& piece) { core_of(w).write(std::move(piece)); }
bool try_write_behind(writer_front& w, std::string_view piece) { return core_of(w).try_write(piece); }

future<void> flush_writer(writer_handle const& w) {
  auto core = core_of(w);
  core->throw_if_inherited();
  core->hand_over_collected();
  return start(std::move(core), writer_core::until::flushed);
}

future<void> close_writer(writer_handle const& w) {
  auto core = core_of(w);
  core->throw_if_inherited();
  core->forbid_writes();
  core->hand_over_collected();
  return start(std::move(core), writer_core::until::closed);
}

void drop_writer(writer_handle&& w) noexcept {
  auto const dropped = core_of(std::exchange(w, nullptr));
  if (dropped->inherited()) return dropped->keep_for_ever(dropped);
  dropped->forbid_writes();
  dropped->hand_over_collected();
  try {
    static_cast<void>(start(dropped, writer_core::until::closed, true));
  } catch (...) {
    try {  // no memory to hand it over: here, then
      dropped->drain(writer_core::until::closed, true, true);
    } catch (...) {
      report_unobserved(further_error{std::current_exception(), {}, dropped->from()});
    }
  }
}

void retry_writer(writer_front& w) { core_of(w).retry(); }
std::uint64_t waits_of_writer(writer_front& w) noexcept { return core_of(w).waits(); }
void throw_no_file() { throw std::logic_error{"errand::file_writer: there is no file (it was moved away)"}; }

}  // namespace errand::detail
