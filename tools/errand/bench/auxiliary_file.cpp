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

// A stream keeps no reason, but the system call that failed has left it in errno.
void require(std::ofstream const& out, std::string const& path) {
  if (!out) throw os_failure("write " + path, errno != 0 ? errno : EIO);
}

}  // namespace

stream_file::stream_file(std::string path) : path_(std::move(path)), out_(create(path_)) {}

void stream_file::check() const { require(out_, path_); }

void stream_file::finish() {
  out_.close();
  check();
}

handed_off_file::handed_off_file(std::string path) : path_(std::move(path)), out_(create(path_)) {
  filling_.reserve(buffer_size + buffer_size / 16);
  writing_.reserve(filling_.capacity());
}

handed_off_file::~handed_off_file() {
  // Only after a failure is a write still on its way here. It must end before its buffer does, and
  // what becomes of it no longer matters: the first failure is the one that is told.
  if (on_its_way_.valid()) static_cast<void>(on_its_way_.result());
}

void handed_off_file::hand_off() {
  if (on_its_way_.valid()) on_its_way_.get();
  std::swap(filling_, writing_);
  filling_.clear();
  on_its_way_ = errand::async([this] {
    out_.write(writing_.data(), static_cast<std::streamsize>(writing_.size()));
    require(out_, path_);
  });
}

void handed_off_file::finish() {
  hand_off();
  on_its_way_.get();
  out_.close();
  require(out_, path_);
}

}  // namespace bench
