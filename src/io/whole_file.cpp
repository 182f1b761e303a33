// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// read_file, write_file, append_file: each one operation, plain serial code on a file thread.
#include "base/descriptor.hpp"
#include "io/io_task.hpp"

#include <errand/io.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace errand::detail {

namespace {

// ---- what all of them need -------------------------------------------------------------------------------------------

// Calls a system call until no signal interrupts it.
template <class Call>
auto retried(Call call) noexcept {
  for (;;) {
    auto const result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// What a path means now: the program may change its directory before the file is opened.
std::string absolute(std::string const& path) {
  if (path.empty() || path.front() == '/') return path;
  std::unique_ptr<char, void (*)(void*)> const here{::get_current_dir_name(), &std::free};
  if (here == nullptr || *here != '/') return path;  // that directory is gone, or out of reach
  std::string whole{here.get()};
  if (whole.back() != '/') whole += '/';
  whole += path;
  constexpr std::size_t most = 4095;  // PATH_MAX, which counts what ends it
  return whole.size() <= most ? whole : path;
}

// A file by its path, and what is said when something with it fails.
class named_file {
 public:
  named_file(char const* operation, std::filesystem::path path)
      : operation_{operation}, path_{std::move(path)}, at_{absolute(path_.native())} {}

  [[noreturn]] void fail(char const* what, int error) const {
    throw std::filesystem::filesystem_error{std::string{operation_} + ": cannot " + what, path_,
                                            std::error_code{error, std::generic_category()}};
  }
  /// Where it is; throws if no path can say that.
  [[nodiscard]] std::string const& at() const {
    if (at_.find('\0') != std::string::npos) fail("open", EINVAL);
    return at_;
  }

 private:
  char const* operation_;
  std::filesystem::path path_;  // as the caller said it
  std::string at_;
};

// Reads and writes of what is stored end, sooner or later; those of a FIFO, a terminal, a socket need not.
bool is_stored(struct stat const& s) noexcept { return S_ISREG(s.st_mode) || S_ISBLK(s.st_mode); }

bool let_it_block(int fd) noexcept {
  int const flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

// ---- read_file -------------------------------------------------------------------------------------------------------

class read_operation {
 public:
  using result = std::string;

  explicit read_operation(std::filesystem::path path) : name_{"errand::read_file", std::move(path)} {}

  bool carry_out(io_task& task, bool may_wait) {
    if (!file_ && !open(may_wait)) return false;
    if (!read_to_end(task, may_wait)) return false;
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

// A file that is made beside another one, to take its place: gone again unless it does.
class stand_in {
 public:
  // Throws nothing; without a file if the system refuses.
  stand_in(int directory, mode_t mode) noexcept : directory_{directory} {
    static constinit std::atomic<unsigned> count{0};
    do {
      auto const n = count.fetch_add(1, std::memory_order_relaxed);
      std::snprintf(name_, sizeof name_, ".errand-%d-%u.tmp", static_cast<int>(::getpid()), n);
      file_ = descriptor{retried(
          [&] { return ::openat(directory_, name_, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode); })};
    } while (!file_ && errno == EEXIST);
    there_ = static_cast<bool>(file_);
  }
  ~stand_in() {
    if (there_) ::unlinkat(directory_, name_, 0);
  }
  stand_in(stand_in const&) = delete;
  stand_in& operator=(stand_in const&) = delete;

  [[nodiscard]] descriptor& file() noexcept { return file_; }
  [[nodiscard]] bool take_the_place_of(char const* name) noexcept {
    if (::renameat(directory_, name_, directory_, name) != 0) return false;
    there_ = false;
    return true;
  }

 private:
  int directory_;
  descriptor file_;
  bool there_ = false;
  char name_[48];
};

class write_operation {
 public:
  using result = void;

  write_operation(std::filesystem::path path, file_bytes bytes, write_kind kind, durability how)
      : name_{kind == write_kind::append ? "errand::append_file" : "errand::write_file", std::move(path)},
        bytes_{std::move(bytes)},
        kind_{kind},
        how_{how} {}

  bool carry_out(io_task&, bool may_wait) {
    if (how_ == durability::atomic) {
      replace();
      return true;
    }
    if (!file_ && !open(may_wait)) return false;
    if (!stored_ && !may_wait) return false;
    if (!stored_ && !let_it_block(file_.get())) name_.fail("write", errno);
    write_all(file_.get());
    if (how_ == durability::synced && stored_) sync(file_.get());
    close(file_);
    return true;
  }
  void take() noexcept {}

 private:
  // What one call of write() takes at most is a little less than 2 GiB.
  static constexpr std::size_t most_at_once = std::size_t{1} << 30;

  // False: the open itself would wait, because nobody reads the FIFO, or somebody holds a lease.
  bool open(bool may_wait) {
    int const flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (kind_ == write_kind::append ? O_APPEND : O_TRUNC) |
                      (may_wait ? 0 : O_NONBLOCK);
    char const* const at = name_.at().c_str();
    file_ = descriptor{retried([&] { return ::open(at, flags, 0666); })};
    if (!file_ && (errno == ENXIO || errno == EAGAIN) && !may_wait) return false;
    if (!file_) name_.fail("open", errno);
    struct stat s {};
    if (::fstat(file_.get(), &s) != 0) name_.fail("look at", errno);
    stored_ = is_stored(s);
    return true;
  }

  void write_all(int fd) const {
    for (auto left = bytes_.view(); !left.empty();) {
      auto const written = retried([&] { return ::write(fd, left.data(), std::min(left.size(), most_at_once)); });
      if (written < 0) name_.fail("write", errno);
      if (written == 0) name_.fail("write", EIO);  // else this would go on for ever
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  // What failed once is not tried again: the kernel may have forgotten the pages by then, and would say that all is well.
  void sync(int fd) const {
    if (retried([&] { return ::fdatasync(fd); }) != 0) name_.fail("sync", errno);
  }

  // Some file systems tell of a full disk only here. The descriptor is gone in any case.
  void close(descriptor& file) const {
    if (::close(file.release()) != 0 && errno != EINTR) name_.fail("close", errno);
  }

  // The file itself, wherever links lead, also one that there is not yet.
  [[nodiscard]] std::string behind_links() const {
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

  void replace() const {
    auto const at = behind_links();
    auto const name_begins = at.rfind('/') + 1;
    std::string const name = at.substr(name_begins);
    if (at.empty()) name_.fail("open", ENOENT);
    if (name.empty() || name == "." || name == "..") name_.fail("write", EISDIR);
    std::string const folder = name_begins == 0 ? "." : at.substr(0, name_begins);
    descriptor const directory{
        retried([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY); })};
    if (!directory) name_.fail("open the directory of", errno);

    struct stat before {};
    bool const there = ::fstatat(directory.get(), name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && errno != ENOENT) name_.fail("look at", errno);
    if (there && S_ISDIR(before.st_mode)) name_.fail("write", EISDIR);
    if (there && !S_ISREG(before.st_mode)) name_.fail("replace what is no regular file,", EINVAL);
    // A rename needs the directory's permission alone.
    if (there && ::faccessat(directory.get(), name.c_str(), W_OK, AT_EACCESS) != 0) name_.fail("write", errno);

    stand_in fresh{directory.get(), there ? mode_t{0600} : mode_t{0666}};
    if (!fresh.file()) name_.fail("make a temporary file beside", errno);
    if (there) take_after(before, fresh.file().get());
    write_all(fresh.file().get());
    sync(fresh.file().get());
    close(fresh.file());
    if (!fresh.take_the_place_of(name.c_str())) name_.fail("rename its successor to", errno);
    // Some file systems know no sync of directories.
    if (retried([&] { return ::fsync(directory.get()); }) != 0 && errno != EINVAL) name_.fail("sync the directory of", errno);
  }

  // Owner and mode. Who cannot give a file away keeps it, and does not make it run as himself.
  void take_after(struct stat const& before, int fd) const {
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

  named_file name_;
  file_bytes bytes_;
  write_kind kind_;
  durability how_;
  descriptor file_;
  bool stored_ = true;
};

}  // namespace

future<std::string> start_read(std::filesystem::path from_file, std::source_location from) {
  return start_io<read_operation>(false, from, std::move(from_file));
}

future<void> start_write(std::filesystem::path to, file_bytes bytes, write_kind kind, durability how,
                         std::source_location from) {
  if (kind == write_kind::append && how == durability::atomic)
    throw std::invalid_argument{"errand::append_file(): to append cannot be atomic: only a whole file can be replaced"};
  return start_io<write_operation>(true, from, std::move(to), std::move(bytes), kind, how);
}

}  // namespace errand::detail
