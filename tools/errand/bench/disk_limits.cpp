// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/disk_limits.hpp"

#include "bench/direct_disk.hpp"
#include "bench/failure.hpp"
#include "bench/input_file.hpp"
#include "bench/interrupt.hpp"
#include "bench/kernel.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

namespace bench {
namespace {

// Bytes per second of what `work` does, or 0 if the file system refuses it.
template <class Work>
double rate(std::uint64_t bytes, Work const& work) {
  double const begin = now();
  try {
    work();
  } catch (failure const&) {
    check_interrupt();
    return 0;
  }
  return static_cast<double>(bytes) / (now() - begin);
}

}  // namespace

double read_through(std::string const& path, std::uint64_t most) {
  input_file const file(path);
  std::vector<char> block(1 << 20);
  double const begin = now();
  for (std::uint64_t at = 0; at < std::min(file.size(), most);) {
    std::size_t const n = file.read_at(at, block);
    if (n == 0) break;
    at += n;
    check_interrupt();
  }
  return now() - begin;
}

void drop_from_cache(std::string const& path) {
  int const fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw os_failure("read " + path, errno);
  fdatasync(fd);  // what is dirty cannot be dropped; if that fails, or is not ours to ask, it stays
  int const error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
  if (error != 0) throw os_failure("drop " + path + " from the page cache", error);
}

disk_limits measure_limits(std::string const& text, std::string const& scratch, bool cached) {
  std::uint64_t const bytes = std::min(input_file(text).size(), most_of_a_limit);
  disk_limits limits;
  if (bytes == 0) return limits;
  if (cached) {
    read_through(text, bytes);
    limits.cached_read = static_cast<double>(bytes) / read_through(text, bytes);
  }
  limits.direct_read = rate(bytes, [&] { read_directly(text, bytes, [](char const*, std::uint64_t) {}); });
  std::uint64_t const blocks = (bytes + direct_block - 1) / direct_block;
  limits.direct_write = rate(blocks * direct_block, [&] {
    write_directly(
        scratch, blocks, [](char* buffer) { std::memset(buffer, 'x', direct_block); }, [](char*, std::uint64_t) {});
  });
  std::error_code ignored;  // it may not be there
  std::filesystem::remove(scratch, ignored);
  return limits;
}

}  // namespace bench
