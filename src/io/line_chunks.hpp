// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file as chunks of whole lines, read ahead in the background by one reader at a time: for a regular file an operation on a
// file thread, which ends when it is far enough ahead and is submitted again as chunks are taken; for what may keep one
// waiting for ever (a pipe, a terminal) a thread of its own, which can be told to end. `lines` takes the chunks one after the
// other, the runners of for_each_line share them.
#pragma once

#include "base/lock.hpp"
#include "io/buffers.hpp"
#include "io/file_threads.hpp"
#include "io/named_file.hpp"
#include "io/stream.hpp"

#include <errand/detail/record.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace errand::detail {

/// Calls work(context) on a file thread, and waits for its end. A point of cancellation: if the waiting task is stopped, the
/// work is taken back, or waited for, and operation_cancelled is thrown.
void on_file_thread(void (*work)(void* context) noexcept, void* context, std::source_location from);
template <class Work>
void on_file_thread(Work&& work, std::source_location from) {
  on_file_thread([](void* context) noexcept { (*static_cast<std::remove_reference_t<Work>*>(context))(); }, &work, from);
}

/// Memory that grows without being copied, for what is larger than a buffer.
class grown_memory {
 public:
  [[nodiscard]] char* data() const noexcept { return data_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Keeps what is in it. Throws std::bad_alloc.
  void grow_to(std::size_t size);

 private:
  struct free_memory {
    void operator()(char* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<char[], free_memory> data_;
  std::size_t size_ = 0;
};

/// Whole lines; only the last of the file may lack its end. They lie in one of the two, the first perhaps in front of the buffer.
struct line_chunk {
  char const* begin = nullptr;
  char const* end = nullptr;
  io_buffer buffer;
  grown_memory grown;
};

class line_chunks final : private file_operation {
 public:
  line_chunks(std::filesystem::path path, std::source_location from);
  /// Nobody is in next() any more. Waits for the read that is under way, if that has an end.
  ~line_chunks();
  line_chunks(line_chunks const&) = delete;
  line_chunks& operator=(line_chunks const&) = delete;

  /// Opens the file, unless it is open. May block, but not for ever. Throws std::filesystem::filesystem_error.
  void open();
  [[nodiscard]] int descriptor() const noexcept { return fd_; }
  /// Of a regular file, if it can be read at offsets; 0 of others, and of those of /proc.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Of reads of a regular file that are not to wait: they fail with EAGAIN, EOPNOTSUPP or ENOSYS if they would.
  [[nodiscard]] int no_wait() const noexcept { return no_wait_; }
  [[nodiscard]] named_file const& name() const noexcept { return name_; }

  /// From now on next() waits for what start() will begin. The lines behind the first newline at `offset` or later (all, if
  /// that is 0), up to `limit` if that is not 0. Once at most, before the others are called.
  void expect(std::uint64_t offset, std::uint64_t limit) noexcept;
  void start() noexcept { file_threads::of_process().submit(*this); }

  /// Lets go of the chunk that `c` is, and takes another one. Begins at the file's beginning if nobody said otherwise. False if
  /// there are no more. Waits: a point of cancellation. An error is thrown once. Any thread, several at a time.
  [[nodiscard]] bool next(line_chunk& c);

  [[nodiscard]] bool inherited() const noexcept;
  /// In the child of a fork: closes the file, and leaves the rest as it is.
  void abandon() noexcept;

 private:
  static constexpr unsigned depth = 4;
  struct chunk_waiter;

  // The reader's.
  void read_ahead() noexcept;      // on a file thread
  void read_as_thread() noexcept;  // on its own
  enum class got : std::uint8_t { lines, end, told_to_end };
  got read_stored(line_chunk& c);
  void begin_line(std::string_view rest);
  void add_to_line(std::string_view bytes);
  void give_out_line(line_chunk& c);
  got read_what_comes(line_chunk& c);
  void read_and_publish() noexcept;
  void publish(line_chunk* c, bool last, std::exception_ptr error) noexcept;
  void hand_over_to_thread() noexcept;
  static constexpr std::ptrdiff_t nothing_yet = -1;
  std::ptrdiff_t read_some(char* to, std::size_t size);
  [[nodiscard]] bool wait_for_more();
  [[nodiscard]] bool is_told_to_end() noexcept;
  void make_room();
  void give_out(line_chunk& c, std::size_t size);
  [[nodiscard]] char* room() const noexcept;
  [[nodiscard]] std::size_t room_size() const noexcept;

  // Under guard_.
  [[nodiscard]] bool far_enough() const noexcept { return ready_count_ == depth || grown_out_ != 0; }
  [[nodiscard]] chunk_waiter* take_waiters(bool all) noexcept;

  static void wake(chunk_waiter* list) noexcept;
  void ring() noexcept;
  void clear_bell() noexcept;
  void wait_for(chunk_waiter& w);
  void start_thread_of_its_own();

  named_file const name_;
  std::source_location const from_;
  std::uint32_t const born_in_;
  int fd_ = -1;
  bool may_keep_waiting_ = false;  // it is read by a thread of its own; together with fd_
  std::uint64_t size_ = 0;
  int no_wait_ = 0;                // RWF_NOWAIT; none where files lie in memory, and the flag is not known
  int bell_ = -1;                  // an eventfd, by which that thread is told of the end, or of room

  // The reader's; handed on by guard_.
  std::uint64_t offset_ = 0;
  std::uint64_t limit_ = UINT64_MAX;
  bool drop_first_line_ = false;   // it began before the offset
  std::optional<stream_reader> stream_;  // of a regular file,
  std::string line_;               // with the beginning of a line, if that is short
  bool was_waited_for_ = false;    // of a pipe: poll() has said once that there is something to be read
  io_buffer buffer_;               // of what comes as it comes: what is being filled,
  grown_memory grown_;             // if a line is longer: this, of regular files too
  std::size_t filled_ = 0;
  std::size_t whole_ = 0;          // of that, up to the last newline

  small_lock guard_;               // all below
  std::array<line_chunk, depth> ready_;
  unsigned ready_first_ = 0;
  unsigned ready_count_ = 0;
  unsigned grown_out_ = 0;         // grown chunks that are ready, or in somebody's hands: one at a time
  bool reading_ = false;           // there is a reader, or one is submitted
  bool wants_thread_ = false;      // the next who waits is to start the thread
  bool waits_for_room_ = false;    // that thread
  bool ended_ = false;
  bool closing_ = false;
  std::exception_ptr error_;       // thrown to one
  chunk_waiter* waiters_ = nullptr;
  chunk_waiter* closer_ = nullptr;  // the destructor: until there is no reader

  std::thread thread_;             // by who starts it, and the destructor
};

}  // namespace errand::detail
