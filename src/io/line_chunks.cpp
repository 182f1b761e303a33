// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/line_chunks.hpp"

#include "io/frame_record.hpp"
#include "sched/threads.hpp"
#include "sched/wait.hpp"
#include "task/thread_state.hpp"

#include <errand/detail/future.hpp>
#include <errand/detail/split.hpp>

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

namespace errand::detail {

namespace {

// After so many chunks in a row a reader lets other operations have its thread.
constexpr int chunks_in_a_row = 8;

struct file_call : file_operation {
  explicit file_call(std::source_location from) noexcept : ended{from} {}
  frame_record ended;
  void (*work)(void*) noexcept = nullptr;
  void* context = nullptr;
};

}  // namespace

void on_file_thread(void (*work)(void* context) noexcept, void* context, std::source_location from) {
  file_call call{from};
  call.work = work;
  call.context = context;
  call.run = [](file_operation* op) noexcept {
    auto& self = static_cast<file_call&>(*op);
    self.work(self.context);
    complete(self.ended);  // the frame may be gone
  };
  auto& threads = file_threads::of_process();
  threads.submit(call);
  if (wait_unless_stopped(call.ended)) return;
  if (!threads.cancel(call)) wait_to_the_end(call.ended);
  throw operation_cancelled{};
}

void grown_memory::grow_to(std::size_t size) {
  void* const grown = std::realloc(data_.get(), size);
  if (grown == nullptr) throw std::bad_alloc{};
  static_cast<void>(data_.release());
  data_.reset(static_cast<char*>(grown));
  size_ = size;
}

// ---- for whoever uses it -----------------------------------------------------------------------------------------------

struct line_chunks::chunk_waiter : frame_record {
  using frame_record::frame_record;
  chunk_waiter* next = nullptr;
};

line_chunks::line_chunks(std::filesystem::path path, std::source_location from)
    : name_{"errand", std::move(path)}, from_{from}, born_in_{process_generation} {
  run = [](file_operation* self) noexcept { static_cast<line_chunks*>(self)->read_ahead(); };
}

line_chunks::~line_chunks() {
  chunk_waiter w{from_};
  bool waits = false;
  {
    std::lock_guard const held{guard_};
    closing_ = true;
    if (reading_ && !thread_.joinable()) {
      closer_ = &w;
      waits = true;
    }
  }
  if (thread_.joinable()) {
    ring();
    thread_.join();
  } else if (waits && !file_threads::of_process().cancel(*this)) {
    wait_to_the_end(w);
  }
  stream_.reset();  // waits for what it has under way
  if (bell_ >= 0) ::close(bell_);
  if (fd_ >= 0) ::close(fd_);
}

bool line_chunks::inherited() const noexcept { return born_in_ != process_generation; }

void line_chunks::abandon() noexcept {
  if (bell_ >= 0) ::close(bell_);
  if (fd_ >= 0) ::close(fd_);
}

void line_chunks::open() {
  if (fd_ >= 0) return;
  struct stat status {};
  if (::stat(name_.at().c_str(), &status) != 0) name_.fail("open", errno);
  if (S_ISDIR(status.st_mode)) name_.fail("read lines of", EISDIR);
  bool const may_keep_waiting = S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode);
  int const bell = may_keep_waiting ? ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
  if (may_keep_waiting && bell < 0) name_.fail("open", errno);
  char const* const at = name_.at().c_str();
  int fd;
  do {
    // A pipe that nobody writes to yet would keep open() waiting. Not so with O_NONBLOCK, and its first read is not made
    // before poll() has said that a writer was there.
    fd = ::open(at, O_RDONLY | O_CLOEXEC | O_NOCTTY | (may_keep_waiting ? O_NONBLOCK : 0));
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    int const error = errno;
    if (bell >= 0) ::close(bell);
    name_.fail("open", error);
  }
  if (S_ISREG(status.st_mode) && ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
    size_ = static_cast<std::uint64_t>(status.st_size);
  struct statfs system {};
  bool const in_memory = ::fstatfs(fd, &system) == 0 && (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
  no_wait_ = in_memory ? 0 : RWF_NOWAIT;
  bell_ = bell;
  may_keep_waiting_ = may_keep_waiting;
  fd_ = fd;
}

void line_chunks::expect(std::uint64_t offset, std::uint64_t limit) noexcept {
  std::lock_guard const held{guard_};
  reading_ = true;
  offset_ = offset;
  drop_first_line_ = offset != 0;
  if (limit != 0) limit_ = limit;
}

bool line_chunks::next(line_chunk& c) {
  if (inherited())
    throw std::logic_error{"errand: in the child of a fork, lines of " + name_.at() +
                           " are asked for, which the parent process is reading"};
  if (auto* const self = cancellable_task(); self != nullptr) throw_if_stopped(*self);
  bool const was_grown = c.grown.data() != nullptr;
  c = {};
  for (bool given_back = false;; given_back = true) {
    chunk_waiter w{from_};
    bool taken = false;
    bool start_reader = false;
    bool start_its_thread = false;
    bool there_is_room = false;
    {
      std::lock_guard const held{guard_};
      if (was_grown && !given_back) --grown_out_;
      if (ready_count_ != 0) {
        c = std::move(ready_[ready_first_]);
        ready_first_ = (ready_first_ + 1) % depth;
        --ready_count_;
        taken = true;
      } else if (ended_) {
        if (auto const error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
        return false;
      } else {
        start_its_thread = std::exchange(wants_thread_, false);
        if (start_its_thread)
          reading_ = true;
        else
          w.next = std::exchange(waiters_, &w);
      }
      // Not for each chunk: the reader begins again when half of its room is free.
      if (!ended_ && !far_enough() && ready_count_ <= depth / 2) {
        start_reader = !std::exchange(reading_, true);
        there_is_room = std::exchange(waits_for_room_, false);
      }
    }
    if (start_reader) start();
    if (there_is_room) ring();
    if (taken) return true;
    if (start_its_thread) {
      start_thread_of_its_own();
      continue;
    }
    wait_for(w);
  }
}

void line_chunks::start_thread_of_its_own() {
  try {
    thread_ = start_thread("errand/lines", [this] { read_as_thread(); });
  } catch (...) {
    chunk_waiter* to_wake;
    {
      std::lock_guard const held{guard_};
      reading_ = false;
      ended_ = true;
      to_wake = std::exchange(waiters_, nullptr);
    }
    wake(to_wake);
    throw;
  }
}

void line_chunks::wait_for(chunk_waiter& w) {
  if (wait_unless_stopped(w)) return;
  bool taken_back = false;
  {
    std::lock_guard const held{guard_};
    for (chunk_waiter** link = &waiters_; *link != nullptr; link = &(*link)->next)
      if (*link == &w) {
        *link = w.next;
        taken_back = true;
        break;
      }
  }
  if (!taken_back) {
    wait_to_the_end(w);  // it is being woken for a chunk that is left to others
    chunk_waiter* other;
    {
      std::lock_guard const held{guard_};
      other = take_waiters(ended_);
    }
    wake(other);
  }
  throw operation_cancelled{};
}

line_chunks::chunk_waiter* line_chunks::take_waiters(bool all) noexcept {
  if (all || waiters_ == nullptr) return std::exchange(waiters_, nullptr);
  chunk_waiter* const one = waiters_;
  waiters_ = std::exchange(one->next, nullptr);
  return one;
}

void line_chunks::wake(chunk_waiter* list) noexcept {
  while (list != nullptr) {
    chunk_waiter* const next = list->next;  // before its frame may go
    complete(*list);
    list = next;
  }
}

void line_chunks::ring() noexcept {
  std::uint64_t const one = 1;
  while (::write(bell_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void line_chunks::clear_bell() noexcept {
  std::uint64_t rings;
  while (::read(bell_, &rings, sizeof rings) < 0 && errno == EINTR) {
  }
}

// ---- the reader --------------------------------------------------------------------------------------------------------

void line_chunks::read_ahead() noexcept {
  for (int in_a_row = 0;; ++in_a_row) {
    {
      std::unique_lock held{guard_};
      if (closing_ || ended_ || far_enough()) {
        reading_ = false;
        chunk_waiter* const closer = std::exchange(closer_, nullptr);
        held.unlock();  // from here on it may be gone
        return wake(closer);
      }
    }
    if (in_a_row == chunks_in_a_row) return file_threads::of_process().submit(*this);
    if (fd_ < 0) {
      std::exception_ptr error;
      try {
        open();
      } catch (...) {
        error = std::current_exception();
      }
      if (error) {
        publish(nullptr, true, std::move(error));
        continue;
      }
    }
    if (may_keep_waiting_) return hand_over_to_thread();
    read_and_publish();
  }
}

// Who waits starts it, because that may throw; else who comes next.
void line_chunks::hand_over_to_thread() noexcept {
  chunk_waiter* to_wake;
  chunk_waiter* closer;
  {
    std::lock_guard const held{guard_};
    reading_ = false;
    wants_thread_ = true;
    to_wake = take_waiters(false);
    closer = std::exchange(closer_, nullptr);
  }
  wake(to_wake);
  wake(closer);
}

void line_chunks::read_as_thread() noexcept {
  for (;;) {
    bool wait_for_room;
    {
      std::lock_guard const held{guard_};
      if (closing_ || ended_) return;
      wait_for_room = waits_for_room_ = far_enough();
    }
    if (!wait_for_room) {
      read_and_publish();
      continue;
    }
    pollfd bell{bell_, POLLIN, 0};
    ::poll(&bell, 1, -1);
    clear_bell();
  }
}

void line_chunks::read_and_publish() noexcept {
  line_chunk c;
  std::exception_ptr error;
  auto what = got::end;
  try {
    what = size_ != 0 ? read_stored(c) : read_what_comes(c);
  } catch (...) {
    error = std::current_exception();
    filled_ = whole_;  // the lines before it
    if (whole_ != 0) give_out(c, whole_);
  }
  if (what == got::told_to_end) return;
  publish(c.begin != c.end ? &c : nullptr, what == got::end, std::move(error));
}

void line_chunks::publish(line_chunk* c, bool last, std::exception_ptr error) noexcept {
  chunk_waiter* to_wake;
  {
    std::lock_guard const held{guard_};
    if (c != nullptr) {
      if (c->grown.data() != nullptr) ++grown_out_;
      ready_[(ready_first_ + ready_count_++) % depth] = std::move(*c);
    }
    ended_ = last;
    error_ = std::move(error);
    to_wake = take_waiters(last);
  }
  wake(to_wake);
}

char* line_chunks::room() const noexcept {
  return grown_.data() != nullptr ? grown_.data() : reinterpret_cast<char*>(buffer_.get());
}
std::size_t line_chunks::room_size() const noexcept {
  return grown_.data() != nullptr ? grown_.size() : buffer_ ? io_buffer_size : 0;
}

// The bytes come in buffers. What the one before has left of a line is put in front of them.
line_chunks::got line_chunks::read_stored(line_chunk& c) {
  if (!stream_) stream_.emplace(fd_, stream_reader::settings{.offset = offset_, .end = limit_});
  for (;;) {
    auto const bytes = stream_->next();
    if (stream_->error() != 0) name_.fail("read lines of", stream_->error());
    if (bytes.empty()) {
      if (!drop_first_line_) give_out_line(c);
      return got::end;
    }
    char const* first = reinterpret_cast<char const*>(bytes.data());
    char const* const last = first + bytes.size();
    if (drop_first_line_) {
      first = after_first_newline(first, last);
      if (first == nullptr) continue;
      drop_first_line_ = false;
    }
    char const* const after = after_last_newline(first, last);
    if (after == nullptr) {
      if (is_told_to_end()) return got::told_to_end;
      add_to_line({first, last});
      continue;
    }
    if (grown_.data() != nullptr) {
      add_to_line({first, after});
      give_out_line(c);
      begin_line({after, last});
      return got::lines;
    }
    c.buffer = stream_->take_buffer();
    c.end = after;
    auto const place = stream_reader::front + static_cast<std::size_t>(first - reinterpret_cast<char const*>(bytes.data()));
    c.begin = std::copy_backward(line_.begin(), line_.end(), reinterpret_cast<char*>(c.buffer.get()) + place);
    begin_line({after, last});
    return got::lines;
  }
}

void line_chunks::begin_line(std::string_view rest) {
  line_.clear();
  add_to_line(rest);
}

void line_chunks::add_to_line(std::string_view bytes) {
  if (grown_.data() == nullptr && line_.size() + bytes.size() <= stream_reader::front) {
    line_.append(bytes);
    return;
  }
  if (grown_.data() == nullptr) {
    grown_.grow_to(2 * io_buffer_size);
    filled_ = line_.copy(grown_.data(), line_.size());
    line_.clear();
  }
  if (grown_.size() - filled_ < bytes.size()) grown_.grow_to(2 * grown_.size());
  std::memcpy(grown_.data() + filled_, bytes.data(), bytes.size());
  filled_ += bytes.size();
}

void line_chunks::give_out_line(line_chunk& c) {
  if (grown_.data() == nullptr) {
    if (line_.empty()) return;
    grown_.grow_to(line_.size());
    filled_ = line_.copy(grown_.data(), line_.size());
  }
  c.grown = std::exchange(grown_, {});
  c.begin = c.grown.data();
  c.end = c.begin + std::exchange(filled_, 0);
}

line_chunks::got line_chunks::read_what_comes(line_chunk& c) {
  for (;;) {
    if (filled_ == room_size()) {
      if (whole_ != 0) return give_out(c, whole_), got::lines;
      if (is_told_to_end()) return got::told_to_end;  // of a line without end
      make_room();
    }
    char* const to = room() + filled_;
    auto const n = read_some(to, std::min(room_size() - filled_, io_buffer_size));
    if (n == nothing_yet) {
      if (whole_ != 0) return give_out(c, whole_), got::lines;
      if (!wait_for_more()) return got::told_to_end;
      continue;
    }
    if (n == 0) return give_out(c, filled_), got::end;
    filled_ += static_cast<std::size_t>(n);
    if (auto const* const after = after_last_newline(to, to + n); after != nullptr)
      whole_ = static_cast<std::size_t>(after - room());
    // A line longer than a buffer is given out as soon as it is there.
    if (grown_.data() != nullptr && whole_ != 0) return give_out(c, whole_), got::lines;
  }
}

void line_chunks::make_room() {
  if (room_size() == 0) {
    buffer_ = take_io_buffer();
  } else if (grown_.data() == nullptr) {
    grown_memory larger;
    larger.grow_to(2 * io_buffer_size);
    std::memcpy(larger.data(), room(), filled_);
    grown_ = std::move(larger);
    buffer_.reset();
  } else {
    grown_.grow_to(2 * grown_.size());
  }
}

void line_chunks::give_out(line_chunk& c, std::size_t size) {
  auto const rest = filled_ - size;  // less than a buffer
  io_buffer next;
  if (rest != 0) {
    next = take_io_buffer();
    std::memcpy(next.get(), room() + size, rest);
  }
  c.begin = room();
  c.end = room() + size;
  c.buffer = std::exchange(buffer_, std::move(next));
  c.grown = std::exchange(grown_, {});
  filled_ = rest;
  whole_ = 0;
}

std::ptrdiff_t line_chunks::read_some(char* to, std::size_t size) {
  // Of a pipe that nobody has written to yet the first read would say that it has ended.
  if (may_keep_waiting_ && !std::exchange(was_waited_for_, true)) return nothing_yet;
  for (;;) {
    auto const n = ::read(fd_, to, size);
    if (n >= 0) return n;
    if (errno == EAGAIN && may_keep_waiting_) return nothing_yet;
    if (errno != EINTR) name_.fail("read lines of", errno);
  }
}

bool line_chunks::is_told_to_end() noexcept {
  std::lock_guard const held{guard_};
  return closing_;
}

// False if it is told to end.
bool line_chunks::wait_for_more() {
  for (;;) {
    if (is_told_to_end()) return false;
    pollfd either[2] = {{fd_, POLLIN, 0}, {bell_, POLLIN, 0}};
    if (::poll(either, 2, -1) < 0 && errno != EINTR) name_.fail("read lines of", errno);
    if (either[1].revents != 0) clear_bell();
    if (either[0].revents != 0) return true;
  }
}

}  // namespace errand::detail
