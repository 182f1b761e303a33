// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// A file written behind its writer: pieces are collected, handed over in large parts, and written in their order by threads
// of errand's own while the program goes on. Included by io.hpp.
#pragma once

#include <errand/detail/whole_file.hpp>

#include <charconv>
#include <concepts>

namespace errand {
namespace detail {

class writer_core;

struct writer_start {
  std::filesystem::path path;
  write_kind kind;
  durability how;
  std::source_location from;
};
[[nodiscard]] std::shared_ptr<writer_core> open_writer(writer_start const& start);
void write_behind(writer_core& core, std::string_view piece);
void write_behind(writer_core& core, std::string&& piece);
[[nodiscard]] bool try_write_behind(writer_core& core, std::string_view piece);
[[nodiscard]] future<void> flush_writer(std::shared_ptr<writer_core> const& core);
[[nodiscard]] future<void> close_writer(std::shared_ptr<writer_core> const& core);
void retry_writer(writer_core& core);
void drop_writer(std::shared_ptr<writer_core>&& core) noexcept;
[[nodiscard]] std::uint64_t waits_of_writer(writer_core& core) noexcept;
[[noreturn]] void throw_no_file();

/// What << takes: text, a character, a number.
template <class T>
concept printable = std::convertible_to<T const&, std::string_view> || std::is_arithmetic_v<T>;

template <printable T>
void append_printed(std::string& to, T const& x) {
  if constexpr (std::convertible_to<T const&, std::string_view>) {
    to.append(std::string_view{x});
  } else if constexpr (std::same_as<T, char>) {
    to.push_back(x);
  } else if constexpr (std::same_as<T, bool>) {
    to.push_back(x ? '1' : '0');  // as std::ostream does
  } else {
    char digits[64];
    to.append(digits, std::to_chars(digits, digits + sizeof digits, x).ptr);
  }
}

}  // namespace detail

/// A file that is written piece by piece without waiting for the disk: `write` copies the piece and returns; what has been
/// collected is written in the background, in the order of the calls. Any number of threads and tasks may write to the same
/// one; each call's bytes stay together.
///
/// In all writers together 64 MiB (ERRAND_WRITE_BEHIND, in MiB) may be on their way; beyond that `write` waits until its own
/// writer's are down, and that is counted (`waits()`).
///
/// An error (no space, a limit, a broken disk) sticks: from then on write(), flush() and close() throw it, a
/// std::filesystem::filesystem_error with path and errno. What was not written is kept; retry() lets it be tried again. An
/// error that none of these has thrown is reported like that of a task that nobody took.
///
/// A writer that is destroyed does not wait: what was given to it is still written, and a normal end of the program waits for
/// that; _exit() and a crash do not.
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

  /// One piece. A string that is given away is moved in if it is large. Waits only where too much is on its way already: then
  /// it parks a task and blocks a thread. Throws the error that sticks, std::bad_alloc (the piece is not taken), and
  /// std::logic_error after close(). Some nanoseconds and the copy; each quarter of a MiB the hand-over, some microseconds.
  void write(std::string_view piece) { detail::write_behind(core(), piece); }
  void write(std::string&& piece) { detail::write_behind(core(), std::move(piece)); }
  void write(char const* piece) { write(std::string_view{piece}); }
  /// The same, but where it would have to wait it takes nothing and answers false.
  [[nodiscard]] bool try_write(std::string_view piece) { return detail::try_write_behind(core(), piece); }

  /// All values one after the other, as one piece: `w.print(name, ',', 42, '\n')`. Numbers as std::to_chars writes them.
  template <detail::printable... Values>
  void print(Values const&... values) {
    std::string piece;
    (detail::append_printed(piece, values), ...);
    write(std::string_view{piece});
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
    static_cast<void>(core());
    return detail::flush_writer(core_);
  }
  /// Waits for that: parks a task, blocks a thread.
  void flush() { flushed().get(); }
  /// The same, then closes the file, and does what `how` promises. From then on there is nothing more to write.
  [[nodiscard]] future<void> closed() {
    static_cast<void>(core());
    return detail::close_writer(core_);
  }
  void close() { closed().get(); }

  /// Forgets the error that sticks, and tries again to write what was kept.
  void retry() { detail::retry_writer(core()); }
  /// How often a write had to wait so far.
  [[nodiscard]] std::uint64_t waits() const { return detail::waits_of_writer(core()); }

 private:
  explicit file_writer(std::shared_ptr<detail::writer_core> core) noexcept : core_{std::move(core)} {}
  [[nodiscard]] detail::writer_core& core() const {
    if (core_ == nullptr) detail::throw_no_file();
    return *core_;
  }
  std::shared_ptr<detail::writer_core> core_;
};

}  // namespace errand
