// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The worker's side of its channel: waits for a job, claims it, makes room for the reply and publishes it. Used by the
// one thread of a worker process. Its counters are its own; what stands in the shared memory are copies for the parent.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <errand/detail/process_generation.hpp>
#include <errand/detail/process_job.hpp>
#include <optional>

#include "base/futex.hpp"
#include "process/arena.hpp"
#include "process/bell.hpp"
#include "process/channel.hpp"
#include "process/memory_file.hpp"

namespace errand::detail {

class worker_end {
 public:
  worker_end(int shared_fd, unsigned slot, pid_t zygote);

  // Returns the next request that the parent has not taken back; the worker has claimed it.
  // Spins for a while if it may, then sleeps.
  request_header const& next() noexcept;
  // process_generation as it was at this worker's birth: it differs in the child of a fork that a job makes.
  std::uint32_t generation() const noexcept { return generation_; }

  // Bytes of shared memory that results may take: limits of the system's do not count them.
  void limit_shared_memory(std::size_t bytes) noexcept { arena_->limit(bytes); }

  // Says when the running job, or the next element of it, begins.
  void tell_time() noexcept { channel_.control().begun_at.store(now(), std::memory_order_relaxed); }

  // Says, before the reply of its last job, that this worker will begin no other: whatever has been sent ahead is for others.
  void wear_out() noexcept { channel_.control().worn_out.store(1, std::memory_order_relaxed); }
  // After that reply: waits to be killed.
  [[noreturn]] void rest() noexcept;

  // The arguments of that request. Throws std::system_error.
  process_message arguments(request_header const& request);

  // Room for the reply's bytes. The last call counts. Throws std::system_error, std::bad_alloc.
  std::byte* reply_room(std::size_t bytes);
  // Sends what was written there, with the pieces that its end names, and gives the request's place in the ring back.
  void publish(request_header const& request, reply_kind kind, piece_list& pieces) noexcept;

 private:
  request_state wait(request_header const& request) noexcept;
  request_state spin(request_header const& request) noexcept;
  void ring() noexcept;
  void give_back(std::size_t bytes) noexcept;
  void stay_bound_to_zygote() const noexcept;

  channel channel_;
  bell bell_;
  pid_t zygote_;
  std::uint32_t const generation_ = process_generation;
  std::shared_ptr<shared_memory> memory_;
  owner_ptr<arena> arena_;
  owner_ptr<borrowed_memory> borrowed_;
  std::uint64_t request_head_ = 0;
  std::size_t request_bytes_ = 0;  // of the request being served
  std::uint64_t reply_tail_ = 0;
  std::uint64_t reply_head_ = 0;  // of the parent's, as last seen
  std::optional<file_view> large_arguments_;
  piece_list argument_pieces_;
  piece_ref large_reply_;
  std::uint64_t reply_size_ = 0;
  bool owes_bell_ = false;  // a reply was published and the parent not yet told
  std::int64_t patience_;   // nanoseconds to spin; halves when in vain
};

}  // namespace errand::detail
