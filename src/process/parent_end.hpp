// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parent's side of one worker's channel: sends jobs, takes replies, takes jobs back. Only the dispatcher uses it,
// under its lock. It believes nothing that it finds in the shared memory: what makes no sense is reported as
// `corrupt`, and the dispatcher has the worker killed.
#pragma once

#include <cstddef>
#include <cstdint>

#include <errand/detail/process_job.hpp>

#include "process/channel.hpp"

namespace errand::detail {

class parent_end {
 public:
  // Throws std::system_error.
  parent_end(int shared_fd, unsigned slot);

  // For the next worker in this slot, before it is forked. Nobody else may have the slot mapped.
  void reset(std::uint64_t arena_slot) noexcept;
  return_table& returned() noexcept { return channel_.control().returned; }

  // Writes the job into the ring, wakes the worker if it sleeps, notes the position in the job. `bell`: whom the worker is to
  // wake when it has replied, if anybody.
  // `oldest`: the first job that was sent and whose reply has not been taken, or null; its message stays where it is. False if
  // there is no room.
  bool try_send(process_job& job, process_job const* oldest, bell_mask bell) noexcept;

  // sent -> recalled. False if the worker has begun it.
  bool try_recall(process_job const& job) noexcept;
  // Of a worker that is dead: whether it had begun this job.
  bool was_begun(process_job const& job) const noexcept;

  enum class look : unsigned char { nothing, reply, corrupt };
  struct reply {
    std::uint64_t id;
    bool throws;
    std::byte const* data;  // in the ring, null if it lies elsewhere
    payload_place place;    // where then; and its size in any case
    std::uint32_t pieces;   // that its end names
  };
  // The oldest reply not yet popped.
  look peek(reply& found) noexcept;
  void pop() noexcept;

  // Whom the worker is to wake by the parent's bell after its next reply. (B1) seq_cst: this store, then a look at the
  // replies; pairs with (B2) in worker_end: a reply, then a look at this word. One of the two sees the other.
  void want_bell(bell_mask whom) noexcept { channel_.control().bell_wanted.store(static_cast<std::uint32_t>(whom)); }
  // Relaxed: a bell that nobody needs does no harm.
  void want_no_bell() noexcept { channel_.control().bell_wanted.store(0, std::memory_order_relaxed); }
  // When the running job, or an element of it, began, in nanoseconds of CLOCK_MONOTONIC; as the worker says, who may lie.
  std::int64_t begun_at() const noexcept { return channel_.control().begun_at.load(std::memory_order_relaxed); }

  // Whether the worker has said, before a reply that has been seen, that it will begin no other job.
  bool worn_out() const noexcept { return channel_.control().worn_out.load(std::memory_order_relaxed) != 0; }

  // Whether the thread that would answer has ended, while others of the process live on.
  bool first_thread_has_ended() const noexcept {
    return channel_.control().first_thread.load(std::memory_order_relaxed) == 0;
  }

  // A hint: whether the worker may look for its next job for a while before it sleeps.
  void let_spin(bool allowed) noexcept;

 private:
  bool has_room_for(std::size_t bytes, process_job const* oldest) noexcept;
  void give_back() noexcept;

  channel channel_;
  std::uint64_t request_tail_ = 0;
  std::uint64_t request_head_ = 0;  // the last believed value of the worker's
  std::uint64_t reply_head_ = 0;
  std::uint64_t reply_cleared_ = 0;  // before reply_head_: the lines between have been read, and not yet cleared
  std::size_t reply_bytes_ = 0;  // of the reply that peek() found
  bool may_spin_ = false;
  bool cleared_;  // the rings; false as soon as they are in use
};

}  // namespace errand::detail
