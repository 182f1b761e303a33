// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/memory_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <system_error>

#include "base/descriptor.hpp"

namespace errand::detail {

namespace {

// MADV_POPULATE_READ, which older headers lack.
constexpr int populate_read = 22;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::system_category(), what); }

// Under a limit of the files' size (RLIMIT_FSIZE) the kernel sends a signal beside the error, which would end the program
// for processes that it perhaps never uses: it is taken back.
int resize(int fd, off_t length) noexcept {
  sigset_t only{};
  sigset_t before{};
  sigemptyset(&only);
  sigaddset(&only, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &only, &before);
  int const result = ::ftruncate(fd, length);
  int const error = errno;
  timespec const at_once{};
  if (result != 0 && error == EFBIG && sigismember(&before, SIGXFSZ) == 0) ::sigtimedwait(&only, nullptr, &at_once);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return result;
}

}  // namespace

memory_file memory_file::create() {
  descriptor made = beyond_stderr(descriptor(::memfd_create("errand", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!made) fail("errand: cannot make memory to share with worker processes (memfd_create)");
  const auto length = static_cast<off_t>(slot_bytes * (1 + ring_slots + arena_slots));
  if (resize(made.get(), length) != 0)
    fail("errand: cannot size the memory shared with worker processes (ftruncate)");
  if (::fcntl(made.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0)
    fail("errand: cannot seal the memory shared with worker processes (F_SEAL_SHRINK)");
  return {made.release(), false};
}

memory_file memory_file::inherited(int fd) noexcept { return {fd, true}; }

memory_file::memory_file(int fd, bool zygote_has_it) noexcept : fd_(fd), at_first_(fd), zygote_has_it_(zygote_has_it) {
  struct stat found{};
  if (::fstat(fd, &found) != 0) return;  // then it is never ours
  device_ = found.st_dev;
  inode_ = found.st_ino;
}

memory_file::memory_file(memory_file&& other) noexcept
    : fd_(other.fd_.exchange(-1, std::memory_order_relaxed)),
      at_first_(other.at_first_),
      zygote_has_it_(other.zygote_has_it_),
      device_(other.device_),
      inode_(other.inode_) {}

// What is not ours any more is not ours to close.
void memory_file::forget() noexcept {
  int const fd = fd_.exchange(-1, std::memory_order_relaxed);
  if (is_ours(fd)) ::close(fd);
}

bool memory_file::is_ours(int fd) const noexcept {
  struct stat found{};
  return fd >= 0 && ::fstat(fd, &found) == 0 && found.st_dev == device_ && found.st_ino == inode_;
}

int memory_file::fd() const noexcept {
  int const fd = fd_.load(std::memory_order_relaxed);
  if (is_ours(fd)) return fd;
  return zygote_has_it_ && fd >= 0 ? open_anew(fd) : -1;
}

int memory_file::open_anew(int lost) const noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd/%d", ::getppid(), at_first_);
  descriptor found = beyond_stderr(descriptor(::open(path, O_RDWR | O_CLOEXEC)));
  if (!is_ours(found.get())) return -1;
  // Another thread may have been faster.
  if (!fd_.compare_exchange_strong(lost, found.get(), std::memory_order_relaxed)) return lost;
  return found.release();
}

namespace {

// What the system could still give out; unlimited if it does not say. Tempting: to let fallocate() find out. Fails
// because it finds out when all memory is gone, and then somebody is killed.
std::uint64_t available_memory() noexcept {
  constexpr auto unlimited = ~std::uint64_t{0};
  descriptor const file(::open("/proc/meminfo", O_RDONLY | O_CLOEXEC));
  char text[512];
  ssize_t const got = file ? ::read(file.get(), text, sizeof text - 1) : -1;
  if (got <= 0) return unlimited;
  text[got] = '\0';
  char const* const line = std::strstr(text, "MemAvailable:");
  return line == nullptr ? unlimited : std::strtoull(line + sizeof "MemAvailable:" - 1, nullptr, 10) * 1024;
}

[[noreturn]] void fail_to_reserve(std::size_t bytes, int error) {
  throw std::system_error(error, std::system_category(),
                          "errand: no " + std::to_string(bytes) + " bytes of memory to share with another process");
}

}  // namespace

void require_open(int fd) {
  if (fd < 0)
    throw std::system_error(EBADF, std::system_category(),
                            "errand: this process has closed the descriptor of the memory that it shares with other processes");
}

void reserve_shared(int fd, std::uint64_t offset, std::size_t bytes) {
  require_open(fd);
  if (bytes > available_memory()) fail_to_reserve(bytes, ENOMEM);
  int result;
  do result = ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  while (result != 0 && errno == EINTR);
  if (result == 0) return;
  int const reason = errno;
  discard_shared(fd, offset, bytes);
  fail_to_reserve(bytes, reason);
}

void discard_shared(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept {
  // If the kernel declines, the memory is merely kept until the program ends.
  (void)::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(bytes));
}

bool is_reserved(int fd, std::uint64_t offset, std::size_t bytes) {
  require_open(fd);
  off_t const hole = ::lseek(fd, static_cast<off_t>(offset), SEEK_HOLE);
  return hole >= 0 && static_cast<std::uint64_t>(hole) >= offset + bytes;
}

bool is_untouched(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept {
  off_t const data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  return data < 0 ? errno == ENXIO : static_cast<std::uint64_t>(data) >= offset + bytes;
}

std::byte* map_shared(int fd, std::uint64_t offset, std::size_t bytes, access how) {
  require_open(fd);
  void* const at = ::mmap(nullptr, bytes, how == access::read ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                          static_cast<off_t>(offset));
  if (at == MAP_FAILED) {
    int const reason = errno;
    throw std::system_error(reason, std::system_category(),
                            "errand: cannot map " + std::to_string(bytes) + " bytes shared with another process");
  }
  // Tempting: MAP_POPULATE. Fails because it writes to writable memory, a page at a time: six times as long. What a kernel
  // before 5.14 does not know is mapped as it is touched.
  (void)::madvise(at, bytes, populate_read);
  return static_cast<std::byte*>(at);
}

file_view::file_view(int fd, std::uint64_t offset, std::size_t bytes)
    : data_(map_shared(fd, offset, bytes, access::read)), bytes_(bytes) {}

file_view::~file_view() { ::munmap(const_cast<std::byte*>(data_), bytes_); }

}  // namespace errand::detail
