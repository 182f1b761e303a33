// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How workers wake the parent: a counter in the first page of the shared file, on which the dispatcher's thread sleeps, and
// besides it at most one thread that waits for a result.
// It is no descriptor, so a job that closes all that are open, or puts others in their place, cannot silence it.
#pragma once

#include <atomic>
#include <cstdint>

#include "process/channel.hpp"
#include "process/memory_file.hpp"

namespace errand::detail {

class bell {
 public:
  // In a worker, what its jobs fork does not get the mapping: `forget`. Throws std::system_error.
  bell(int shared_fd, channel::after_fork children);
  bell(bell const&) = delete;
  bell& operator=(bell const&) = delete;
  ~bell();

  // How often it has rung so far; to be read before one looks for what it may have rung for.
  [[nodiscard]] std::uint32_t rung() const noexcept { return word().load(std::memory_order_acquire); }  // (D1)
  // (D1) release: whoever sees the number sees what was done before. Wakes those who wait under that mask.
  void ring(bell_mask whom) noexcept;
  // Until it has rung since it had rung so often, or until then (nanoseconds of CLOCK_MONOTONIC). May return for no reason.
  void wait(std::uint32_t rung, std::int64_t until, bell_mask who) noexcept;

 private:
  [[nodiscard]] std::atomic<std::uint32_t>& word() const noexcept {
    return *reinterpret_cast<std::atomic<std::uint32_t>*>(page_);
  }
  std::byte* page_;
};

}  // namespace errand::detail
