// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One open file, and the operations that are under way on it: three queues, and the driver that has up to 64 of them carried
// out at a time. Protocol and states are in README.md, "A file that is open". What the single operations are is in file.cpp.
#pragma once

#include "base/check.hpp"
#include "base/descriptor.hpp"
#include "base/lock.hpp"
#include "io/file_threads.hpp"
#include "io/io_task.hpp"
#include "io/named_file.hpp"
#include "io/transfer.hpp"

#include <errand/detail/file.hpp>

#include <sys/uio.h>
#include <array>

namespace errand::detail {

/// That an operation is under way on a file: keeps it open, and is counted.
class file_use {
 public:
  /// Throws std::logic_error if it was closed, or belongs to the process that forked this one.
  explicit file_use(shared_file const& f);
  file_use(file_use&&) noexcept = default;
  ~file_use();
  [[nodiscard]] file_core& operator*() const noexcept { return *core_; }
  [[nodiscard]] file_core* operator->() const noexcept { return core_.get(); }
  [[nodiscard]] shared_file const& core() const noexcept { return core_; }

 private:
  shared_file core_;
};

/// Memory in parts, the first of which may be done already.
class io_parts {
 public:
  void reserve(std::size_t count) { all_.reserve(count); }
  void add(void const* data, std::size_t size);
  /// So many bytes more are done.
  void pass(std::size_t size) noexcept;
  [[nodiscard]] std::size_t left() const noexcept { return left_; }
  [[nodiscard]] std::size_t done() const noexcept { return done_; }
  /// What is left, or the first 1024 parts of it.
  [[nodiscard]] iovec const* parts() const noexcept { return all_.data() + first_; }
  [[nodiscard]] unsigned count() const noexcept;
  /// Lets the piece begin with it.
  void show(transfer_piece& piece) const noexcept;

 private:
  std::vector<iovec> all_;  // none is empty; the first that is not done begins with what is left of it
  std::size_t first_ = 0;
  std::size_t left_ = 0;
  std::size_t done_ = 0;
};

/// One operation, the untyped half: its memory is its record's, and its piece is what goes to the transfer.
class file_request : public transfer_piece, private waiter {
 public:
  enum class lane : std::uint8_t { any_order, append, sync };

  file_request(file_request const&) = delete;
  file_request& operator=(file_request const&) = delete;

  // ---- by whoever has taken it -------------------------------------------------------------------------------------------

  /// The next step, into the piece; false: all is done. Throws, and then it is to end so.
  virtual bool next_step() = 0;
  /// What the step has come to, as transfer_piece::result says. Throws likewise.
  virtual void take_result(std::int64_t result) = 0;
  /// What is left to be written, of a request that appends.
  [[nodiscard]] virtual io_parts const& to_append() const noexcept { fatal("this request does not append"); }
  /// Its result, when all is done.
  virtual void keep_result() noexcept = 0;
  /// Or the exception that is being handled.
  void keep_failure() noexcept;
  /// The last step, with either of them kept, and behind the handler: the exception is somebody else's from now on.
  void end() noexcept;

 protected:
  file_request(record& self, file_use use, lane which) noexcept;
  ~file_request() = default;
  /// Begins it and hands it over; it may be done afterwards.
  void start(bool kept) noexcept;
  [[nodiscard]] file_core& file() const noexcept { return *core_; }
  [[nodiscard]] bool stop_requested() const noexcept;

 private:
  friend class file_core;
  friend class request_list;
  enum class place : std::uint8_t { made, queued, taken };

  virtual void let_go_of_memory() noexcept = 0;
  void ask_to_stop() noexcept;

  record& self_;
  shared_file const core_;  // kept as long as the record: a stopper that has come too late refers to that, and looks here
  std::optional<file_use> use_;
  lane const lane_;
  // Under the core's guard_.
  place place_ = place::made;
  bool stop_asked_ = false;
  file_request* following_ = nullptr;
  file_request* preceding_ = nullptr;
};

/// First come, first served; any may leave.
class request_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] file_request* first() const noexcept { return first_; }
  void push(file_request& r) noexcept;
  void remove(file_request& r) noexcept;
  file_request* pop() noexcept;  // null if there is none
  [[nodiscard]] static file_request const* behind(file_request const& r) noexcept { return r.following_; }

 private:
  file_request* first_ = nullptr;
  file_request* last_ = nullptr;
};

class file_core : public std::enable_shared_from_this<file_core> {
 public:
  file_core(named_file name, descriptor file, open_mode how, bool stored, std::source_location from) noexcept;
  file_core(file_core const&) = delete;
  file_core& operator=(file_core const&) = delete;
  ~file_core() = default;

  [[nodiscard]] named_file const& name() const noexcept { return name_; }
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  [[nodiscard]] open_mode how() const noexcept { return how_; }
  [[nodiscard]] std::source_location from() const noexcept { return from_; }
  [[nodiscard]] bool inherited() const noexcept { return generation_ != process_generation; }

  /// From now on nothing may be asked of it. Throws std::logic_error if that is so already, or if it is inherited.
  void forbid();
  /// That again, if there is no memory for what was to follow.
  void allow() noexcept;
  /// After forbid(): `closing`, which has begun, is handed over when nothing is under way.
  void close_by(io_task& closing) noexcept;
  /// By that operation.
  void close();
  /// The same, if it is not to be carried out: whatever becomes of it.
  void close_unheard() noexcept { file_.reset(); }

 private:
  friend class file_use;
  friend class file_request;

  // An operation of the file threads that is a part of the core, and keeps it from when it is submitted.
  struct part : file_operation {
    file_core* core = nullptr;
    shared_file keeps;
  };
  enum class driver_state : std::uint8_t { none, started, running, waiting };
  class driver;

  void check_own() const;
  void check_open() const;
  void begin_one();
  void end_one() noexcept;

  void submit(file_request& r) noexcept;
  // Takes it off its queue. False: it is not there; it is marked.
  [[nodiscard]] bool withdraw(file_request& r) noexcept;
  void drive() noexcept;
  void sync_for_all() noexcept;

  named_file const name_;
  descriptor file_;  // closed by close(), when nothing is under way
  open_mode const how_;
  bool const stored_;
  std::source_location const from_;
  std::uint32_t const generation_ = process_generation;
  int sync_error_ = 0;  // the first; by who syncs, of whom there is one

  part driver_;
  part syncer_;

  small_lock guard_;  // all below, and `keeps` of the parts until they run
  std::size_t under_way_ = 0;
  bool closed_ = false;
  io_task* closing_ = nullptr;
  request_list queue_;
  request_list appends_;
  request_list syncs_;
  driver_state state_ = driver_state::none;
  bool appends_now_ = false;    // the driver's: one append at a time
  transfer* woken_by_ = nullptr;  // of the driver, while it is waiting
  bool syncing_ = false;
};

}  // namespace errand::detail
