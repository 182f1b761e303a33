// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file descriptor with an owner. Small enough to have our own; for operations on files, and for
// the zygote's socket, the shared file and the bell.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace errand::detail {

class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// It belongs to the caller from now on.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

/// The same file under a number of its own: in a program that has closed one of its first three, the next descriptor that is
/// made takes its place, and what the program prints would be written into it. None, and errno, if the kernel refuses.
inline descriptor beyond_stderr(descriptor made) noexcept {
  if (made.get() > STDERR_FILENO || !made) return made;
  return descriptor(::fcntl(made.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

}  // namespace errand::detail
