// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What can be asked of an open file, one by one: reads, writes, appends and syncs as requests of its core; to open, to close,
// the size and its change as operations of the file threads.
#include "io/file_core.hpp"
#include "io/under_way.hpp"

#include <errand/io.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

namespace errand::detail {

struct file_access {
  static file make(shared_file core) noexcept { return file{std::move(core)}; }
};

namespace {

// ---- requests as records -------------------------------------------------------------------------------------------------

// What `Operation` is: a file_request without its result, with
//   using result = …;
//   result take()             the result, once, when all is done
//   void let_go()             of memory that nobody needs after the end
template <class Operation>
class request_record final : public result_record<typename Operation::result>, public Operation {
  using result = typename Operation::result;

 public:
  template <class... From>
  request_record(std::source_location from, file_use use, From&&... with)
      : result_record<result>{&act, from},
        Operation{static_cast<record&>(*this), std::move(use), std::forward<From>(with)...} {}
  using Operation::start;

  void keep_result() noexcept override {
    this->set_value_from([this]() -> result { return Operation::take(); });
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<request_record*>(base);
    if (verb == record_verb::drop) self->drop_value();
    if (verb == record_verb::destroy) {
      self->~request_record();
      deallocate_record(self, sizeof(request_record));
    }
    return true;  // it runs elsewhere
  }
  void let_go_of_memory() noexcept override { Operation::let_go(); }
};

template <class Operation, class... From>
[[nodiscard]] future<typename Operation::result> start_request(shared_file const& f, bool kept, std::source_location from,
                                                               From&&... with) {
  auto* const r = make_record<request_record<Operation>>(from, file_use{f}, std::forward<From>(with)...);
  auto handle = future_access::make<typename Operation::result>(r);
  r->start(kept);
  return handle;
}

// ---- reads -------------------------------------------------------------------------------------------------------------

class read_request : public file_request {
 protected:
  read_request(record& self, file_use use, std::uint64_t from) noexcept
      : file_request{self, std::move(use), lane::any_order}, from_{from} {}

  // The place of the next step.
  void go_to(std::size_t done) {
    if (from_ > INT64_MAX || done > INT64_MAX - from_) file().name().fail("read", EINVAL);
    if (done != 0 && stop_requested()) throw operation_cancelled{};
    offset = from_ + done;
  }
  // How many bytes; none: the end.
  [[nodiscard]] std::size_t checked(std::int64_t got) const {
    if (got < 0) file().name().fail("read", static_cast<int>(-got));
    ended_ = got == 0;
    return static_cast<std::size_t>(got);
  }
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] std::uint64_t from() const noexcept { return from_; }

 private:
  std::uint64_t const from_;
  mutable bool ended_ = false;
};

// A string that grows as the bytes come: so many may have been asked for that they would not fit into memory.
class read_text : public read_request {
 public:
  using result = std::string;

 protected:
  read_text(record& self, file_use use, std::uint64_t from, std::size_t wanted)
      : read_request{self, std::move(use), from}, wanted_{wanted} {
    if (wanted_ <= step) text_.resize(wanted_);
  }

  bool next_step() override {
    if (ended() || done_ == wanted_) {
      text_.resize(done_);
      return false;
    }
    go_to(done_);
    if (done_ == text_.size()) make_room();
    data = reinterpret_cast<std::byte*>(text_.data()) + done_;
    size = text_.size() - done_;
    return true;
  }
  void take_result(std::int64_t got) override { done_ += checked(got); }
  std::string take() noexcept { return std::move(text_); }
  void let_go() noexcept { std::string{}.swap(text_); }

 private:
  // So much at a time, that a large read of what is in memory does not hold up others for long.
  static constexpr std::size_t step = std::size_t{1} << 20;

  void make_room() {
    if (text_.empty()) {
      struct stat s {};
      if (::fstat(file().fd(), &s) != 0) file().name().fail("look at", errno);
      auto const there = static_cast<std::uint64_t>(s.st_size);
      if (there > from()) text_.reserve(std::min<std::uint64_t>(wanted_, there - from()));
    }
    text_.resize(std::min(wanted_, done_ + step));
  }

  std::size_t const wanted_;
  std::size_t done_ = 0;
  std::string text_;
};

template <read_buffer Buffer>
void show_memory(io_parts& parts, Buffer& buffer) {
  parts.add(buffer.data(), buffer.size());
}
template <read_buffer Buffer>
void show_memory(io_parts& parts, std::vector<Buffer>& buffers) {
  parts.reserve(buffers.size());
  for (auto& each : buffers) parts.add(each.data(), each.size());
}
// Cuts off what was not read; what is left of `done` behind it.
template <read_buffer Buffer>
std::size_t cut(Buffer& buffer, std::size_t done) noexcept {
  auto const here = std::min(done, buffer.size());
  buffer.resize(here);
  return done - here;
}
template <read_buffer Buffer>
std::size_t cut(std::vector<Buffer>& buffers, std::size_t done) noexcept {
  for (auto& each : buffers) done = cut(each, done);
  return done;
}

template <class Buffers>
class read_into : public read_request {
 public:
  using result = Buffers;

 protected:
  read_into(record& self, file_use use, std::uint64_t from, Buffers buffers)
      : read_request{self, std::move(use), from}, buffers_{std::move(buffers)} {
    show_memory(parts_, buffers_);
  }

  bool next_step() override {
    if (ended() || parts_.left() == 0) return false;
    go_to(parts_.done());
    parts_.show(*this);
    return true;
  }
  void take_result(std::int64_t got) override { parts_.pass(checked(got)); }
  Buffers take() noexcept {
    static_cast<void>(cut(buffers_, parts_.done()));
    return std::move(buffers_);
  }
  void let_go() noexcept { Buffers{}.swap(buffers_); }

 private:
  Buffers buffers_;
  io_parts parts_;
};

// ---- writes ------------------------------------------------------------------------------------------------------------

class write_request : public file_request {
 public:
  using result = void;

 protected:
  write_request(record& self, file_use use, lane which, std::uint64_t to, std::vector<file_bytes> pieces)
      : file_request{self, std::move(use), which}, to_{to}, pieces_{std::move(pieces)} {
    parts_.reserve(pieces_.size());
    for (auto const& each : pieces_) parts_.add(each.view().data(), each.view().size());
    way = direction::write;
    under_way_.add(parts_.left());
  }
  write_request(record& self, file_use use, std::uint64_t to, std::vector<file_bytes> pieces)
      : write_request{self, std::move(use), lane::any_order, to, std::move(pieces)} {}

  bool next_step() override {
    // The system would write behind the end, and say that all is well; and that it is, of nothing.
    if (file().how() == open_mode::append || file().how() == open_mode::read) fail(EBADF);
    if (parts_.left() == 0) return false;
    if (to_ > INT64_MAX || parts_.done() > INT64_MAX - to_) fail(EINVAL);
    offset = to_ + parts_.done();
    parts_.show(*this);
    return true;
  }
  void take_result(std::int64_t put) override {
    if (put < 0) fail(static_cast<int>(-put));
    if (put == 0) fail(EIO);  // else this would go on for ever
    parts_.pass(static_cast<std::size_t>(put));
  }
  [[nodiscard]] io_parts const& to_append() const noexcept override { return parts_; }
  void take() noexcept {}
  void let_go() noexcept {
    std::vector<file_bytes>{}.swap(pieces_);
    under_way_.remove(under_way_.count());
  }

 private:
  [[noreturn]] void fail(int error) const {
    try {
      file().name().fail("write", error);
    } catch (std::filesystem::filesystem_error const& e) {
      auto const all = parts_.done() + parts_.left();
      throw write_error{"errand::file: cannot write: " + std::to_string(parts_.done()) + " of " + std::to_string(all) +
                            " bytes were written",
                        e.path1(), e.code(), parts_.done()};
    }
  }

  std::uint64_t const to_;
  std::vector<file_bytes> pieces_;
  io_parts parts_;
  bytes_under_way under_way_;
};

class append_request : public write_request {
 protected:
  append_request(record& self, file_use use, std::vector<file_bytes> pieces)
      : write_request{self, std::move(use), lane::append, 0, std::move(pieces)} {}
};

class sync_request : public file_request {
 public:
  using result = void;

 protected:
  sync_request(record& self, file_use use) noexcept : file_request{self, std::move(use), lane::sync} {}
  // It has no steps of its own: file_core::sync_for_all().
  bool next_step() override { return false; }
  void take_result(std::int64_t) override {}
  void take() noexcept {}
  void let_go() noexcept {}
};

// ---- operations of the file threads ----------------------------------------------------------------------------------------

class open_operation {
 public:
  using result = file;

  open_operation(std::filesystem::path path, open_mode how, std::source_location from)
      : name_{"errand::file", std::move(path)}, how_{how}, from_{from} {}

  // False: somebody holds a lease.
  bool carry_out(io_task&, bool may_wait) {
    char const* const at = name_.at().c_str();
    descriptor opened{retried([&] { return ::open(at, flags(), 0666); })};
    if (!opened && errno == EAGAIN && !may_wait) return false;
    if (!opened && errno == EAGAIN) opened = descriptor{retried([&] { return ::open(at, flags() & ~O_NONBLOCK, 0666); })};
    struct stat s {};
    if (!opened && errno == ENXIO && ::stat(at, &s) == 0 && (S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode)))
      has_no_places();
    if (!opened) name_.fail("open", errno);
    if (::fstat(opened.get(), &s) != 0) name_.fail("look at", errno);
    if (S_ISDIR(s.st_mode)) name_.fail("open", EISDIR);
    if (::lseek(opened.get(), 0, SEEK_CUR) < 0) has_no_places();
    if (!let_it_block(opened.get())) name_.fail("open", errno);
    opened_ = std::make_shared<file_core>(std::move(name_), std::move(opened), how_, is_stored(s), from_);
    return true;
  }
  file take() noexcept { return file_access::make(std::move(opened_)); }

 private:
  // O_NONBLOCK: a FIFO, which is to be refused, is not waited for.
  [[nodiscard]] int flags() const noexcept {
    constexpr int all = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    switch (how_) {
      case open_mode::read:
        return all | O_RDONLY;
      case open_mode::write:
        return all | O_WRONLY | O_CREAT | O_TRUNC;
      case open_mode::update:
        return all | O_RDWR | O_CREAT;
      case open_mode::append:
        return all | O_WRONLY | O_CREAT | O_APPEND;
    }
    fatal("errand::file: no such open_mode");
  }
  [[noreturn]] void has_no_places() const { name_.fail("read or write at places of", ESPIPE); }

  named_file name_;
  open_mode how_;
  std::source_location from_;
  shared_file opened_;
};

class resize_operation {
 public:
  using result = void;
  resize_operation(file_use use, std::uint64_t size) noexcept : use_{std::move(use)}, size_{size} {}
  bool carry_out(io_task&, bool) {
    if (use_->how() == open_mode::read) use_->name().fail("resize", EBADF);  // EINVAL, as the system says it
    if (size_ > INT64_MAX) use_->name().fail("resize", EFBIG);
    if (retried([this] { return ::ftruncate(use_->fd(), static_cast<off_t>(size_)); }) != 0)
      use_->name().fail("resize", errno);
    return true;
  }
  void take() noexcept {}

 private:
  file_use use_;
  std::uint64_t size_;
};

class size_operation {
 public:
  using result = std::uint64_t;
  explicit size_operation(file_use use) noexcept : use_{std::move(use)} {}
  bool carry_out(io_task&, bool) {
    struct stat s {};
    if (::fstat(use_->fd(), &s) != 0) use_->name().fail("look at", errno);
    size_ = static_cast<std::uint64_t>(s.st_size);
    return true;
  }
  std::uint64_t take() noexcept { return size_; }

 private:
  file_use use_;
  std::uint64_t size_ = 0;
};

// No file_use: it begins when the last of them is gone. If it is stopped, it closes the file all the same, and says nothing.
class close_operation {
 public:
  using result = void;
  explicit close_operation(shared_file core) noexcept : core_{std::move(core)} {}
  ~close_operation() { core_->close_unheard(); }
  close_operation(close_operation const&) = delete;
  close_operation& operator=(close_operation const&) = delete;
  bool carry_out(io_task&, bool) {
    core_->close();
    return true;
  }
  void take() noexcept {}

 private:
  shared_file core_;
};

std::vector<file_bytes> one_piece(file_bytes bytes) {
  std::vector<file_bytes> made;
  made.push_back(std::move(bytes));
  return made;
}

}  // namespace

// ---- what the header calls -------------------------------------------------------------------------------------------------

future<file> start_open(std::filesystem::path path, open_mode how, std::source_location from) {
  return start_io<open_operation>(false, from, std::move(path), how, from);
}

future<std::string> start_read_at(shared_file const& f, std::uint64_t offset, std::size_t size, std::source_location from) {
  return start_request<read_text>(f, false, from, offset, size);
}

template <class Buffers>
future<Buffers> start_read_into(shared_file const& f, std::uint64_t offset, Buffers buffers, std::source_location from) {
  return start_request<read_into<Buffers>>(f, false, from, offset, std::move(buffers));
}

future<void> start_write_at(shared_file const& f, std::uint64_t offset, std::vector<file_bytes> pieces,
                            std::source_location from) {
  return unless_too_much(start_request<write_request>(f, true, from, offset, std::move(pieces)));
}
future<void> start_write_at(shared_file const& f, std::uint64_t offset, file_bytes bytes, std::source_location from) {
  return start_write_at(f, offset, one_piece(std::move(bytes)), from);
}

future<void> start_append(shared_file const& f, std::vector<file_bytes> pieces, std::source_location from) {
  return unless_too_much(start_request<append_request>(f, true, from, std::move(pieces)));
}
future<void> start_append(shared_file const& f, file_bytes bytes, std::source_location from) {
  return start_append(f, one_piece(std::move(bytes)), from);
}

future<void> start_sync(shared_file const& f, std::source_location from) {
  return start_request<sync_request>(f, true, from);
}

future<void> start_resize(shared_file const& f, std::uint64_t size, std::source_location from) {
  return start_io<resize_operation>(true, from, file_use{f}, size);
}

future<std::uint64_t> start_size(shared_file const& f, std::source_location from) {
  return start_io<size_operation>(false, from, file_use{f});
}

future<void> start_close(shared_file const& f, std::source_location from) {
  f->forbid();
  io_record<close_operation>* r = nullptr;
  try {
    r = make_record<io_record<close_operation>>(from, f);
  } catch (...) {
    f->allow();
    throw;
  }
  r->begin(true);
  auto handle = future_access::make<void>(r);
  f->close_by(*r);
  return handle;
}

void drop_file(shared_file&& f) noexcept {
  auto const dropped = std::move(f);
  if (dropped->inherited()) return;
  try {
    static_cast<void>(start_close(dropped, dropped->from()));
  } catch (std::logic_error const&) {  // it is closed already
  } catch (std::bad_alloc const&) {    // then the descriptor goes with the last operation
  }
}

// The buffers that <errand/detail/file.hpp> promises.
#define ERRAND_READ_INTO(Buffer)                                                                               \
  template future<Buffer> start_read_into(shared_file const&, std::uint64_t, Buffer, std::source_location);     \
  template future<std::vector<Buffer>> start_read_into(shared_file const&, std::uint64_t, std::vector<Buffer>, \
                                                       std::source_location)
ERRAND_READ_INTO(std::string);
ERRAND_READ_INTO(std::vector<char>);
ERRAND_READ_INTO(std::vector<signed char>);
ERRAND_READ_INTO(std::vector<unsigned char>);
ERRAND_READ_INTO(std::vector<char8_t>);
ERRAND_READ_INTO(std::vector<std::byte>);
#undef ERRAND_READ_INTO

}  // namespace errand::detail

namespace errand {

future<file> file::open(std::filesystem::path path, open_mode how, std::source_location from) {
  return detail::start_open(std::move(path), how, from);
}

file::file(std::filesystem::path path, open_mode how, std::source_location from)
    : file{open(std::move(path), how, from).get()} {}

detail::shared_file const& file::core() const {
  if (core_ == nullptr) throw std::logic_error{"errand::file: there is no file (it was moved away)"};
  return core_;
}

}  // namespace errand
