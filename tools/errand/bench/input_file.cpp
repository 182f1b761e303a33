// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/input_file.hpp"

#include "bench/failure.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace bench {

input_file::input_file(std::string path) : path_(std::move(path)) {
  // Not blocking: a FIFO without a writer must be refused below, not waited for.
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) throw os_failure("read " + path_, errno);
  struct stat about {};
  bool const known = fstat(fd_, &about) == 0;
  if (!known || !S_ISREG(about.st_mode)) {
    int const error = errno;
    close(fd_);
    if (!known) throw os_failure("read " + path_, error);
    throw failure("cannot read " + path_ + ": " +
                  (S_ISDIR(about.st_mode) ? "it is a directory" : "it is not a regular file"));
  }
  size_ = static_cast<std::uint64_t>(about.st_size);
}

input_file::~input_file() { close(fd_); }

std::size_t input_file::read_at(std::uint64_t offset, std::span<char> buffer) const {
  std::size_t done = 0;
  while (done < buffer.size()) {
    ssize_t const n = pread(fd_, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_failure("read " + path_, errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace bench
