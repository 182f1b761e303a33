// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/file_core.hpp"

#include "sched/exit.hpp"

#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <climits>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace errand::detail {

// ---- io_parts --------------------------------------------------------------------------------------------------------

void io_parts::add(void const* data, std::size_t size) {
  if (size == 0) return;
  all_.push_back({const_cast<void*>(data), size});  // NOLINT: iovec is for both ways
  left_ += size;
}

void io_parts::pass(std::size_t size) noexcept {
  left_ -= size;
  done_ += size;
  while (size != 0) {
    iovec& now = all_[first_];
    auto const here = std::min(size, now.iov_len);
    now.iov_base = static_cast<std::byte*>(now.iov_base) + here;
    now.iov_len -= here;
    size -= here;
    if (now.iov_len == 0) ++first_;
  }
}

unsigned io_parts::count() const noexcept {
  return static_cast<unsigned>(std::min(all_.size() - first_, std::size_t{IOV_MAX}));
}

void io_parts::show(transfer_piece& piece) const noexcept {
  if (count() == 1) {
    piece.parts = nullptr;
    piece.data = static_cast<std::byte*>(parts()->iov_base);
    piece.size = parts()->iov_len;
  } else {
    piece.parts = parts();
    piece.count = count();
    piece.size = left_;
  }
}

// ---- file_use, request_list ------------------------------------------------------------------------------------------

file_use::file_use(shared_file const& f) : core_{f} { core_->begin_one(); }
file_use::~file_use() {
  if (core_ != nullptr) core_->end_one();
}

void request_list::push(file_request& r) noexcept {
  r.following_ = nullptr;
  r.preceding_ = last_;
  (last_ != nullptr ? last_->following_ : first_) = &r;
  last_ = &r;
}

void request_list::remove(file_request& r) noexcept {
  (r.preceding_ != nullptr ? r.preceding_->following_ : first_) = r.following_;
  (r.following_ != nullptr ? r.following_->preceding_ : last_) = r.preceding_;
}

file_request* request_list::pop() noexcept {
  file_request* const r = first_;
  if (r != nullptr) remove(*r);
  return r;
}

// ---- file_request ----------------------------------------------------------------------------------------------------

file_request::file_request(record& self, file_use use, lane which) noexcept
    : self_{self}, core_{use.core()}, use_{std::move(use)}, lane_{which} {
  fd = core_->fd();
  wake = [](waiter* w) noexcept { static_cast<file_request*>(w)->ask_to_stop(); };
}

void file_request::start(bool kept) noexcept {
  if (kept) {
    drain_at_exit_again();
    begin_kept_outside(self_, *this);
  } else {
    begin_outside(self_, *this);  // a stop that comes from above at once leaves its mark
  }
  file().submit(*this);
}

bool file_request::stop_requested() const noexcept {
  std::lock_guard const held{file().guard_};
  return stop_asked_;
}

void file_request::keep_failure() noexcept {
  try {
    throw;
  } catch (operation_cancelled const&) {
    self_.stopped_ = true;
  } catch (...) {
    self_.error_ = std::current_exception();
  }
}

// The record may be gone with end_outside(); the file is let go of behind it.
void file_request::end() noexcept {
  let_go_of_memory();
  auto const last = std::move(use_);
  end_outside(self_, *this);
}

// By a stopper, once. He refers to the record.
void file_request::ask_to_stop() noexcept {
  if (!file().withdraw(*this)) return;
  self_.stopped_ = true;
  end();
}

// ---- file_core: who uses it, its end ------------------------------------------------------------------------------------

file_core::file_core(named_file name, descriptor file, open_mode how, bool stored, std::source_location from) noexcept
    : name_{std::move(name)}, file_{std::move(file)}, how_{how}, stored_{stored}, from_{from} {
  driver_.core = syncer_.core = this;
  driver_.run = [](file_operation* op) noexcept {
    auto const kept = std::move(static_cast<part*>(op)->keeps);
    kept->drive();
  };
  syncer_.run = [](file_operation* op) noexcept {
    auto const kept = std::move(static_cast<part*>(op)->keeps);
    kept->sync_for_all();
  };
}

// Under guard_.
void file_core::check_open() const {
  if (closed_) throw std::logic_error{"errand::file: used after close()"};
}

void file_core::check_own() const {
  if (inherited()) throw std::logic_error{"errand::file: it was opened by the process that forked this one"};
}

void file_core::forbid() {
  check_own();
  std::lock_guard const held{guard_};
  check_open();
  closed_ = true;
}

void file_core::allow() noexcept {
  std::lock_guard const held{guard_};
  closed_ = false;
}

void file_core::begin_one() {
  check_own();
  std::lock_guard const held{guard_};
  check_open();
  ++under_way_;
}

void file_core::end_one() noexcept {
  is_getting_on();
  io_task* closing = nullptr;
  {
    std::lock_guard const held{guard_};
    if (--under_way_ == 0) closing = std::exchange(closing_, nullptr);
  }
  if (closing != nullptr) closing->hand_over();
}

void file_core::close_by(io_task& closing) noexcept {
  {
    std::lock_guard const held{guard_};
    if (under_way_ != 0) {
      closing_ = &closing;
      return;
    }
  }
  closing.hand_over();
}

// Some file systems tell of a full disk only here. The descriptor is gone in any case.
void file_core::close() {
  if (::close(file_.release()) != 0 && errno != EINTR) name_.fail("close", errno);
}

// ---- file_core: queues ---------------------------------------------------------------------------------------------------

void file_core::submit(file_request& r) noexcept {
  part* starts = nullptr;
  bool stopped_before = false;
  {
    std::lock_guard const held{guard_};
    if (r.stop_asked_) {
      r.place_ = file_request::place::taken;
      stopped_before = true;
    } else if (r.lane_ == file_request::lane::sync) {
      r.place_ = file_request::place::queued;
      syncs_.push(r);
      if (!std::exchange(syncing_, true)) starts = &syncer_;
    } else {
      r.place_ = file_request::place::queued;
      bool const appends = r.lane_ == file_request::lane::append;
      (appends ? appends_ : queue_).push(r);
      if (state_ == driver_state::none) {
        state_ = driver_state::started;
        starts = &driver_;
      } else if (state_ == driver_state::waiting && !(appends && appends_now_)) {
        state_ = driver_state::running;
        woken_by_->wake();
      }
    }
    if (starts != nullptr) starts->keeps = shared_from_this();
  }
  // The request may be gone.
  if (stopped_before) {
    r.self_.stopped_ = true;
    r.end();
  }
  if (starts != nullptr) file_threads::of_process().submit(*starts);
}

bool file_core::withdraw(file_request& r) noexcept {
  std::lock_guard const held{guard_};
  r.stop_asked_ = true;
  if (r.place_ != file_request::place::queued) return false;
  r.place_ = file_request::place::taken;
  switch (r.lane_) {
    case file_request::lane::any_order:
      queue_.remove(r);
      break;
    case file_request::lane::append:
      appends_.remove(r);
      break;
    case file_request::lane::sync:
      syncs_.remove(r);
      break;
  }
  return true;
}

void file_core::sync_for_all() noexcept {
  request_list taken;
  {
    std::lock_guard const held{guard_};
    while (file_request* const r = syncs_.pop()) {
      r->place_ = file_request::place::taken;
      taken.push(*r);
    }
  }
  if (!taken.empty() && sync_error_ == 0 && stored_ && retried([this] { return ::fdatasync(fd()); }) != 0)
    sync_error_ = errno;
  while (file_request* const r = taken.pop()) {
    try {
      if (sync_error_ != 0) name_.fail("sync", sync_error_);
      r->keep_result();
    } catch (...) {
      r->keep_failure();
    }
    r->end();
  }
  {
    std::lock_guard const held{guard_};
    syncing_ = !syncs_.empty();
    if (!syncing_) return;
    syncer_.keeps = shared_from_this();
  }
  file_threads::of_process().submit(syncer_);  // behind what others wait for
}

// ---- file_core::driver -----------------------------------------------------------------------------------------------

// What a driver has while it runs, on one thread.
class file_core::driver {
 public:
  explicit driver(file_core& core) noexcept : core_{core} {}

  // Until nothing is left. True: others come first, and it is to be submitted again.
  bool run() noexcept {
    for (;;) {
      switch (look()) {
        case found::request:
          carry_on(*taken_);
          break;
        case found::append:
          append();
          break;
        case found::wait:
          if (transfer_piece* const ended = by_->wait_or_woken(); ended != nullptr) came_back(*ended);
          break;
        case found::nothing:
          return false;
        case found::others:
          return true;
      }
    }
  }

 private:
  enum class found : std::uint8_t { request, append, wait, nothing, others };
  static constexpr std::size_t most_parts = 64;                    // of several appends together
  static constexpr std::size_t most_bytes = std::size_t{1} << 20;  // likewise
  static constexpr std::size_t small = std::size_t{256} << 10;     // a read that is tried at once
  static constexpr unsigned most_turns = 256;

  [[nodiscard]] unsigned under_way() const noexcept { return by_ != nullptr ? by_->under_way() : 0; }

  // What comes next, and the driver's state for it.
  found look() noexcept {
    if (turns_ >= most_turns) {
      turns_ = 0;
      others_first_ = file_threads::of_process().now().queued != 0;
    }
    bool const room = under_way() != transfer::most_depth;
    bool const takes = room && !others_first_;
    std::lock_guard const held{core_.guard_};
    core_.state_ = driver_state::running;
    if (room && !core_.appends_now_ && (!appending_.empty() || (takes && !core_.appends_.empty()))) {
      if (takes) take_appends();
      core_.appends_now_ = true;
      return found::append;
    }
    if (takes && !core_.queue_.empty()) {
      taken_ = core_.queue_.pop();
      taken_->place_ = file_request::place::taken;
      ++turns_;
      return found::request;
    }
    if (under_way() != 0) {
      if (takes) core_.state_ = driver_state::waiting;
      core_.woken_by_ = by_.get();
      return found::wait;
    }
    if (core_.queue_.empty() && core_.appends_.empty()) {
      core_.state_ = driver_state::none;
      return found::nothing;
    }
    core_.state_ = driver_state::started;
    core_.driver_.keeps = core_.shared_from_this();
    return found::others;
  }

  // ---- reads and writes: each has one piece under way

  void carry_on(file_request& r) noexcept {
    try {
      while (r.next_step()) {
        if (!at_once(r)) return hand_over(r);
        r.take_result(r.result);
      }
      r.keep_result();
    } catch (...) {
      r.keep_failure();
    }
    r.end();
  }

  // A read of what is in the page cache needs no transfer. A ring does the same by itself.
  [[nodiscard]] bool at_once(transfer_piece& piece) noexcept {
    if (piece.way != transfer_piece::direction::read || piece.size > small || !may_try_) return false;
    if (by_ != nullptr && by_->which() == transfer::kind::ring) return false;
    piece.flags = RWF_NOWAIT;
    piece.result = carry_out(piece);
    piece.flags = 0;
    if (piece.result == -EOPNOTSUPP) may_try_ = false;
    return piece.result != -EAGAIN && piece.result != -EOPNOTSUPP;
  }

  void hand_over(transfer_piece& piece) {
    if (by_ == nullptr) by_ = transfer::make(transfer::most_depth);
    by_->submit(piece);
  }

  void came_back(transfer_piece& piece) noexcept {
    if (&piece == &append_) return appended();
    auto& r = static_cast<file_request&>(piece);
    if (takes_result(r, r.result)) return carry_on(r);
    r.end();
  }
  // False: it has failed, and is to end.
  [[nodiscard]] static bool takes_result(file_request& r, std::int64_t result) noexcept {
    try {
      r.take_result(result);
      return true;
    } catch (...) {
      r.keep_failure();
      return false;
    }
  }

  // ---- appends: one piece for several, in the order of their calls

  // Under the core's guard_.
  void take_appends() noexcept {
    while (file_request* const r = core_.appends_.first()) {
      auto const& parts = r->to_append();
      if (!appending_.empty() && (parts_ + parts.count() > most_parts || bytes_ + parts.left() > most_bytes)) return;
      core_.appends_.remove(*r);
      r->place_ = file_request::place::taken;
      appending_.push(*r);
      enter_sums(*r);
      ++turns_;
    }
  }

  void append() noexcept {
    end_whole_appends();
    if (appending_.empty()) return append_may_come();
    append_.fd = core_.fd();
    append_.way = transfer_piece::direction::write;
    // A device has no end, and may refuse the flag; a file that is opened to append needs none.
    append_.flags = core_.stored_ && core_.how_ != open_mode::append ? RWF_APPEND : 0;
    file_request const& first = *appending_.first();
    if (parts_ <= most_parts) {
      unsigned count = 0;
      for (file_request const* r = &first; r != nullptr; r = request_list::behind(*r)) {
        auto const& parts = r->to_append();
        std::copy_n(parts.parts(), parts.count(), all_parts_.begin() + count);
        count += parts.count();
      }
      append_.parts = all_parts_.data();
      append_.count = count;
    } else {
      first.to_append().show(append_);  // it has more than would fit
    }
    try {
      return hand_over(append_);
    } catch (...) {
      appending_.first()->keep_failure();  // the others are tried again
    }
    leave_appends().end();
    append_may_come();
  }

  void appended() noexcept {
    auto left = append_.result;
    do {
      file_request& r = *appending_.first();
      auto const of_this = std::min(left, static_cast<std::int64_t>(r.to_append().left()));
      leave_sums(r);
      bool const well = takes_result(r, of_this);
      enter_sums(r);
      if (!well) {
        leave_appends().end();
        break;
      }
      left -= of_this;
      end_whole_appends();
    } while (left > 0);
    append_may_come();
  }

  void end_whole_appends() noexcept {
    while (!appending_.empty() && appending_.first()->to_append().left() == 0) {
      file_request& r = leave_appends();
      r.keep_result();
      r.end();
    }
  }
  file_request& leave_appends() noexcept {
    file_request& r = *appending_.pop();
    leave_sums(r);
    return r;
  }
  void enter_sums(file_request const& r) noexcept {
    parts_ += r.to_append().count();
    bytes_ += r.to_append().left();
  }
  void leave_sums(file_request const& r) noexcept {
    parts_ -= r.to_append().count();
    bytes_ -= r.to_append().left();
  }
  void append_may_come() noexcept {
    std::lock_guard const held{core_.guard_};
    core_.appends_now_ = false;
  }

  file_core& core_;
  file_request* taken_ = nullptr;
  unsigned turns_ = 0;         // requests taken since others were looked for
  bool others_first_ = false;  // no more are taken
  bool may_try_ = true;        // the file system knows RWF_NOWAIT

  request_list appending_;  // taken, in their order
  std::size_t parts_ = 0;   // of them
  std::size_t bytes_ = 0;   // likewise
  std::array<iovec, most_parts> all_parts_;
  transfer_piece append_;
  std::unique_ptr<transfer> by_;  // goes first
};

void file_core::drive() noexcept {
  if (driver{*this}.run()) file_threads::of_process().submit(driver_);
}

}  // namespace errand::detail
