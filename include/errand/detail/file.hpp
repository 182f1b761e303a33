// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// A file that is opened once, and then read and written at places of it, with as many operations under way as one likes.
// Included by io.hpp; what it calls is compiled once (src/io/file.cpp).
#pragma once

#include <errand/detail/whole_file.hpp>

#include <concepts>

namespace errand {

/// What a file is opened for.
enum class open_mode : std::uint8_t {
  read,    // to be read; it must be there
  write,   // to be written anew: made if there is none, emptied if there is one
  update,  // to be read and written as it is; made if there is none
  append,  // to be written behind what is there, by append() alone; made if there is none
};

/// A write that went wrong after some of its bytes had been written, or before: the first `written()` of them are in the file.
class write_error : public std::filesystem::filesystem_error {
 public:
  write_error(std::string const& what, std::filesystem::path const& path, std::error_code code, std::uint64_t written)
      : filesystem_error{what, path, code}, written_{written} {}
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

 private:
  std::uint64_t written_;
};

class file;

namespace detail {

class file_core;
struct file_access;

template <class T>
constexpr bool is_vector_of_bytes = false;
template <byte_like T>
constexpr bool is_vector_of_bytes<std::vector<T>> = true;

/// Memory of the user's that is given away to be read into, and comes back: a string, a vector of bytes, or several of one kind.
template <class T>
concept read_buffer = std::same_as<T, std::string> || is_vector_of_bytes<T>;

/// What may be written as one: several pieces, each of which may be written.
template <class Pieces>
concept range_of_writables = std::ranges::input_range<Pieces> && writable_bytes<std::ranges::range_reference_t<Pieces>> &&
                             !writable_bytes<Pieces>;

/// Owned pieces, in their order. Those of a vector that is given away are moved.
template <range_of_writables Pieces>
std::vector<file_bytes> pieces_of(Pieces&& pieces) {
  std::vector<file_bytes> made;
  if constexpr (std::ranges::sized_range<Pieces>) made.reserve(std::ranges::size(pieces));
  for (auto&& piece : pieces) {
    if constexpr (std::is_same_v<Pieces, std::vector<std::ranges::range_value_t<Pieces>>>)
      made.push_back(file_bytes::of(std::move(piece)));
    else
      made.push_back(file_bytes::of(std::forward<decltype(piece)>(piece)));
  }
  return made;
}

using shared_file = std::shared_ptr<file_core>;

[[nodiscard]] future<file> start_open(std::filesystem::path path, open_mode how, std::source_location from);
[[nodiscard]] future<std::string> start_read_at(shared_file const& f, std::uint64_t offset, std::size_t size,
                                                std::source_location from);
// For the buffers that a concept above names, and vectors of them.
template <class Buffers>
[[nodiscard]] future<Buffers> start_read_into(shared_file const& f, std::uint64_t offset, Buffers buffers,
                                              std::source_location from);
[[nodiscard]] future<void> start_write_at(shared_file const& f, std::uint64_t offset, std::vector<file_bytes> pieces,
                                          std::source_location from);
[[nodiscard]] future<void> start_write_at(shared_file const& f, std::uint64_t offset, file_bytes bytes,
                                          std::source_location from);
[[nodiscard]] future<void> start_append(shared_file const& f, std::vector<file_bytes> pieces, std::source_location from);
[[nodiscard]] future<void> start_append(shared_file const& f, file_bytes bytes, std::source_location from);
[[nodiscard]] future<void> start_sync(shared_file const& f, std::source_location from);
[[nodiscard]] future<void> start_resize(shared_file const& f, std::uint64_t size, std::source_location from);
[[nodiscard]] future<std::uint64_t> start_size(shared_file const& f, std::source_location from);
[[nodiscard]] future<void> start_close(shared_file const& f, std::source_location from);
void drop_file(shared_file&& f) noexcept;

}  // namespace detail

/// A file, open until it is closed or this handle goes. Every operation says its place, returns at once, and gives a future;
/// hundreds may be under way, which then go to the disk side by side. Any number of threads and tasks may use one handle.
///
/// Operations that are under way at once are carried out in no order, also where their places overlap: wait for the one
/// before the other. Appends alone keep the order of their calls.
///
/// Bytes belong to the operation from the call to the end; nothing of the caller's is referred to.
///
/// get() throws std::filesystem::filesystem_error with path and errno; of a write a write_error, which says how much was
/// written. A call after close(), or on a handle that was moved away, throws std::logic_error; every call may throw
/// std::bad_alloc, and then nothing is done.
///
/// Reads are stopped by a drop of their future, which waits for what the disk is at. Writes, appends, syncs and changes of the
/// size are finished though their future is dropped, though the task that called is stopped, and before a normal end of the
/// program: only request_stop() on their own future keeps one from being made, if it has not begun.
///
/// A write or an append returns at once, unless more than 64 MiB (ERRAND_WRITE_BEHIND, in MiB) are under way, of all files and
/// writers together: then it returns when its own bytes are down, which parks a task and blocks a thread.
class file {
 public:
  /// Opens it in the background. What cannot be read and written at places (a FIFO, a terminal, a socket) is refused with
  /// ESPIPE, a directory with EISDIR. A relative path means the current directory at the time of the call.
  [[nodiscard]] static future<file> open(std::filesystem::path path, open_mode how = open_mode::read,
                                         std::source_location from = std::source_location::current());
  /// The same, and waits for it: parks a task, blocks a thread.
  explicit file(std::filesystem::path path, open_mode how = open_mode::read,
                std::source_location from = std::source_location::current());

  file(file&&) noexcept = default;
  file& operator=(file&& other) noexcept {
    if (this != &other) {
      if (core_ != nullptr) detail::drop_file(std::move(core_));
      core_ = std::move(other.core_);
    }
    return *this;
  }
  /// Does not wait. Operations under way go on as they would; then the file is closed, and an error of that is reported as
  /// one that nobody took.
  ~file() {
    if (core_ != nullptr) detail::drop_file(std::move(core_));
  }

  // ---- reading

  /// `size` bytes from `offset` on; fewer only where the file ends, none behind that. Memory is taken as the bytes come.
  [[nodiscard]] future<std::string> read_at(std::uint64_t offset, std::size_t size,
                                            std::source_location from = std::source_location::current()) const {
    return detail::start_read_at(core(), offset, size, from);
  }
  /// As many bytes as `buffer` has, a std::string or a std::vector of char, std::byte or the like, which is given away and comes
  /// back with them, smaller where the file ends: its memory is used again.
  template <detail::read_buffer Buffer>
  [[nodiscard]] future<Buffer> read_at(std::uint64_t offset, Buffer buffer,
                                       std::source_location from = std::source_location::current()) const {
    return detail::start_read_into<Buffer>(core(), offset, std::move(buffer), from);
  }
  /// The same for several, which are filled one after the other from places that follow one another.
  template <detail::read_buffer Buffer>
  [[nodiscard]] future<std::vector<Buffer>> read_at(std::uint64_t offset, std::vector<Buffer> buffers,
                                                    std::source_location from = std::source_location::current()) const {
    return detail::start_read_into<std::vector<Buffer>>(core(), offset, std::move(buffers), from);
  }

  // ---- writing. Bytes are what write_file() takes: moved in if they are given away, else copied within the call.

  /// All of `bytes` from `offset` on; what lies between the file's end and `offset` reads as zeros.
  template <detail::writable_bytes Bytes>
  [[nodiscard]] future<void> write_at(std::uint64_t offset, Bytes&& bytes,
                                      std::source_location from = std::source_location::current()) {
    return detail::start_write_at(core(), offset, detail::file_bytes::of(std::forward<Bytes>(bytes)), from);
  }
  /// Several pieces one behind the other, in one call of the system if they are not too many (1024).
  template <detail::range_of_writables Pieces>
  [[nodiscard]] future<void> write_at(std::uint64_t offset, Pieces&& pieces,
                                      std::source_location from = std::source_location::current()) {
    return detail::start_write_at(core(), offset, detail::pieces_of(std::forward<Pieces>(pieces)), from);
  }

  /// Behind what the file has, wherever that is by then. The bytes of one call stay together (but for what others than this
  /// handle write between, if the system takes only a part of them), and calls that follow one another keep their order.
  template <detail::writable_bytes Bytes>
  [[nodiscard]] future<void> append(Bytes&& bytes, std::source_location from = std::source_location::current()) {
    return detail::start_append(core(), detail::file_bytes::of(std::forward<Bytes>(bytes)), from);
  }
  /// Several pieces as one.
  template <detail::range_of_writables Pieces>
  [[nodiscard]] future<void> append(Pieces&& pieces, std::source_location from = std::source_location::current()) {
    return detail::start_append(core(), detail::pieces_of(std::forward<Pieces>(pieces)), from);
  }

  // ---- the whole

  /// All writes that had ended before the call are on the disk (fdatasync). Once one has failed, all that follow do: what was
  /// lost cannot be found out. Syncs under way at once share the disk's answer.
  [[nodiscard]] future<void> sync(std::source_location from = std::source_location::current()) {
    return detail::start_sync(core(), from);
  }
  /// Cuts the file there, or lets it grow by zeros.
  [[nodiscard]] future<void> resize(std::uint64_t size, std::source_location from = std::source_location::current()) {
    return detail::start_resize(core(), size, from);
  }
  /// How many bytes it has.
  [[nodiscard]] future<std::uint64_t> size(std::source_location from = std::source_location::current()) const {
    return detail::start_size(core(), from);
  }

  /// Closes it when all that is under way has ended. From now on nothing more may be asked of it.
  [[nodiscard]] future<void> closed(std::source_location from = std::source_location::current()) {
    return detail::start_close(core(), from);
  }
  /// The same, and waits for it: parks a task, blocks a thread.
  void close(std::source_location from = std::source_location::current()) { closed(from).get(); }

 private:
  friend struct detail::file_access;
  explicit file(detail::shared_file core) noexcept : core_{std::move(core)} {}
  [[nodiscard]] detail::shared_file const& core() const;

  detail::shared_file core_;
};

}  // namespace errand
