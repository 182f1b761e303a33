// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A regular file open for reading at any offset, with errors that name it. Verification reads
// outputs through it, the parallel text analysis its pieces. Shared freely between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace bench {

class input_file {
 public:
  explicit input_file(std::string path);  // throws failure, also if it is a directory or a device
  ~input_file();
  input_file(input_file const&) = delete;
  input_file& operator=(input_file const&) = delete;

  std::string const& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  // Fills the buffer from `offset`; returns fewer bytes only at the end of the file.
  std::size_t read_at(std::uint64_t offset, std::span<char> buffer) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace bench
