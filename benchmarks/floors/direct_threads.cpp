// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Raw O_DIRECT by four threads, each with a buffer of its own: pwrite and pread, one MiB after the other. Also what verifies
// what others have written.
#include "direct_file.hpp"
#include "files.hpp"
#include "streamed.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace microbench {

namespace {

// work(buffer, index) for every block, by direct_depth threads.
template <class Work>
void share_blocks(std::uint64_t blocks, Work work) {
  std::atomic<std::uint64_t> next{0};
  std::mutex guard;
  std::exception_ptr failure;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < direct_depth; ++i)
    threads.emplace_back([&] {
      try {
        auto const buffer = make_direct_buffer();
        for (std::uint64_t b; (b = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) work(buffer.get(), b);
      } catch (...) {
        std::lock_guard const lock{guard};
        failure = std::current_exception();
        next = blocks;
      }
    });
  for (auto& t : threads) t.join();
  if (failure != nullptr) std::rethrow_exception(failure);
}

template <class Call>
void whole_block(Call call, char const* what, std::string const& path) {
  ::ssize_t got;
  do got = call();
  while (got < 0 && errno == EINTR);
  if (got < 0) throw_file(what, path);
  require(got == static_cast<::ssize_t>(mib), "a block was written or read in part");
}

}  // namespace

direct_buffer make_direct_buffer() {
  auto* const at = static_cast<char*>(std::aligned_alloc(4096, mib));
  if (at == nullptr) throw std::bad_alloc{};
  std::memcpy(at, the_text().bytes().data(), mib);
  return direct_buffer{at};
}

void write_by_threads(std::string const& path, std::uint64_t blocks) {
  descriptor const file{path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT};
  if (::fallocate(file.fd(), 0, 0, static_cast<::off_t>(blocks * mib)) != 0) throw_file("fallocate of", path);
  share_blocks(blocks, [&](char* buffer, std::uint64_t index) {
    text_block::stamp(buffer, index);
    whole_block([&] { return ::pwrite(file.fd(), buffer, mib, static_cast<::off_t>(index * mib)); }, "writing", path);
  });
}

void read_by_threads(std::string const& path, std::uint64_t blocks, block_reader const& each) {
  descriptor const file{path, O_RDONLY | O_DIRECT};
  share_blocks(blocks, [&](char* buffer, std::uint64_t index) {
    whole_block([&] { return ::pread(file.fd(), buffer, mib, static_cast<::off_t>(index * mib)); }, "reading", path);
    each(buffer, index);
  });
}

namespace {

add const written{"file-write", role::floor, "raw O_DIRECT by threads",
                  [](settings const& s) -> repetition { return [s] { return written_raw(s, &write_by_threads); }; },
                  place::own_process};
add const read{"file-read-cold", role::floor, "raw O_DIRECT by threads",
               [](settings const& s) -> repetition { return [s] { return read_raw(s, &read_by_threads); }; },
               place::own_process};

}  // namespace

}  // namespace microbench
