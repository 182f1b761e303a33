// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "output.hpp"

#include "bench/failure.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace bench {
namespace {

// A terminal, a pipe or /dev/null is written as it is; only files are replaced.
bool is_special(std::string const& path) {
  struct stat about {};
  return stat(path.c_str(), &about) == 0 && !S_ISREG(about.st_mode);
}

}  // namespace

output::output(std::string path) : path_(std::move(path)), fd_(STDOUT_FILENO) {
  if (path_.empty()) return;
  constexpr mode_t readable_by_all = 0644;
  if (is_special(path_)) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    temporary_ = path_ + ".part";
    fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, readable_by_all);
  }
  if (fd_ < 0) throw os_failure("write " + path_, errno);
}

output::~output() {
  if (fd_ != STDOUT_FILENO) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void output::write(std::string const& text) {
  for (std::size_t done = 0; done < text.size();) {
    ssize_t const n = ::write(fd_, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_failure("write " + name(), errno);
    done += static_cast<std::size_t>(n);
  }
  if (temporary_.empty()) return;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) throw os_failure("write " + path_, errno);
  temporary_.clear();
}

}  // namespace bench
