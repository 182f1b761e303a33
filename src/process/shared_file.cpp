// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/shared_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <system_error>

namespace errand::detail {

namespace {

// At least a page on every machine; keeps two messages off one page.
constexpr std::uint64_t place_alignment = 64 * 1024;

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

shared_file shared_file::create() {
  shared_file file;
  file.fd_ = descriptor(::memfd_create("errand", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.fd_) fail("errand: cannot make memory to share with worker processes (memfd_create)");
  const auto length = static_cast<off_t>(slot_bytes * (1 + ring_slots + large_slots));
  if (resize(file.fd(), length) != 0)
    fail("errand: cannot size the memory shared with worker processes (ftruncate)");
  if (::fcntl(file.fd(), F_ADD_SEALS, F_SEAL_SHRINK) != 0)
    fail("errand: cannot seal the memory shared with worker processes (F_SEAL_SHRINK)");
  return file;
}

void shared_file::discard(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  // If the kernel declines, the memory is merely kept until the slot is used again.
  (void)::fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(bytes));
}

// Not the very first place: zero stands for none.
large_places::large_places(std::uint64_t slot) noexcept
    : base_(shared_file::slot_bytes * slot), used_(place_alignment) {}

std::uint64_t large_places::take(std::uint64_t bytes) noexcept {
  const std::uint64_t room = (bytes + place_alignment - 1) / place_alignment * place_alignment;
  if (used_ + room > shared_file::slot_bytes) used_ = place_alignment;
  const std::uint64_t place = base_ + used_;
  used_ += room;
  return place;
}

file_view::file_view(int fd, std::uint64_t offset, std::size_t bytes) : data_(nullptr), bytes_(bytes) {
  void* const at =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) fail("errand: cannot map a large message of a worker process");
  data_ = static_cast<std::byte*>(at);
}

file_view::~file_view() { ::munmap(data_, bytes_); }

}  // namespace errand::detail
