// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/stream.hpp"

#include "sched/exit.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace errand::detail {

namespace {

constexpr std::uint64_t allocation_step = std::uint64_t{64} << 20;
// How far ahead the system is asked to read what it shall have in its cache, and by what pieces: it does no more at a time than
// the device's largest request.
constexpr std::uint64_t ahead_depth = std::uint64_t{4} << 20;
constexpr std::uint64_t ahead_piece = std::uint64_t{128} << 10;
constexpr std::uint64_t window = std::uint64_t{32} << 20;  // of a file to read, for which one choice holds
constexpr std::size_t worth_a_call = std::size_t{256} << 10;  // smaller writes are gathered
constexpr int dont_cache = 0x80;  // RWF_DONTCACHE of Linux 6.14

constexpr std::uint64_t down_to(std::uint64_t n, std::uint64_t alignment) { return n - n % alignment; }
constexpr std::uint64_t up_to(std::uint64_t n, std::uint64_t alignment) { return down_to(n + alignment - 1, alignment); }

std::unique_ptr<transfer> make_transfer(unsigned depth, std::optional<transfer::kind> kind) {
  return kind ? transfer::make(depth, *kind) : transfer::make(depth);
}

}  // namespace

direct_descriptor::~direct_descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

bool direct_descriptor::open(int fd, int access) noexcept {
#ifdef STATX_DIOALIGN
  struct statx about {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about) == 0 && (about.stx_mask & STATX_DIOALIGN) != 0) {
    if (about.stx_dio_offset_align == 0 || about.stx_dio_mem_align > io_alignment) return false;
    if (io_buffer_size % about.stx_dio_offset_align != 0) return false;
    alignment_ = std::max<std::size_t>(io_alignment, about.stx_dio_offset_align);
  }
#endif
  char path[40];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  do fd_ = ::open(path, access | O_DIRECT | O_CLOEXEC);
  while (fd_ < 0 && errno == EINTR);
  return fd_ >= 0;
}

// Writing.

stream_writer::stream_writer(int fd, settings const& s) noexcept : fd_{fd}, settings_{s}, flushed_to_{s.offset}, fill_begin_{s.offset} {
  struct stat about {};
  regular_ = ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  if (!regular_) return;
  old_size_ = static_cast<std::uint64_t>(about.st_size);
  allocated_ = std::max(old_size_, s.offset);
  int const flags = ::fcntl(fd, F_GETFL);
  // Pieces that are appended would stand as they came; and others may append meanwhile.
  may_be_direct_ = flags >= 0 && (flags & O_APPEND) == 0;
}

stream_writer::~stream_writer() {
  if (transfer_ != nullptr)
    while (transfer_->under_way() != 0) reap();
  cut();
}

std::size_t stream_writer::room() const noexcept {
  // So that the next buffer begins at an aligned place.
  return io_buffer_size - static_cast<std::size_t>(fill_begin_ % direct_file_.alignment());
}

void stream_writer::consider_direct() {
  if (direct_ || !may_be_direct_ || std::max(settings_.expected, taken()) < settings_.direct_from) return;
  if (fill_ != 0 || fill_begin_ % io_alignment != 0) return;  // soon
  if (!direct_file_.open(fd_, O_WRONLY)) {
    may_be_direct_ = false;
    plain_flags_ = dont_cache;  // the next best
    return;
  }
  if (fill_begin_ % direct_file_.alignment() != 0) may_be_direct_ = false;  // a file system of unusual alignment
  if (!may_be_direct_) return;
  transfer_ = make_transfer(stream_depth, settings_.kind);
  direct_ = true;
}

void stream_writer::prepare_buffer() {
  if (filling_ == nullptr) filling_ = take_io_buffer();
}

std::size_t stream_writer::write(std::byte const* data, std::size_t size) {
  std::size_t accepted = 0;
  while (accepted != size && error_ == 0) {
    consider_direct();
    auto const n = std::min(size - accepted, room() - fill_);
    if (!direct_ && fill_ == 0 && n >= worth_a_call) {
      auto const written = plain_write(data + accepted, n, fill_begin_);
      fill_begin_ += written;
      accepted += written;
      continue;
    }
    prepare_buffer();
    std::memcpy(filling_.get() + fill_, data + accepted, n);
    fill_ += n;
    accepted += n;
    if (fill_ == room()) send();
  }
  return accepted;
}

std::size_t stream_writer::write(io_buffer& buffer, std::size_t size) {
  if (error_ != 0) return 0;
  consider_direct();
  // What is small, and ends where this buffer may begin, goes first, by itself: else each would be copied from here on.
  if (direct_ && fill_ != 0 && fill_begin_ % direct_file_.alignment() == 0 && fill_ % direct_file_.alignment() == 0) send_direct();
  if (error_ != 0) return 0;
  if (!direct_ || fill_ != 0 || room() != io_buffer_size || size > io_buffer_size) return write(buffer.get(), size);
  filling_.swap(buffer);
  fill_ = size;
  if (fill_ == room()) send();
  return size;
}

void stream_writer::send() {
  if (direct_ && fill_begin_ % direct_file_.alignment() == 0) return send_direct();
  fill_down_ += plain_write(filling_.get() + fill_down_, fill_ - fill_down_, fill_begin_ + fill_down_);
  if (fill_down_ != fill_) return;
  fill_begin_ += fill_;
  fill_ = fill_down_ = 0;
}

void stream_writer::send_direct() {
  // Tempting: to look at what has ended each time. But reaping what must be waited for is enough to keep four under way.
  while (error_ == 0 && (transfer_->under_way() == stream_depth || used_ == slots_.size())) {
    reap();
    if (unfinished_) drain();
  }
  if (error_ != 0) return;  // the buffer is kept as it is, full
  if (!direct_) return send();
  allocate_to(fill_begin_ + fill_);
  slot& s = slots_[(first_ + used_++) % slots_.size()];
  s.fd = direct_file_.fd();
  s.way = transfer_piece::direction::write;
  s.begin = fill_begin_;
  s.length = fill_;
  s.done = 0;
  s.buffer = std::move(filling_);
  s.data = s.buffer.get();
  s.size = s.length;
  s.offset = s.begin;
  fill_begin_ += fill_;
  fill_ = fill_down_ = 0;
  transfer_->submit(s);
}

void stream_writer::reap() noexcept {
  auto& s = static_cast<slot&>(transfer_->wait());
  is_getting_on();
  if (s.result == -EINVAL) {  // asked in vain: the file system has said yes to the descriptor
    may_be_direct_ = direct_ = false;
    plain_flags_ = dont_cache;
  } else if (s.result < 0) {
    if (error_ == 0) error_ = static_cast<int>(-s.result);
  } else if (s.result > 0) {
    s.done += static_cast<std::size_t>(s.result);
    if (s.done == s.length) {
      io_buffer spare = std::move(s.buffer);
      if (filling_ == nullptr) filling_ = std::move(spare);
      return forget_what_is_down();
    }
    if (s.done % direct_file_.alignment() == 0 && direct_ && error_ == 0) {
      s.data = s.buffer.get() + s.done;
      s.size = s.length - s.done;
      s.offset = s.begin + s.done;
      return transfer_->submit(s);
    }
  }
  unfinished_ = true;
}

void stream_writer::forget_what_is_down() noexcept {
  for (; used_ != 0 && slots_[first_].done == slots_[first_].length; --used_) first_ = (first_ + 1) % slots_.size();
}

bool stream_writer::await_one() noexcept {
  if (transfer_ == nullptr || transfer_->under_way() == 0) return false;
  reap();
  if (unfinished_) drain();
  return true;
}

void stream_writer::drain() noexcept {
  while (transfer_ != nullptr && transfer_->under_way() != 0) reap();
  if (unfinished_ && error_ == 0) mend();
}

void stream_writer::mend() noexcept {
  for (std::size_t i = 0; i != used_; ++i) {
    slot& s = slots_[(first_ + i) % slots_.size()];
    if (s.done == s.length) continue;
    s.done += plain_write(s.buffer.get() + s.done, s.length - s.done, s.begin + s.done);
    if (s.done != s.length) break;
    s.buffer = nullptr;
  }
  forget_what_is_down();
  unfinished_ = used_ != 0;
}

std::size_t stream_writer::plain_write(std::byte const* data, std::size_t size, std::uint64_t offset) noexcept {
  std::size_t done = 0;
  while (done != size) {
    transfer_piece piece{.fd = fd_, .way = transfer_piece::direction::write, .flags = plain_flags_};
    piece.data = const_cast<std::byte*>(data) + done;
    piece.size = size - done;
    piece.offset = regular_ ? offset + done : UINT64_MAX;
    auto const n = carry_out(piece);
    if (n == -EOPNOTSUPP && plain_flags_ != 0) {
      plain_flags_ = 0;
      continue;
    }
    if (n <= 0) {
      error_ = n == 0 ? EIO : static_cast<int>(-n);
      break;
    }
    done += static_cast<std::size_t>(n);
    is_getting_on();
  }
  return done;
}

// Blocks in few and large pieces, and writes that do not make the file longer: those the file system takes side by side.
void stream_writer::allocate_to(std::uint64_t end) noexcept {
  while (allocates_ && allocated_ < end) {
    std::uint64_t length = allocation_step;
    if (std::uint64_t const last = up_to(settings_.offset + settings_.expected, io_alignment); last >= end)
      length = std::min(length, last - allocated_);
    // Beyond this limit the kernel would send a signal for bytes that perhaps never come.
    rlimit most{};
    if (::getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY) {
      if (most.rlim_cur <= allocated_) break;
      length = std::min<std::uint64_t>(length, most.rlim_cur - allocated_);
    }
    to_be_cut_ = true;  // also if it fails halfway
    int result;
    do result = ::fallocate(fd_, settings_.size_ahead ? 0 : FALLOC_FL_KEEP_SIZE, static_cast<off_t>(allocated_),
                            static_cast<off_t>(length));
    while (result != 0 && errno == EINTR);
    if (result == 0) allocated_ += length;
    else allocates_ = false;  // EOPNOTSUPP; or ENOSPC, and what comes may still find room: the writes will say
  }
}

void stream_writer::cut() noexcept {
  if (!std::exchange(to_be_cut_, false)) return;
  auto const size = std::max(old_size_, settings_.offset + down());
  int result;
  do result = ::ftruncate(fd_, static_cast<off_t>(size));
  while (result != 0 && errno == EINTR);
  if (result != 0 && error_ == 0) error_ = errno;
  allocated_ = size;
}

bool stream_writer::flush() {
  if (error_ == 0 && direct_ && fill_begin_ % direct_file_.alignment() == 0 && fill_ - fill_down_ >= worth_a_call) {
    // The aligned part directly; the rest moves to a buffer of its own.
    auto const tail = fill_ % direct_file_.alignment();
    auto const body = fill_ - tail;
    io_buffer rest = take_io_buffer();
    std::memcpy(rest.get(), filling_.get() + body, tail);
    fill_ = body;
    send_direct();
    if (error_ != 0 && fill_ != 0) {
      fill_ += tail;  // it was not taken: all stays together
    } else {
      drain();
      filling_ = std::move(rest);
      fill_ = tail;
    }
  }
  drain();
  if (error_ != 0) return false;
  // Plainly, and kept if more may follow directly from an aligned place.
  fill_down_ += plain_write(filling_.get() + fill_down_, fill_ - fill_down_, fill_begin_ + fill_down_);
  if (error_ != 0) return false;
  flushed_to_ = fill_begin_ + fill_;
  if (!direct_) {
    fill_begin_ += fill_;
    fill_ = fill_down_ = 0;
  }
  cut();  // not after an error: beyond a gap there may be bytes that retry() need not write again
  return error_ == 0;
}

std::uint64_t stream_writer::down() const noexcept {
  auto const to = used_ == 0 ? fill_begin_ + fill_down_ : slots_[first_].begin + slots_[first_].done;
  return std::max(to, flushed_to_) - settings_.offset;
}

std::uint64_t stream_writer::under_way() const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i != used_; ++i) {
    slot const& s = slots_[(first_ + i) % slots_.size()];
    sum += s.length - s.done;
  }
  return sum;
}

bool stream_writer::retry() noexcept {
  if (error_ == 0) return true;
  drain();
  error_ = 0;
  mend();
  if (error_ != 0) return false;
  if (fill_ == 0) return true;
  fill_down_ += plain_write(filling_.get() + fill_down_, fill_ - fill_down_, fill_begin_ + fill_down_);
  if (error_ != 0) return false;
  if (!direct_ || fill_ == room()) {
    fill_begin_ += fill_;
    fill_ = fill_down_ = 0;
  }
  return true;
}

// Reading.

stream_reader::stream_reader(int fd, settings const& s) noexcept : fd_{fd}, settings_{s}, at_{s.offset}, ahead_{s.offset} {
  struct stat about {};
  regular_ = ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  seekable_ = regular_ || ::lseek(fd, 0, SEEK_CUR) >= 0;
  may_be_direct_ = regular_;
}

std::uint64_t stream_reader::size_now() const noexcept {
  struct stat about {};
  if (!regular_ || ::fstat(fd_, &about) != 0) return 0;
  return std::min(static_cast<std::uint64_t>(about.st_size), settings_.end);
}

std::span<std::byte const> stream_reader::next() {
  while (error_ == 0 && !ended_) {
    read_ahead();
    if (used_ == 0) return next_plain();
    auto const bytes = next_direct();
    if (bytes.empty()) continue;
    if (!ended_ && error_ == 0) read_ahead();  // as many as before, while the caller looks at these
    return bytes;
  }
  return {};
}

void stream_reader::read_ahead() {
  while (used_ != slots_.size() && may_be_direct_) {
    if (ahead_ % io_alignment != 0) return;  // soon
    if (ahead_ >= size_) {
      if (used_ != 0) return;
      size_ = size_now();  // nothing is known yet, or the file may have grown
      if (ahead_ >= size_) return;
    }
    if (ahead_ >= window_end_) window_direct_ = choose(ahead_);
    if (!window_direct_) return;
    slot& s = slots_[(first_ + used_) % slots_.size()];
    if (s.buffer == nullptr) s.buffer = take_io_buffer();
    s.fd = direct_file_.fd();
    s.way = transfer_piece::direction::read;
    s.data = s.buffer.get() + front;
    s.size = piece;
    s.offset = ahead_;
    s.ended = false;
    ahead_ += piece;
    ++used_;
    ++direct_pieces_;
    transfer_->submit(s);
  }
}

bool stream_reader::choose(std::uint64_t from) {
  window_end_ = from + window;
  asks_ahead_ = false;
  if (resident(from, std::min(window_end_, size_))) return false;
  if (transfer_ != nullptr) return true;
  asks_ahead_ = true;
  if (size_ - from < settings_.direct_from) return false;
  if (!direct_file_.open(fd_, O_RDONLY) || from % direct_file_.alignment() != 0) return may_be_direct_ = false;
  if (given_out_ == nullptr) given_out_ = take_io_buffer();
  transfer_ = make_transfer(read_depth, settings_.kind);
  asks_ahead_ = false;
  return true;
}

void stream_reader::request_ahead() noexcept {
  asked_to_ = std::max(asked_to_, at_);
  for (; asked_to_ < std::min(at_ + ahead_depth, size_); asked_to_ += ahead_piece)
    ::posix_fadvise(fd_, static_cast<off_t>(asked_to_), static_cast<off_t>(ahead_piece), POSIX_FADV_WILLNEED);
}

// By four bytes, and without waiting for them. mincore() would need a mapping, and says yes to who may not write the file.
bool stream_reader::resident(std::uint64_t from, std::uint64_t to) const noexcept {
  for (unsigned i = 0; i != 4; ++i) {
    std::byte byte{};
    transfer_piece call{.fd = fd_, .flags = RWF_NOWAIT, .data = &byte, .size = 1};
    call.offset = from + (to - from) * i / 4;
    if (carry_out(call) == -EAGAIN) return false;
  }
  return true;
}

std::span<std::byte const> stream_reader::next_direct() {
  slot& s = slots_[first_];
  while (!s.ended) static_cast<slot&>(transfer_->wait()).ended = true;
  first_ = (first_ + 1) % slots_.size();
  --used_;
  if (s.result < 0) {
    if (s.result == -EINVAL) may_be_direct_ = window_direct_ = false;  // plainly, then
    else error_ = static_cast<int>(-s.result);
    drop_what_is_ahead();
    return {};
  }
  std::swap(given_out_, s.buffer);
  auto const wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece, settings_.end - at_));
  auto filled = std::min(static_cast<std::size_t>(s.result), wanted);
  if (filled < wanted) filled = fill_up(given_out_.get() + front, filled, wanted);
  at_ += filled;
  // Short: here the file ends, or did a moment ago. What was read beyond, because it is longer again, is no continuation.
  if (filled < piece) {
    ended_ = true;
    drop_what_is_ahead();
  }
  return {given_out_.get() + front, filled};
}

std::span<std::byte const> stream_reader::next_plain() {
  if (given_out_ == nullptr) given_out_ = take_io_buffer();
  return {given_out_.get() + front, read_plainly(given_out_.get() + front, piece)};
}

std::size_t stream_reader::read_plainly(std::byte* to, std::size_t size) noexcept {
  if (size > io_alignment) size -= (at_ + size) % io_alignment;
  auto const wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size, settings_.end - std::min(at_, settings_.end)));
  if (asks_ahead_) request_ahead();
  auto const filled = fill_up(to, 0, wanted);
  at_ += filled;
  ahead_ = at_;
  if (error_ == 0 && filled < std::max<std::size_t>(wanted, 1)) ended_ = seekable_ || filled == 0;
  return filled;
}

std::size_t stream_reader::read(std::byte* to, std::size_t size) {
  while (uncopied_.empty()) {
    if (error_ != 0 || ended_) return 0;
    read_ahead();
    if (used_ == 0) return read_plainly(to, std::min(size, piece));
    uncopied_ = next_direct();
    if (!uncopied_.empty() && !ended_ && error_ == 0) read_ahead();
  }
  auto const n = std::min(size, uncopied_.size());
  std::memcpy(to, uncopied_.data(), n);
  uncopied_ = uncopied_.subspan(n);
  return n;
}

std::size_t stream_reader::fill_up(std::byte* buffer, std::size_t filled, std::size_t size) noexcept {
  while (filled != size) {
    transfer_piece call{.fd = fd_, .data = buffer + filled, .size = size - filled};
    call.offset = seekable_ ? at_ + filled : UINT64_MAX;
    auto const n = carry_out(call);
    if (n < 0) error_ = static_cast<int>(-n);
    if (n <= 0) break;
    filled += static_cast<std::size_t>(n);
    if (!seekable_) break;  // what has come goes on at once
  }
  return filled;
}

void stream_reader::drop_what_is_ahead() noexcept {
  while (transfer_->under_way() != 0) (void)transfer_->wait();
  used_ = 0;
  ahead_ = at_;
}

}  // namespace errand::detail
