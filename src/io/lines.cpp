// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `lines` is one who takes the chunks of line_chunks.hpp, one after the other. for_each_line and reduce_lines are a loop whose
// indices are runners: each takes pieces of the file until none is left. While the file is in the system's cache a runner reads
// its pieces itself, which never waits (RWF_NOWAIT), and copies them where they are used; as soon as one finds that it
// is not, what is left becomes chunks that are read ahead, and the runners share these.
#include <errand/detail/lines.hpp>

#include "io/line_chunks.hpp"
#include "sched/pool_core.hpp"
#include "sched/wait.hpp"
#include "task/stop.hpp"

#include <errand/group.hpp>

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <mutex>

namespace errand::detail {

// ---- lines -------------------------------------------------------------------------------------------------------------

namespace {

struct line_reader_of_file : line_reader {
  line_reader_of_file(std::filesystem::path path, std::source_location from) : chunks{std::move(path), from} {}
  line_chunks chunks;
  line_chunk chunk;
  std::exception_ptr error;  // that was thrown: there is nothing behind it
};

}  // namespace

line_reader* make_line_reader(std::filesystem::path path, std::source_location from) {
  return new line_reader_of_file{std::move(path), from};
}

bool next_chunk(line_reader& reader) {
  auto& self = static_cast<line_reader_of_file&>(reader);
  if (self.error != nullptr) std::rethrow_exception(self.error);  // else who asks again would take it for the end
  try {
    if (!self.chunks.next(self.chunk)) return false;
  } catch (operation_cancelled const&) {
    throw;
  } catch (...) {
    self.error = std::current_exception();
    throw;
  }
  self.rest = line_cursor{self.chunk.begin, self.chunk.end};
  return true;
}

void end_line_reader(line_reader* reader) noexcept {
  auto* const self = static_cast<line_reader_of_file*>(reader);
  // In the child of a fork the rest is a picture: a lock of it may be taken for ever.
  if (self->chunks.inherited()) return self->chunks.abandon();
  delete self;
}

// ---- for_each_line, reduce_lines -----------------------------------------------------------------------------------------

namespace {

// What a runner takes of a file in the cache: it goes through the processor's second-level cache, from the copy to the lines.
constexpr std::uint64_t piece_size = std::uint64_t{256} << 10;
// Read with it, so that the end of its last line is mostly there.
constexpr std::uint64_t slack = 4096;
// Runners, and so buffers.
constexpr std::uint64_t most_runners = 16;

struct line_job {
  line_job(std::filesystem::path const& path, void* with, chunk_body f, std::source_location at)
      : chunks{path, at}, context{with}, body{f}, from{at} {}

  line_chunks chunks;
  void* context;
  chunk_body body;
  std::source_location from;

  small_lock guard;
  std::uint64_t next_piece = 0;  // under guard: where the first begins that nobody has taken
  bool shared = false;           // under guard: the rest is to be had from `chunks`
};

// One index of the loop: takes pieces, then chunks.
class line_runner {
 public:
  line_runner(line_job& job, void*& own) noexcept : job_{job}, own_{own} {}

  void run() {
    for (std::uint64_t begin; take_piece(begin);) lines_of_piece(begin);
    if (!rest_is_shared()) return;
    line_chunk c;
    while (job_.chunks.next(c)) job_.body(job_.context, own_, c.begin, c.end);
  }

 private:
  bool take_piece(std::uint64_t& begin) {
    if (auto* const self = cancellable_task(); self != nullptr) throw_if_stopped(*self);
    std::lock_guard const held{job_.guard};
    if (job_.shared || job_.next_piece >= job_.chunks.size()) return false;
    begin = std::exchange(job_.next_piece, job_.next_piece + piece_size);
    return true;
  }

  bool rest_is_shared() noexcept {
    std::lock_guard const held{job_.guard};
    return job_.shared;
  }

  // From behind the piece's first newline to behind the first one after the piece; so a line that begins right where the piece
  // does is the one's before. Tempting: to look at the byte before. Fails because the system copies twice as fast from where
  // a page begins.
  void lines_of_piece(std::uint64_t begin) {
    auto const size = job_.chunks.size();
    base_ = begin;
    filled_ = 0;
    at_end_ = false;
    if (!buffer_) buffer_ = take_io_buffer();
    read_up_to(std::min(begin + piece_size + slack, size) - base_);

    char const* first = text();
    if (begin != 0) {
      first = after_first_newline(first, text() + filled_);
      if (first == nullptr || static_cast<std::uint64_t>(first - text()) > piece_size) return;  // it has none
    }
    auto const begins_at = first - text();
    auto searched = std::min(piece_size, filled_);
    char const* last = nullptr;
    for (std::uint64_t more = 4 * slack;; more *= 2) {
      last = after_first_newline(text() + searched, text() + filled_);
      if (last != nullptr || at_end_) break;
      searched = filled_;
      read_up_to(std::min(filled_ + more, size - base_));
    }
    if (last == nullptr) last = text() + filled_;
    first = text() + begins_at;
    if (first != last) job_.body(job_.context, own_, first, last);
    if (grown_.size() != 0) grown_ = {};
  }

  // Fewer bytes only at the end of the file.
  void read_up_to(std::uint64_t wanted) {
    if (wanted > io_buffer_size && grown_.size() < wanted) {
      bool const first = grown_.size() == 0;
      grown_.grow_to(wanted);
      if (first) std::memcpy(grown_.data(), buffer_.get(), filled_);
    }
    while (filled_ < wanted) {
      iovec const rest{text() + filled_, wanted - filled_};
      auto const n = ::preadv2(job_.chunks.descriptor(), &rest, 1, static_cast<off_t>(base_ + filled_), job_.chunks.no_wait());
      if (n == 0) break;
      if (n > 0)
        filled_ += static_cast<std::uint64_t>(n);
      else if (errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS)
        return read_elsewhere(wanted);
      else if (errno != EINTR)
        job_.chunks.name().fail("read lines of", errno);
    }
    at_end_ = filled_ < wanted || base_ + filled_ >= job_.chunks.size();
  }

  // What is not in the cache. From now on the file is read ahead.
  void read_elsewhere(std::uint64_t wanted) {
    bool start = false;
    {
      std::lock_guard const held{job_.guard};
      if (!job_.shared && job_.next_piece < job_.chunks.size()) {
        job_.shared = start = true;
        job_.chunks.expect(job_.next_piece, job_.chunks.size());
      }
    }
    if (start) job_.chunks.start();
    int error = 0;
    on_file_thread(
        [&]() noexcept {
          while (filled_ < wanted) {
            auto const n = ::pread(job_.chunks.descriptor(), text() + filled_, wanted - filled_,
                                   static_cast<off_t>(base_ + filled_));
            if (n == 0) return;
            if (n > 0)
              filled_ += static_cast<std::uint64_t>(n);
            else if (errno != EINTR)
              return static_cast<void>(error = errno);
          }
        },
        job_.from);
    if (error != 0) job_.chunks.name().fail("read lines of", error);
    at_end_ = filled_ < wanted || base_ + filled_ >= job_.chunks.size();
  }

  [[nodiscard]] char* text() const noexcept {
    return grown_.size() != 0 ? grown_.data() : reinterpret_cast<char*>(buffer_.get());
  }

  line_job& job_;
  void*& own_;
  io_buffer buffer_;
  grown_memory grown_;         // instead of the buffer, if a line needs it
  std::uint64_t base_ = 0;     // where in the file the text begins
  std::uint64_t filled_ = 0;   // how much of it there is
  bool at_end_ = false;        // there will be no more
};

void open_elsewhere(line_job& job) {
  std::exception_ptr error;
  on_file_thread(
      [&]() noexcept {
        try {
          job.chunks.open();
        } catch (...) {
          error = std::current_exception();
        }
      },
      job.from);
  if (error) std::rethrow_exception(error);
}

}  // namespace

void run_over_lines(place_core* where, std::filesystem::path const& path, void* context, chunk_body body,
                    std::source_location from) {
  line_job job{path, context, body, from};
  open_elsewhere(job);
  auto const size = job.chunks.size();
  std::uint64_t runners = where == nullptr ? 1 : std::min<std::uint64_t>(pool_of_loop(where)->width(), most_runners);
  if (size != 0) {
    runners = std::min(runners, (size + piece_size - 1) / piece_size);
  } else {
    job.shared = true;
    job.chunks.expect(0, 0);
    job.chunks.start();
  }
  run_loop(
      where, runners, &job,
      [](void* self, std::size_t, void*& own) { line_runner{*static_cast<line_job*>(self), own}.run(); }, from);
}

}  // namespace errand::detail
