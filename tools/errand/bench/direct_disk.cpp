// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/direct_disk.hpp"

#include "bench/failure.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace bench {
namespace {

constexpr unsigned threads_at_work = 4;

class direct_file {
 public:
  direct_file(std::string const& path, int flags)
      : path_(path), fd_(open(path.c_str(), flags | O_DIRECT | O_CLOEXEC, 0666)) {
    if (fd_ < 0) throw os_failure("open " + path + " for O_DIRECT", errno);
  }
  ~direct_file() { close(fd_); }
  direct_file(direct_file const&) = delete;
  direct_file& operator=(direct_file const&) = delete;

  int fd() const { return fd_; }

  // `call` is a pread or pwrite; it must do all of it at once.
  template <class Call>
  void whole(char const* what, std::size_t size, Call const& call) const {
    ssize_t n = -1;
    do n = call();
    while (n < 0 && errno == EINTR);
    if (n < 0) throw os_failure(what + (" " + path_), errno);
    if (static_cast<std::size_t>(n) != size)
      throw failure("cannot " + (what + (" " + path_)) + ": only a part of a block");
  }

 private:
  std::string path_;
  int fd_;
};

constexpr std::size_t large_page = std::size_t{2} << 20;

// work(buffer, index) for every block, by several threads; `fill` is called with each one's buffer before.
template <class Fill, class Work>
void share_blocks(std::uint64_t blocks, Fill const& fill, Work const& work) {
  std::atomic<std::uint64_t> next{0};
  std::mutex guard;
  std::exception_ptr first_failure;
  auto const one = [&] {
    try {
      auto const buffer = make_direct_buffer();
      fill(buffer.get());
      for (std::uint64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) work(buffer.get(), i);
    } catch (...) {
      std::lock_guard const lock(guard);
      if (!first_failure) first_failure = std::current_exception();
      next = blocks;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < threads_at_work; ++i) threads.emplace_back(one);
  for (std::thread& t : threads) t.join();
  if (first_failure) std::rethrow_exception(first_failure);
}

}  // namespace

void free_direct_buffer::operator()(char* buffer) const { std::free(buffer); }

direct_buffer make_direct_buffer() {
  direct_buffer made(static_cast<char*>(std::aligned_alloc(large_page, large_page)));
  if (!made) throw std::bad_alloc();
  madvise(made.get(), large_page, MADV_HUGEPAGE);
  return made;
}

void write_directly(std::string const& path, std::uint64_t blocks, std::function<void(char*)> const& fill,
                    std::function<void(char*, std::uint64_t)> const& stamp) {
  direct_file const file(path, O_WRONLY | O_CREAT | O_EXCL);
  if (fallocate(file.fd(), 0, 0, static_cast<off_t>(blocks * direct_block)) != 0) {
    throw os_failure("allocate " + path, errno);
  }
  share_blocks(blocks, fill, [&](char* buffer, std::uint64_t index) {
    stamp(buffer, index);
    file.whole("write", direct_block,
               [&] { return pwrite(file.fd(), buffer, direct_block, static_cast<off_t>(index * direct_block)); });
  });
}

void read_directly(std::string const& path, std::uint64_t bytes,
                   std::function<void(char const*, std::uint64_t)> const& each) {
  direct_file const file(path, O_RDONLY);
  // Fresh memory is touched before, not by the disk.
  auto const touch = [](char* buffer) { std::memset(buffer, 0, direct_block); };
  share_blocks((bytes + direct_block - 1) / direct_block, touch, [&](char* buffer, std::uint64_t index) {
    std::uint64_t const begin = index * direct_block;
    auto const expected = static_cast<std::size_t>(std::min<std::uint64_t>(direct_block, bytes - begin));
    file.whole("read", expected, [&] {
      ssize_t const n = pread(file.fd(), buffer, direct_block, static_cast<off_t>(begin));
      return std::min(n, static_cast<ssize_t>(expected));  // a whole block, also where fewer bytes are asked for
    });
    each(buffer, index);
  });
}

}  // namespace bench
