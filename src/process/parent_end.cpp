// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/parent_end.hpp"

#include <cstring>
#include <errand/detail/process_job.hpp>
#include <new>

#include "process/memory_file.hpp"

namespace errand::detail {

void parent_end::reset(std::uint64_t arena_slot) noexcept {
  auto& control = channel_.control();
  // Relaxed: the worker does not exist yet; its fork orders all this before it.
  control.request_tail.store(0, std::memory_order_relaxed);
  control.may_spin.store(0, std::memory_order_relaxed);
  control.reply_head.store(0, std::memory_order_relaxed);
  control.reply_tail.store(0, std::memory_order_relaxed);
  control.request_head.store(0, std::memory_order_relaxed);
  control.begun_at.store(0, std::memory_order_relaxed);
  control.worn_out.store(0, std::memory_order_relaxed);
  control.first_thread.store(1, std::memory_order_relaxed);
  control.asleep.store(0, std::memory_order_relaxed);
  control.bell_wanted.store(0, std::memory_order_relaxed);
  control.arena_slot = arena_slot;
  request_tail_ = request_head_ = reply_head_ = 0;
  reply_bytes_ = 0;
  may_spin_ = false;
}

bool parent_end::try_send(process_job& job, bool bell) noexcept {
  auto& control = channel_.control();
  auto const& arguments = job.arguments;
  std::size_t const inlined = arguments.large() == nullptr ? arguments.size() : 0;
  std::size_t const bytes = message_bytes(sizeof(request_header), inlined);

  // (F1) acquire: what the worker has read may be written over; pairs with (F2) in worker_end::publish().
  std::uint64_t const head = control.request_head.load(std::memory_order_acquire);
  if (head > request_head_ && head <= request_tail_) request_head_ = head;
  if (bytes > ring_bytes - (request_tail_ - request_head_)) return false;

  std::byte* const at = channel_.request_at(request_tail_);
  auto* const header = ::new (static_cast<void*>(at)) request_header{
      request_state::sent,
      static_cast<std::uint32_t>(bytes),
      job.id,
      job.entry_module,
      job.target_module,
      job.entry_offset,
      job.target_offset,
      arguments.size(),
      arguments.large() == nullptr ? 0 : arguments.large()->place,
      static_cast<std::uint32_t>(arguments.pieces.size()),
  };
  if (inlined != 0) std::memcpy(at + sizeof(*header), arguments.data(), inlined);
  job.position = request_tail_;
  request_tail_ += bytes;
  if (bell) control.bell_wanted.store(1, std::memory_order_relaxed);  // published by (R1)

  // (R1) seq_cst: publishes the message, then looks whether the worker sleeps; pairs with (R2) in worker_end::wait():
  // says that it sleeps, then looks for a message.
  control.request_tail.store(request_tail_);
  if (control.asleep.load() != 0 && control.asleep.exchange(0) != 0) wake_shared(control.asleep);
  return true;
}

bool parent_end::try_recall(process_job const& job) noexcept {
  auto& state = reinterpret_cast<request_header*>(channel_.request_at(job.position))->state;
  auto expected = request_state::sent;
  // (K1) one of the two compare-exchanges wins; pairs with (K2) in worker_end::next().
  return state.compare_exchange_strong(expected, request_state::recalled, std::memory_order_relaxed);
}

bool parent_end::was_begun(process_job const& job) const noexcept {
  // Relaxed: the worker is dead and reaped, which orders all it did before this.
  auto& state = reinterpret_cast<request_header*>(channel_.request_at(job.position))->state;
  return state.load(std::memory_order_relaxed) != request_state::sent;
}

parent_end::look parent_end::peek(reply& found) noexcept {
  // (A2) seq_cst: sees the whole reply, pairs with (A1) in worker_end::publish(); and is the look of (B1).
  std::uint64_t const tail = channel_.control().reply_tail.load();
  if (tail == reply_head_) return look::nothing;
  std::uint64_t const available = tail - reply_head_;
  if (tail < reply_head_ || available > ring_bytes) return look::corrupt;

  reply_header header;
  std::byte const* const at = channel_.reply_at(reply_head_);
  std::memcpy(&header, at, sizeof header);
  bool const known = header.kind == reply_kind::value || header.kind == reply_kind::exception;
  std::size_t const inlined = header.place == 0 ? header.size : 0;
  if (!known || inlined > inline_limit || header.bytes != message_bytes(sizeof header, inlined) ||
      header.bytes > available)
    return look::corrupt;

  reply_bytes_ = header.bytes;
  found = {header.id, header.kind == reply_kind::exception, header.place == 0 ? at + sizeof header : nullptr,
           {header.place, header.capacity, header.size, header.number}, header.pieces};
  return look::reply;
}

void parent_end::pop() noexcept {
  reply_head_ += reply_bytes_;
  // (G1) release: the reply has been read and may be written over; pairs with (G2) in worker_end::reply_room().
  channel_.control().reply_head.store(reply_head_, std::memory_order_release);
}

void parent_end::let_spin(bool allowed) noexcept {
  if (allowed == may_spin_) return;
  may_spin_ = allowed;
  channel_.control().may_spin.store(allowed ? 1 : 0, std::memory_order_relaxed);
}

}  // namespace errand::detail
