// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/target.hpp"

#include "sched/exit.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstdio>

namespace errand::detail {

class write_target::stand_in {
 public:
  stand_in() noexcept = default;
  ~stand_in() {
    if (there_) ::unlinkat(directory_, name_, 0);
  }
  stand_in(stand_in const&) = delete;
  stand_in& operator=(stand_in const&) = delete;

  // No file if the system refuses, and errno says why.
  [[nodiscard]] descriptor make(int directory, mode_t mode) noexcept {
    static constinit std::atomic<unsigned> count{0};
    directory_ = directory;
    descriptor file;
    do {
      auto const n = count.fetch_add(1, std::memory_order_relaxed);
      std::snprintf(name_, sizeof name_, ".errand-%d-%u.tmp", static_cast<int>(::getpid()), n);
      file = descriptor{
          retried([&] { return ::openat(directory_, name_, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode); })};
    } while (!file && errno == EEXIST);
    there_ = static_cast<bool>(file);
    return file;
  }
  [[nodiscard]] bool take_the_place_of(char const* name) noexcept {
    if (::renameat(directory_, name_, directory_, name) != 0) return false;
    there_ = false;
    return true;
  }

 private:
  int directory_ = -1;
  bool there_ = false;
  char name_[48] = {};
};

struct write_target::successor {
  descriptor directory;
  std::string name;
  stand_in fresh{};
};

write_target::write_target(char const* operation, std::filesystem::path path, write_kind kind, durability how)
    : name_{operation, std::move(path)}, kind_{kind}, how_{how} {}
write_target::~write_target() = default;

bool write_target::open(bool may_wait) {
  if (spoiled_ != 0) name_.fail(spoiled_by_, spoiled_);
  if (how_ == durability::atomic) {
    if (successor_ == nullptr) make_successor();
    return true;
  }
  if (!file_) {
    int const flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (kind_ == write_kind::append ? O_APPEND : O_TRUNC) |
                      (may_wait ? 0 : O_NONBLOCK);
    char const* const at = name_.at().c_str();
    file_ = descriptor{retried([&] { return ::open(at, flags, 0666); })};
    if (!file_ && (errno == ENXIO || errno == EAGAIN) && !may_wait) return false;
    if (!file_) name_.fail("open", errno);
    struct stat s {};
    if (::fstat(file_.get(), &s) != 0) name_.fail("look at", errno);
    stored_ = is_stored(s);
  }
  if (!stored_ && !may_wait) return false;
  if (!stored_ && !let_it_block(file_.get())) name_.fail("write", errno);
  return true;
}

void write_target::write(std::string_view& left) {
  if (!stream_ && stored_ && (left.size() >= large || written_ >= streamed_from)) begin_stream(left.size());
  if (stream_) return take(stream_->write(reinterpret_cast<std::byte const*>(left.data()), left.size()), left);
  while (!left.empty()) {
    auto const written = retried([&] { return ::write(file_.get(), left.data(), std::min(left.size(), large)); });
    if (written < 0) name_.fail("write", errno);
    if (written == 0) name_.fail("write", EIO);  // else this would go on for ever
    left.remove_prefix(static_cast<std::size_t>(written));
    written_ += static_cast<std::uint64_t>(written);
    is_getting_on();
  }
}

void write_target::write(io_buffer& buffer, std::string_view& left) {
  if (!stored_) return write(left);
  if (!stream_) begin_stream(left.size());
  take(stream_->write(buffer, left.size()), left);
}

void write_target::take(std::size_t by_the_stream, std::string_view& left) const {
  left.remove_prefix(by_the_stream);
  throw_error_of_stream();
}

void write_target::begin_stream(std::uint64_t expected) {
  stream_writer::settings settings{.offset = 0, .expected = expected, .direct_from = 0};
  if (kind_ == write_kind::append) {
    struct stat s {};
    if (::fstat(file_.get(), &s) != 0) name_.fail("look at", errno);
    settings.offset = static_cast<std::uint64_t>(s.st_size);
  } else {
    settings.offset = written_;
  }
  stream_.emplace(file_.get(), settings);
}

void write_target::throw_error_of_stream() const {
  if (stream_ && stream_->error() != 0) name_.fail("write", stream_->error());
}

bool write_target::await_one() {
  if (!stream_) return false;
  bool const was_one = stream_->await_one();
  throw_error_of_stream();
  return was_one;
}

void write_target::retry() {
  if (stream_ && !stream_->retry()) throw_error_of_stream();
}

void write_target::flush() {
  if (stream_ && !stream_->flush()) throw_error_of_stream();
}

void write_target::sync() {
  flush();
  if (how_ == durability::cached || !stored_) return;
  if (retried([&] { return ::fdatasync(file_.get()); }) != 0) fail_for_good("sync", errno);
}

void write_target::finish() {
  sync();
  stream_.reset();
  close();
  if (successor_ == nullptr) return;
  auto const made = std::move(successor_);
  if (!made->fresh.take_the_place_of(made->name.c_str())) fail_for_good("rename its successor to", errno);
  // Some file systems know no sync of directories.
  if (retried([&] { return ::fsync(made->directory.get()); }) != 0 && errno != EINVAL)
    fail_for_good("sync the directory of", errno);
}

// After a sync that failed the kernel may have forgotten the pages, and would say the next time that all is well.
void write_target::fail_for_good(char const* what, int error) {
  spoiled_by_ = what;
  spoiled_ = error;
  name_.fail(what, error);
}

// Some file systems tell of a full disk only here. The descriptor is gone in any case.
void write_target::close() {
  if (::close(file_.release()) != 0 && errno != EINTR) fail_for_good("close", errno);
}

// The file itself, wherever links lead, also one that there is not yet.
std::string write_target::behind_links() const {
  constexpr int most = 40;  // as many as the kernel follows
  std::string at = name_.at();
  for (int i = 0; i <= most; ++i) {
    char target[4096];
    auto const size = ::readlink(at.c_str(), target, sizeof target);
    if (size < 0) return at;  // no link; if something is wrong with it, the next call says so
    std::string_view const leads_to{target, static_cast<std::size_t>(size)};
    if (leads_to.starts_with('/'))
      at = leads_to;
    else
      at.replace(at.rfind('/') + 1, std::string::npos, leads_to);  // or all of it, if it has no slash
  }
  name_.fail("open", ELOOP);
}

void write_target::make_successor() {
  auto const at = behind_links();
  auto const name_begins = at.rfind('/') + 1;
  std::string name = at.substr(name_begins);
  if (at.empty()) name_.fail("open", ENOENT);
  if (name.empty() || name == "." || name == "..") name_.fail("write", EISDIR);
  std::string const folder = name_begins == 0 ? "." : at.substr(0, name_begins);
  descriptor directory{
      retried([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY); })};
  if (!directory) name_.fail("open the directory of", errno);

  struct stat before {};
  bool const there = ::fstatat(directory.get(), name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && errno != ENOENT) name_.fail("look at", errno);
  if (there && S_ISDIR(before.st_mode)) name_.fail("write", EISDIR);
  if (there && !S_ISREG(before.st_mode)) name_.fail("replace what is no regular file,", EINVAL);
  // A rename needs the directory's permission alone.
  if (there && ::faccessat(directory.get(), name.c_str(), W_OK, AT_EACCESS) != 0) name_.fail("write", errno);

  auto made = std::make_unique<successor>(std::move(directory), std::move(name));
  descriptor file = made->fresh.make(made->directory.get(), there ? mode_t{0600} : mode_t{0666});
  if (!file) name_.fail("make a temporary file beside", errno);
  if (there) take_after(before, file.get());
  file_ = std::move(file);
  successor_ = std::move(made);
}

// Owner and mode. Who cannot give a file away keeps it, and does not make it run as himself.
void write_target::take_after(struct stat const& before, int fd) const {
  struct stat own {};
  if (::fstat(fd, &own) != 0) name_.fail("look at the successor of", errno);
  mode_t mode = before.st_mode & 07777;
  bool const same = own.st_uid == before.st_uid && own.st_gid == before.st_gid;
  if (!same && ::fchown(fd, before.st_uid, before.st_gid) != 0) {
    mode &= 0777;
    if (own.st_gid != before.st_gid && ::fchown(fd, static_cast<uid_t>(-1), before.st_gid) != 0)
      mode &= ~mode_t{070} | (mode << 3U & 070);  // another group gets no more than everybody
  }
  if (::fchmod(fd, mode) != 0) name_.fail("give its mode to the successor of", errno);
}

}  // namespace errand::detail
