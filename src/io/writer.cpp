// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// file_writer: what is collected, what is handed over, and the operations that write it. README.md, "A writer".
#include "base/cpu_count.hpp"
#include "base/lock.hpp"
#include "io/io_task.hpp"
#include "io/target.hpp"
#include "task/rare_fields.hpp"
#include "task/unobserved.hpp"

#include <errand/detail/file_writer.hpp>

#include <atomic>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace errand::detail {

namespace {

constexpr std::size_t part = std::size_t{256} << 10;  // what is handed over at a time

// Of all writers: bytes that were written to them and are not down.
constinit std::atomic<std::size_t> on_their_way{0};

std::size_t most_on_their_way() {
  static std::size_t const most = std::size_t{limit_from_environment("ERRAND_WRITE_BEHIND", 1, 64)} << 20;
  return most;
}

bool is_room_for(std::size_t size) { return on_their_way.load(std::memory_order_relaxed) + size <= most_on_their_way(); }

}  // namespace

class writer_core : public std::enable_shared_from_this<writer_core> {
 public:
  explicit writer_core(writer_start const& s)
      : from_{s.from}, target_{"errand::file_writer", s.path, s.kind, s.how} {}
  ~writer_core() { on_their_way.fetch_sub(bytes_, std::memory_order_relaxed); }
  writer_core(writer_core const&) = delete;
  writer_core& operator=(writer_core const&) = delete;

  [[nodiscard]] std::source_location from() const noexcept { return from_; }

  void write(std::string_view piece) {
    wait_for_room(piece.size());
    add(piece);
  }
  void write(std::string&& piece) {
    if (piece.size() < part) return write(std::string_view{piece});
    wait_for_room(piece.size());
    {
      std::lock_guard const held{guard_};
      check_open();
      hand_over_collected();
      handed_over_.push_back(std::move(piece));
      count(handed_over_.back().size());
      if (std::exchange(drain_queued_, true)) return;
    }
    start_drain();
  }
  [[nodiscard]] bool try_write(std::string_view piece) {
    if (!is_room_for(piece.size())) {
      std::lock_guard const held{guard_};
      check_open();
      return false;
    }
    add(piece);
    return true;
  }

  void retry() {
    {
      std::lock_guard const held{guard_};
      error_ = nullptr;
      error_taken_ = false;
      if (std::exchange(drain_queued_, true)) return;
    }
    start_drain();
  }
  [[nodiscard]] std::uint64_t waits() noexcept {
    std::lock_guard const held{guard_};
    return waits_;
  }
  void forbid_writes() noexcept {
    std::lock_guard const held{guard_};
    closed_ = true;
  }

  // ---- by operations, on file threads --------------------------------------------------------------------------------

  enum class until { handed_over, flushed, closed };

  // False: where it may wait. Throws the error that sticks if it is asked for more than to write what was handed over. `dropped`:
  // nobody hears of an error that somebody has taken already.
  bool drain(until goal, bool may_wait, bool dropped) {
    std::lock_guard const alone{draining_};
    if (finished_) return true;
    if (goal != until::handed_over) {
      std::lock_guard const held{guard_};
      hand_over_collected();
    }
    try {
      if (!has_error()) {
        if (!target_.open(may_wait)) return false;
        write_parts();
        if (goal == until::flushed) target_.sync();
        if (goal == until::closed) {
          finished_ = true;
          target_.finish();
        }
      }
    } catch (...) {
      std::lock_guard const held{guard_};
      drain_queued_ = false;
      error_ = std::current_exception();
      error_taken_ = false;
    }
    if (goal == until::handed_over) return true;
    std::lock_guard const held{guard_};
    if (error_ == nullptr || (dropped && error_taken_)) return true;
    error_taken_ = true;
    std::rethrow_exception(error_);
  }

 private:
  void wait_for_room(std::size_t size);
  void start_drain() noexcept;

  void add(std::string_view piece) {
    {
      std::lock_guard const held{guard_};
      check_open();
      if (collected_.capacity() < part) collected_.reserve(part + part / 4);
      collected_.append(piece);
      count(piece.size());
      if (collected_.size() < part) return;
      hand_over_collected();
      if (std::exchange(drain_queued_, true)) return;
    }
    start_drain();
  }

  bool has_error() noexcept {
    std::lock_guard const held{guard_};
    return error_ != nullptr;
  }

  // Until none is left. What could not be written goes back to where it was.
  void write_parts() {
    for (;;) {
      std::string writing;
      {
        std::lock_guard const held{guard_};
        if (handed_over_.empty()) {
          drain_queued_ = false;
          return;
        }
        writing = std::move(handed_over_.front());
        handed_over_.pop_front();
      }
      std::string_view left = writing;
      try {
        target_.write(left);
      } catch (...) {
        std::size_t const written = writing.size() - left.size();
        writing.erase(0, written);
        std::lock_guard const held{guard_};
        discount(written);
        handed_over_.push_front(std::move(writing));
        throw;
      }
      std::lock_guard const held{guard_};
      discount(writing.size());
    }
  }

  // All under guard_.
  void check_open() {
    if (error_ != nullptr) {
      error_taken_ = true;
      std::rethrow_exception(error_);
    }
    if (closed_) throw std::logic_error{"errand::file_writer: written to after close()"};
  }
  void hand_over_collected() {
    if (collected_.empty()) return;
    handed_over_.push_back(std::move(collected_));
    collected_.clear();
  }
  void count(std::size_t size) noexcept {
    bytes_ += size;
    on_their_way.fetch_add(size, std::memory_order_relaxed);
  }
  void discount(std::size_t size) noexcept {
    bytes_ -= size;
    on_their_way.fetch_sub(size, std::memory_order_relaxed);
  }

  std::source_location const from_;

  std::mutex draining_;  // by file threads alone; before guard_
  write_target target_;  // under it
  bool finished_ = false;  // likewise

  small_lock guard_;  // all below
  std::string collected_;
  std::deque<std::string> handed_over_;
  std::size_t bytes_ = 0;      // in both, and in the hands of who drains
  bool drain_queued_ = false;  // an operation will look at handed_over_ once more
  bool closed_ = false;
  std::exception_ptr error_;
  bool error_taken_ = false;
  std::uint64_t waits_ = 0;
};

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

}  // namespace

void writer_core::wait_for_room(std::size_t size) {
  if (is_room_for(size)) return;
  {
    std::lock_guard const held{guard_};
    check_open();
    ++waits_;
    hand_over_collected();
  }
  // What others have on their way is theirs to wait for: so all together are over the bound by one piece each, at most.
  start(shared_from_this(), until::handed_over).wait();
}

// Without memory for it, the next who hands over tries again, or who flushes or closes.
void writer_core::start_drain() noexcept {
  try {
    static_cast<void>(start(shared_from_this(), until::handed_over));
  } catch (...) {
    std::lock_guard const held{guard_};
    drain_queued_ = false;
  }
}

std::shared_ptr<writer_core> open_writer(writer_start const& s) {
  if (s.kind == write_kind::append && s.how == durability::atomic)
    throw std::invalid_argument{
        "errand::file_writer::appending(): to append cannot be atomic: only a whole file can be replaced"};
  return std::make_shared<writer_core>(s);
}

void write_behind(writer_core& core, std::string_view piece) { core.write(piece); }
void write_behind(writer_core& core, std::string&& piece) { core.write(std::move(piece)); }
bool try_write_behind(writer_core& core, std::string_view piece) { return core.try_write(piece); }

future<void> flush_writer(std::shared_ptr<writer_core> const& core) { return start(core, writer_core::until::flushed); }

future<void> close_writer(std::shared_ptr<writer_core> const& core) {
  core->forbid_writes();
  return start(core, writer_core::until::closed);
}

void drop_writer(std::shared_ptr<writer_core>&& core) noexcept {
  auto const dropped = std::move(core);
  dropped->forbid_writes();
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

void retry_writer(writer_core& core) { core.retry(); }
std::uint64_t waits_of_writer(writer_core& core) noexcept { return core.waits(); }
void throw_no_file() { throw std::logic_error{"errand::file_writer: there is no file (it was moved away)"}; }

}  // namespace errand::detail
