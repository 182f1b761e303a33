// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/channel.hpp"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <system_error>

#include "process/memory_file.hpp"

namespace errand::detail {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

channel::channel(int shared_fd, unsigned slot, after_fork children) : base_(nullptr) {
  require_open(shared_fd);
  const auto fail = [] {
    throw std::system_error(errno, std::system_category(), "errand: cannot map the rings of a worker process");
  };
  void* const reserved = ::mmap(nullptr, mapped_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) fail();
  base_ = static_cast<std::byte*>(reserved);

  const std::uint64_t slot_begin = memory_file::slot_bytes * slot;
  struct piece {
    std::size_t at;
    std::size_t bytes;
    std::uint64_t from;
  };
  const piece pieces[] = {
      {0, control_bytes, 0},
      {control_bytes, ring_bytes, control_bytes},
      {control_bytes + ring_bytes, ring_bytes, control_bytes},
      {control_bytes + 2 * ring_bytes, ring_bytes, control_bytes + ring_bytes},
      {control_bytes + 3 * ring_bytes, ring_bytes, control_bytes + ring_bytes},
  };
  for (const piece& p : pieces) {
    void* const at = ::mmap(base_ + p.at, p.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, shared_fd,
                            static_cast<off_t>(slot_begin + p.from));
    if (at == MAP_FAILED) {
      const int reason = errno;
      ::munmap(base_, mapped_bytes);
      errno = reason;
      fail();
    }
  }
  if (children == after_fork::forget) ::madvise(base_, mapped_bytes, MADV_DONTFORK);
}

channel::~channel() { ::munmap(base_, mapped_bytes); }

void wait_shared(std::atomic<std::uint32_t>& word, std::uint32_t while_it_is, std::int64_t until,
                 std::uint32_t mask) noexcept {
  timespec const limit{.tv_sec = until / 1'000'000'000, .tv_nsec = until % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, while_it_is, until == INT64_MAX ? nullptr : &limit, nullptr, mask);
}

void wake_shared(std::atomic<std::uint32_t>& word, std::uint32_t mask, int count) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, mask);
}

}  // namespace errand::detail
