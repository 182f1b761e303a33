// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One file from one end to the other, as fast as the disk: buffers of 1 MiB, several at a time by a transfer, past the page cache
// (O_DIRECT) where that pays; what is small, unaligned or refused goes through the page cache. For a file thread, which they
// block. Errors are kept as an errno; the caller knows the path.
#pragma once

#include "io/buffers.hpp"
#include "io/transfer.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace errand::detail {

/// A second descriptor of an open file, for O_DIRECT: the first keeps its ways, and nobody's flags are changed under way.
class direct_descriptor {
 public:
  direct_descriptor() = default;
  ~direct_descriptor();
  direct_descriptor(direct_descriptor const&) = delete;
  direct_descriptor& operator=(direct_descriptor const&) = delete;

  /// False where the file system refuses, or /proc is not there. `access`: O_RDONLY or O_WRONLY.
  bool open(int fd, int access) noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// Of places in the file, at least io_alignment.
  [[nodiscard]] std::size_t alignment() const noexcept { return alignment_; }

 private:
  int fd_ = -1;
  std::size_t alignment_ = io_alignment;
};

constexpr unsigned stream_depth = 6;  // pieces that are written at a time: four keep the disk busy, and two are on their way to it
constexpr unsigned read_depth = 8;    // or read: those who work on what was read may keep the reader from a processor for a while
constexpr std::uint64_t direct_from_here = std::uint64_t{8} << 20;  // bytes: for less, the page cache is the better place

/// Writes bytes at consecutive offsets of an open file. Nobody else may write behind `offset` meanwhile: where it is written
/// directly, the file is for a while longer than what is written (by at most 64 MiB, zeros), and cut by flush().
/// A descriptor with O_APPEND, and what is no regular file, is written in order by plain writes.
class stream_writer {
 public:
  struct settings {
    std::uint64_t offset = 0;                       // of the first byte
    std::uint64_t expected = 0;                     // bytes that will come, if known
    std::uint64_t direct_from = direct_from_here;   // expected, or already written
    bool size_ahead = true;                         // see above; false: the size grows with what is written, which is slower
    std::optional<transfer::kind> kind = {};        // none: as transfer::make() chooses
  };
  stream_writer(int fd, settings const& s) noexcept;
  /// Waits for what is under way. What flush() has not brought down is lost.
  ~stream_writer();
  stream_writer(stream_writer const&) = delete;
  stream_writer& operator=(stream_writer const&) = delete;

  /// Takes so many of the bytes, all but on an error, and copies those that it has not written when it returns. After an error
  /// it takes none. Throws std::bad_alloc, and what transfer::make() throws.
  std::size_t write(std::byte const* data, std::size_t size);
  /// The same without the copy if it can: then the buffer is taken, or exchanged.
  std::size_t write(io_buffer& buffer, std::size_t size);
  /// Waits until all that was taken is the system's, visible to every reader, and cuts the file where its bytes end. False on
  /// an error. Throws as write() does.
  bool flush();
  /// Waits for one of the pieces that are under way. False: there is none. Afterwards, look at error().
  bool await_one() noexcept;

  /// The first, as an errno; 0: none.
  [[nodiscard]] int error() const noexcept { return error_; }
  /// Bytes from `offset` on that the system has for certain, without a gap. What was taken beyond is kept for retry().
  [[nodiscard]] std::uint64_t down() const noexcept;
  /// Bytes that are on their way at the moment; not those that wait for more, or for flush(). After an error with those that it
  /// keeps.
  [[nodiscard]] std::uint64_t under_way() const noexcept;
  /// Bytes taken.
  [[nodiscard]] std::uint64_t taken() const noexcept { return fill_begin_ + fill_ - settings_.offset; }
  /// After an error: writes again what was taken and is not down; true if nothing is left. False on an error, which may be
  /// the same.
  bool retry() noexcept;
  /// Whether it has come to O_DIRECT.
  [[nodiscard]] bool direct() const noexcept { return direct_; }

 private:
  struct slot : transfer_piece {
    io_buffer buffer;          // none when all of it is down
    std::uint64_t begin = 0;   // in the file
    std::size_t length = 0;
    std::size_t done = 0;
  };

  void consider_direct();
  void prepare_buffer();
  [[nodiscard]] std::size_t room() const noexcept;
  // Sends off what is in the buffer, when that is full.
  void send();
  void send_direct();
  // Takes the next piece that has ended.
  void reap() noexcept;
  void drain() noexcept;
  // With nothing under way: writes plainly, in order, what the direct way has left. Keeps the rest, and the error.
  void mend() noexcept;
  void forget_what_is_down() noexcept;
  // How many bytes were written, all but on an error, which is kept.
  std::size_t plain_write(std::byte const* data, std::size_t size, std::uint64_t offset) noexcept;
  void allocate_to(std::uint64_t end) noexcept;
  void cut() noexcept;

  int const fd_;
  settings const settings_;
  bool regular_ = false;
  bool may_be_direct_ = false;      // until it is refused
  bool direct_ = false;
  int plain_flags_ = 0;
  int error_ = 0;
  bool unfinished_ = false;         // a piece came back short or with an error
  std::uint64_t old_size_ = 0;
  std::uint64_t allocated_ = 0;     // to where there are blocks, as far as is known
  bool allocates_ = true;           // until it is refused
  bool to_be_cut_ = false;
  std::uint64_t flushed_to_;        // by the last flush; what is written again from an aligned place is down all the while

  io_buffer filling_;
  std::uint64_t fill_begin_;        // its place in the file
  std::size_t fill_ = 0;            // bytes in it
  std::size_t fill_down_ = 0;       // of these, already written

  // Sent off, in the file's order. A longer row than may be under way, so that one slow piece does not hold up the rest.
  std::array<slot, std::size_t{2} * stream_depth> slots_;
  std::size_t first_ = 0;
  std::size_t used_ = 0;
  direct_descriptor direct_file_;
  std::unique_ptr<transfer> transfer_;  // goes first: it waits
};

/// Reads an open file in order: ahead and directly where it is not in the page cache, plainly where it is. What the file's end
/// is, the last read says: it may grow or shrink meanwhile. What is no regular file is read as it comes.
class stream_reader {
 public:
  struct settings {
    std::uint64_t offset = 0;
    std::uint64_t end = UINT64_MAX;                 // no bytes from here on
    std::uint64_t direct_from = direct_from_here;   // bytes to read
    std::optional<transfer::kind> kind = {};        // none: as transfer::make() chooses
  };
  /// What is read at a time; and before it, room in the buffer for what shall stand in front.
  static constexpr std::size_t front = std::size_t{64} << 10;
  static constexpr std::size_t piece = io_buffer_size - front;

  stream_reader(int fd, settings const& s) noexcept;
  /// Waits for what is under way.
  ~stream_reader() = default;
  stream_reader(stream_reader const&) = delete;
  stream_reader& operator=(stream_reader const&) = delete;

  /// The next bytes, at most a piece; they stay until the next call. None: the end, or an error. Throws std::bad_alloc,
  /// and what transfer::make() throws.
  [[nodiscard]] std::span<std::byte const> next();
  /// The buffer that they lie in, behind the front. The caller's now; for others there will be another one.
  [[nodiscard]] io_buffer take_buffer() noexcept { return std::move(given_out_); }
  /// Instead of next(), always: copies the next bytes to where the caller wants them, without a buffer between if they are in
  /// the page cache. 0: the end, or an error. Throws as next() does.
  [[nodiscard]] std::size_t read(std::byte* to, std::size_t size);
  /// The errno; 0: none.
  [[nodiscard]] int error() const noexcept { return error_; }
  /// How many pieces were read directly.
  [[nodiscard]] std::uint64_t direct_pieces() const noexcept { return direct_pieces_; }

 private:
  struct slot : transfer_piece {
    io_buffer buffer;
    bool ended = false;
  };

  void read_ahead();
  // Whether the next part of the file, of a size of its choice, shall be read directly; sets window_end_.
  [[nodiscard]] bool choose(std::uint64_t from);
  [[nodiscard]] bool resident(std::uint64_t from, std::uint64_t to) const noexcept;
  [[nodiscard]] std::span<std::byte const> next_direct();
  [[nodiscard]] std::span<std::byte const> next_plain();
  // The system is asked to read ahead what is read plainly and is not in its cache.
  void request_ahead() noexcept;
  // To there. Ends at an aligned place, from where the next may be direct, or the file does.
  std::size_t read_plainly(std::byte* to, std::size_t size) noexcept;
  // Reads on until the buffer is full, the file at its end, or an error: how many bytes are in it then.
  std::size_t fill_up(std::byte* buffer, std::size_t filled, std::size_t size) noexcept;
  void drop_what_is_ahead() noexcept;
  [[nodiscard]] std::uint64_t size_now() const noexcept;

  int const fd_;
  settings const settings_;
  bool regular_ = false;
  bool seekable_ = true;
  bool may_be_direct_ = false;      // until it is refused
  bool ended_ = false;
  int error_ = 0;
  std::uint64_t at_;                // of the next byte to give out
  std::uint64_t ahead_;             // of the next piece to ask for
  std::uint64_t size_ = 0;          // of the file when last asked, or settings_.end
  std::uint64_t window_end_ = 0;    // to here the choice holds
  bool window_direct_ = false;
  bool asks_ahead_ = false;         // it is not in the cache, and read plainly
  std::uint64_t asked_to_ = 0;
  std::uint64_t direct_pieces_ = 0;

  io_buffer given_out_;
  std::span<std::byte const> uncopied_;  // of what is in it, by read()
  std::array<slot, read_depth> slots_;
  std::size_t first_ = 0;
  std::size_t used_ = 0;
  direct_descriptor direct_file_;
  std::unique_ptr<transfer> transfer_;  // goes first: it waits
};

}  // namespace errand::detail
