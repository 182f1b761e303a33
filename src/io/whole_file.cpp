// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// read_file, write_file, append_file: each one operation, plain serial code on a file thread.
#include "base/descriptor.hpp"
#include "io/io_task.hpp"
#include "io/named_file.hpp"
#include "io/stream.hpp"
#include "io/target.hpp"
#include "io/under_way.hpp"

#include <errand/io.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <stdexcept>

namespace errand::detail {

namespace {

// ---- read_file -------------------------------------------------------------------------------------------------------

class read_operation {
 public:
  using result = std::string;

  explicit read_operation(std::filesystem::path path) : name_{"errand::read_file", std::move(path)} {}

  bool carry_out(io_task& task, bool may_wait) {
    if (!file_ && !open(may_wait)) return false;
    if (expected_ >= large)
      read_large(task);
    else if (!read_to_end(task, may_wait))
      return false;
    text_.resize(size_);
    return true;
  }
  std::string take() { return std::move(text_); }

 private:
  // Small enough to be in the processor's cache when the kernel writes over the zeros.
  static constexpr std::size_t step = std::size_t{256} << 10;
  static constexpr std::size_t least = 4096;
  static constexpr std::size_t large = std::size_t{4} << 20;

  // False: the open itself would wait, because somebody holds a lease.
  bool open(bool may_wait) {
    int const flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (may_wait ? 0 : O_NONBLOCK);
    char const* const at = name_.at().c_str();
    file_ = descriptor{retried([&] { return ::open(at, flags); })};
    if (!file_ && errno == EAGAIN && !may_wait) return false;
    if (!file_) name_.fail("open", errno);
    struct stat s {};
    if (::fstat(file_.get(), &s) != 0) name_.fail("look at", errno);
    if (S_ISDIR(s.st_mode)) name_.fail("read", EISDIR);
    ask_first_ = !is_stored(s);
    if (S_ISREG(s.st_mode)) expected_ = static_cast<std::size_t>(s.st_size);
    if (expected_ != 0) text_.reserve(expected_ + 1);  // one more to see the end
    if (expected_ >= large) ask_for_large_pages();
    return true;
  }

  // To be given memory in pages of 4 KiB costs more than to read a file that is in the page cache. Where it is refused, so be it.
  void ask_for_large_pages() noexcept {
    auto const page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    auto const begin = reinterpret_cast<std::uintptr_t>(text_.data());
    auto const first = (begin + page - 1) / page * page;
    auto const last = (begin + text_.capacity()) / page * page;
    static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
  }

  void read_large(io_task& task) {
    stream_reader from{file_.get(), {.direct_from = large}};
    for (;;) {
      if (task.stop_requested()) throw operation_cancelled{};
      make_room();
      auto const got = from.read(reinterpret_cast<std::byte*>(text_.data()) + size_, text_.size() - size_);
      if (from.error() != 0) name_.fail("read", from.error());
      if (got == 0) return;
      size_ += got;
    }
  }

  bool read_to_end(io_task& task, bool may_wait) {
    for (;;) {
      if (ask_first_ && !may_wait) return false;
      if (task.stop_requested()) throw operation_cancelled{};
      if (ask_first_) wait_until_readable(task);
      make_room();
      auto const room = text_.size() - size_;
      auto const got = ::read(file_.get(), text_.data() + size_, room);
      if (got > 0) {
        size_ += static_cast<std::size_t>(got);
        in_vain_ = 0;
        // All that it said to have, and it had no more: that is the end. (/proc and /sys say too little or too much.)
        if (static_cast<std::size_t>(got) < room && size_ == expected_) return true;
      } else if (got == 0) {
        return true;
      } else if (errno == EAGAIN && !ask_first_) {  // a file of the kernel's that waits for events, as /proc/kmsg does
        ask_first_ = true;
      } else if (errno == EAGAIN && ++in_vain_ > 1) {  // and one that cannot be asked
        if (!let_it_block(file_.get())) name_.fail("read", errno);
        ask_first_ = false;
      } else if (errno != EAGAIN && errno != EINTR) {
        name_.fail("read", errno);
      }
    }
  }

  void make_room() {
    if (size_ < text_.size()) return;
    if (text_.size() == text_.capacity()) text_.reserve(std::max(least, 2 * text_.capacity()));
    text_.resize(std::min(text_.size() + step, text_.capacity()));
  }

  // Of a FIFO also until it has been opened for writing.
  void wait_until_readable(io_task& task) {
    int const stop = task.stop_event();
    if (stop < 0) name_.fail("wait for", errno);
    pollfd both[] = {{file_.get(), POLLIN, 0}, {stop, POLLIN, 0}};
    if (retried([&] { return ::poll(both, 2, -1); }) < 0) name_.fail("wait for", errno);
    if (both[1].revents != 0) throw operation_cancelled{};
  }

  named_file name_;
  descriptor file_;
  bool ask_first_ = false;     // a read may find nothing yet
  unsigned in_vain_ = 0;       // how often it did, though we had asked, since the last bytes
  std::size_t expected_ = 0;   // what the file says that it has
  std::string text_;           // with room behind what was read
  std::size_t size_ = 0;       // what was read
};

// ---- write_file, append_file -----------------------------------------------------------------------------------------

class write_operation {
 public:
  using result = void;

  write_operation(std::filesystem::path path, file_bytes bytes, write_kind kind, durability how)
      : target_{kind == write_kind::append ? "errand::append_file" : "errand::write_file", std::move(path), kind, how},
        bytes_{std::move(bytes)},
        under_way_{bytes_.view().size()} {}

  bool carry_out(io_task&, bool may_wait) {
    if (!target_.open(may_wait)) return false;
    auto left = bytes_.view();
    target_.write(left);
    target_.finish();
    return true;
  }
  void take() noexcept {}

 private:
  write_target target_;
  file_bytes bytes_;
  bytes_under_way under_way_;
};

}  // namespace

future<std::string> start_read(std::filesystem::path from_file, std::source_location from) {
  return start_io<read_operation>(false, from, std::move(from_file));
}

future<void> start_write(std::filesystem::path to, file_bytes bytes, write_kind kind, durability how,
                         std::source_location from) {
  if (kind == write_kind::append && how == durability::atomic)
    throw std::invalid_argument{"errand::append_file(): to append cannot be atomic: only a whole file can be replaced"};
  return unless_too_much(start_io<write_operation>(true, from, std::move(to), std::move(bytes), kind, how));
}

}  // namespace errand::detail
