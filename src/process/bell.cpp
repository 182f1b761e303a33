// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/bell.hpp"

#include <sys/mman.h>
#include <unistd.h>

namespace errand::detail {

static std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

bell::bell(int shared_fd, channel::after_fork children)
    : page_(map_shared(shared_fd, memory_file::bell_place, page_size(), access::write)) {
  if (children == channel::after_fork::forget) ::madvise(page_, page_size(), MADV_DONTFORK);
}

bell::~bell() { ::munmap(page_, page_size()); }

void bell::ring(bell_mask whom) noexcept {
  word().fetch_add(1, std::memory_order_release);  // (D1)
  wake_shared(word(), static_cast<std::uint32_t>(whom), 2);
}

void bell::wait(std::uint32_t rung, std::int64_t until, bell_mask who) noexcept {
  wait_shared(word(), rung, until, static_cast<std::uint32_t>(who));
}

}  // namespace errand::detail
