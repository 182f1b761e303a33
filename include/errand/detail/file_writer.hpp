// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// A file written behind its writer: pieces are collected, handed over in large parts, and written in their order by threads
// of errand's own while the program goes on. Included by io.hpp.
#pragma once

#include <errand/detail/whole_file.hpp>

#include <atomic>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace errand {
namespace detail {

/// What a writer's user sees of it: the memory in which pieces are collected.
struct writer_front {
  // The next byte's place; written by the user alone. (FW1) release: who reads it at the end of the program finds the bytes.
  std::atomic<char*> at{nullptr};
  // How far there is room. Null if the next piece is to ask first: there is no memory yet, an error, or the file is closed.
  // Relaxed: memory changes hands under a lock, and an error that comes just now is found by the next piece.
  std::atomic<char const*> end{nullptr};

  [[nodiscard]] bool is_room_for(std::size_t size) const noexcept {
    return reinterpret_cast<std::uintptr_t>(place()) + size < reinterpret_cast<std::uintptr_t>(end.load(std::memory_order_relaxed));
  }
  [[nodiscard]] char* place() const noexcept { return at.load(std::memory_order_relaxed); }
  void go_on_at(char* next) noexcept { at.store(next, std::memory_order_release); }  // (FW1)
  void put(std::string_view text) noexcept {
    char* const to = place();
    std::memcpy(to, text.data(), text.size());
    go_on_at(to + text.size());
  }

 protected:
  ~writer_front() = default;
};

constexpr std::size_t worth_moving = std::size_t{256} << 10;  // of a string that is given away

struct writer_start {
  std::filesystem::path path;
  write_kind kind;
  durability how;
  std::source_location from;
};
using writer_handle = std::shared_ptr<writer_front>;
[[nodiscard]] writer_handle open_writer(writer_start const& start);
void write_behind(writer_front& w, std::string_view piece);
void write_behind(writer_front& w, std::string&& piece);
[[nodiscard]] bool try_write_behind(writer_front& w, std::string_view piece);
[[nodiscard]] future<void> flush_writer(writer_handle const& w);
[[nodiscard]] future<void> close_writer(writer_handle const& w);
void retry_writer(writer_front& w);
void drop_writer(writer_handle&& w) noexcept;
[[nodiscard]] std::uint64_t waits_of_writer(writer_front& w) noexcept;
[[noreturn]] void throw_no_file();

/// What << takes: text, a character, a number.
template <class T>
concept printable = std::convertible_to<T const&, std::string_view> || std::is_arithmetic_v<T>;

/// How long it may be, printed.
template <printable T>
constexpr std::size_t most_printed(T const& x) noexcept {
  if constexpr (std::convertible_to<T const&, std::string_view>)
    return std::string_view{x}.size();
  else
    return 64;
}
/// Prints it to where there is room for that, and answers where it ends.
template <printable T>
char* print_to(char* at, T const& x) noexcept {
  if constexpr (std::convertible_to<T const&, std::string_view>) {
    std::string_view const text{x};
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
  } else if constexpr (std::same_as<T, char>) {
    *at = x;
    return at + 1;
  } else if constexpr (std::same_as<T, bool>) {
    *at = x ? '1' : '0';  // as std::ostream does
    return at + 1;
  } else {
    return std::to_chars(at, at + 64, x).ptr;
  }
}

}  // namespace detail

/// A file that is written piece by piece without waiting for the disk: `write` copies the piece and returns; what has been
/// collected, up to a quarter of a MiB and later a MiB, is written in the background, in the order of the calls. Nothing is
/// handed over because of time alone: flush() for what others shall see.
///
/// One thread or task at a time may use it, as a std::ofstream; any number of writers may be at work.
///
/// Of all writers and files together 64 MiB (ERRAND_WRITE_BEHIND, in MiB) may be under way; beyond that `write` waits until there
/// is room or its own writer's are down, and that is counted (`waits()`).
///
/// A file larger than 8 MiB, and pieces of a MiB that are given away, go past the page cache where the file system allows it.
/// Meanwhile the file may be up to 64 MiB longer than what was written, zeros, until it is flushed or closed; after a crash too.
///
/// An error (no space, a limit, a broken disk) sticks: from then on write(), flush() and close() throw it, a
/// std::filesystem::filesystem_error with path and errno. What was not written is kept; retry() lets it be tried again. An
/// error that none of these has thrown is reported like that of a task that nobody took.
///
/// A writer that is destroyed does not wait: what was given to it is still written, and a normal end of the program waits for
/// that, also for what a writer has that is never destroyed (but for `atomic`); _exit() and a crash do not. In the child of a fork() a writer of the parent's takes nothing: std::logic_error.
class file_writer {
 public:
  /// Writes the file anew: it is opened, and emptied, in the background. `how` is what close() promises, and for `synced`
  /// flush() too. A relative path means the current directory at the time of the call. Throws std::bad_alloc.
  explicit file_writer(std::filesystem::path path, durability how = durability::cached,
                       std::source_location from = std::source_location::current())
      : core_{detail::open_writer({std::move(path), detail::write_kind::replace, how, from})} {}
  /// Writes behind what the file has. `how` as above, but not `atomic`: std::invalid_argument.
  [[nodiscard]] static file_writer appending(std::filesystem::path path, durability how = durability::cached,
                                             std::source_location from = std::source_location::current()) {
    return file_writer{detail::open_writer({std::move(path), detail::write_kind::append, how, from})};
  }
  file_writer(file_writer&&) noexcept = default;
  file_writer& operator=(file_writer&& other) noexcept {
    if (this != &other) {
      if (core_ != nullptr) detail::drop_writer(std::move(core_));
      core_ = std::move(other.core_);
    }
    return *this;
  }
  ~file_writer() {
    if (core_ != nullptr) detail::drop_writer(std::move(core_));
  }

  /// One piece. A string that is given away is moved in if it is large. Waits only where too much is under way already: then
  /// it parks a task, blocks a thread, and is a point of cancellation. Throws the error that sticks, operation_cancelled,
  /// std::bad_alloc, and std::logic_error after close(); then nothing of the piece was taken, if it is less than a MiB. Costs
  /// the copy and a nanosecond; each quarter of a MiB the hand-over, some microseconds.
  void write(std::string_view piece) {
    auto& w = front();
    if (w.is_room_for(piece.size()))
      w.put(piece);
    else
      detail::write_behind(w, piece);
  }
  void write(std::string&& piece) {
    if (piece.size() < detail::worth_moving)
      write(std::string_view{piece});
    else
      detail::write_behind(front(), std::move(piece));
  }
  void write(char const* piece) { write(std::string_view{piece}); }
  /// The same, but where it would have to wait it takes nothing and answers false.
  [[nodiscard]] bool try_write(std::string_view piece) { return detail::try_write_behind(front(), piece); }

  /// All values one after the other, as one piece: `w.print(name, ',', 42, '\n')`. Numbers as std::to_chars writes them.
  template <detail::printable... Values>
  void print(Values const&... values) {
    auto& w = front();
    auto const most = (std::size_t{0} + ... + detail::most_printed(values));
    if (w.is_room_for(most)) {
      char* at = w.place();
      ((at = detail::print_to(at, values)), ...);
      w.go_on_at(at);
      return;
    }
    std::string piece(most, '\0');
    char* at = piece.data();
    ((at = detail::print_to(at, values)), ...);
    detail::write_behind(w, std::string_view{piece.data(), at});
  }
  /// The same for one value.
  template <detail::printable T>
  file_writer& operator<<(T const& value) {
    if constexpr (std::convertible_to<T const&, std::string_view>)
      write(std::string_view{value});
    else
      print(value);
    return *this;
  }

  /// Says when all that was written before the call is down (for `synced`: on the disk). get() throws the error that sticks.
  [[nodiscard]] future<void> flushed() {
    static_cast<void>(front());
    return detail::flush_writer(core_);
  }
  /// Waits for that: parks a task, blocks a thread.
  void flush() { flushed().get(); }
  /// The same, then closes the file, and does what `how` promises. From then on there is nothing more to write.
  [[nodiscard]] future<void> closed() {
    static_cast<void>(front());
    return detail::close_writer(core_);
  }
  void close() { closed().get(); }

  /// Forgets the error that sticks, and tries again to write what was kept. A sync that failed stays failed.
  void retry() { detail::retry_writer(front()); }
  /// How often a write had to wait so far.
  [[nodiscard]] std::uint64_t waits() const { return detail::waits_of_writer(front()); }

 private:
  explicit file_writer(detail::writer_handle w) noexcept : core_{std::move(w)} {}
  [[nodiscard]] detail::writer_front& front() const {
    if (core_ == nullptr) [[unlikely]]
      detail::throw_no_file();
    return *core_;
  }
  detail::writer_handle core_;
};

}  // namespace errand
