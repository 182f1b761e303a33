// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file that is being written: opened anew, to append, or, for `durability::atomic`, as a file beside it that takes its place
// at the end. What is large goes past the page cache (stream). One thread at a time; all calls may block, and throw
// std::filesystem::filesystem_error, std::bad_alloc.
#pragma once

#include "base/descriptor.hpp"
#include "io/named_file.hpp"
#include "io/stream.hpp"

#include <errand/detail/whole_file.hpp>

#include <optional>

namespace errand::detail {

class write_target {
 public:
  /// From so many bytes on a stream begins: those that are written one after the other, in all.
  static constexpr std::uint64_t streamed_from = std::uint64_t{8} << 20;

  write_target(char const* operation, std::filesystem::path path, write_kind kind, durability how);

  /// Once it has answered true, it does nothing. False: it would have to wait for who knows how long (nobody reads the FIFO,
  /// somebody holds a lease, writes to it may block for ever); to be called again where that may be.
  [[nodiscard]] bool open(bool may_wait);
  /// Takes all that is left. A row of small ones is written at once; with a large one a stream begins, and from then on what was
  /// taken is on its way. What is left when it throws was not taken.
  void write(std::string_view& left);
  /// The same of what lies at a buffer's beginning, without a copy if it can: then the buffer is taken, or exchanged. Begins a
  /// stream.
  void write(io_buffer& buffer, std::string_view& left);
  /// Waits for a piece that is on its way. False: there is none.
  bool await_one();
  /// Bytes that are on their way. Others that were taken are the system's, or wait in a buffer for more, or for flush().
  [[nodiscard]] std::uint64_t under_way() const noexcept { return stream_ ? stream_->under_way() : 0; }
  /// After an error: writes what was taken once more. Throws again if that fails.
  void retry();
  /// Until every reader sees all that was taken.
  void flush();
  /// That, and to the disk if `synced` or `atomic`.
  void sync();
  /// What `how` promises, and closes. From then on nothing may be called; or if it throws, all throws the same.
  void finish();

 private:
  // A file that is made beside another one, to take its place: gone again unless it does.
  class stand_in;

  // Or so many at once; fewer are better off in the page cache. And what is written at a time where there is no stream: so that is
  // seen to get on.
  static constexpr std::size_t large = std::size_t{1} << 20;

  [[nodiscard]] std::string behind_links() const;
  void make_successor();
  void take_after(struct stat const& before, int fd) const;
  void begin_stream(std::uint64_t expected);
  void take(std::size_t by_the_stream, std::string_view& left) const;
  void throw_error_of_stream() const;
  [[noreturn]] void fail_for_good(char const* what, int error);
  void close();

  struct successor;

  named_file name_;
  write_kind kind_;
  durability how_;
  descriptor file_;  // of `atomic` the successor's
  bool stored_ = true;
  char const* spoiled_by_ = nullptr;  // what failed and is not to be tried again,
  int spoiled_ = 0;                   // and its errno
  std::uint64_t written_ = 0;  // without the stream
  std::optional<stream_writer> stream_;
  std::unique_ptr<successor> successor_;

 public:
  ~write_target();
  write_target(write_target const&) = delete;
  write_target& operator=(write_target const&) = delete;
};

}  // namespace errand::detail
