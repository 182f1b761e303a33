// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/auxiliary_file.hpp"

#include "bench/failure.hpp"

#include <cerrno>
#include <utility>

namespace bench {
namespace {

std::ofstream create(std::string const& path) {
  errno = 0;
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (!out) throw os_failure("write " + path, errno);
  return out;
}

}  // namespace

stream_file::stream_file(std::string path) : path_(std::move(path)), out_(create(path_)) {}

void stream_file::finish() {
  out_.close();
  // A stream keeps no reason, but the system call that failed has left it in errno.
  if (!out_) throw os_failure("write " + path_, errno != 0 ? errno : EIO);
}

}  // namespace bench
