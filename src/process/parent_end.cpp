// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/parent_end.hpp"

#include <algorithm>
#include <cstring>
#include <errand/detail/process_job.hpp>
#include <new>
#include <utility>

#include "process/memory_file.hpp"

namespace errand::detail {

parent_end::parent_end(int shared_fd, unsigned slot)
    : channel_(shared_fd, slot, channel::after_fork::inherit),
      cleared_(is_untouched(shared_fd, memory_file::slot_bytes * slot, memory_file::slot_bytes)) {}

void parent_end::reset(std::uint64_t arena_slot) noexcept {
  auto& control = channel_.control();
  // Relaxed: the worker does not exist yet; its fork orders all this before it.
  control.may_spin.store(0, std::memory_order_relaxed);
  control.reply_head.store(0, std::memory_order_relaxed);
  control.request_head.store(0, std::memory_order_relaxed);
  control.begun_at.store(0, std::memory_order_relaxed);
  control.worn_out.store(0, std::memory_order_relaxed);
  control.first_thread.store(1, std::memory_order_relaxed);
  control.asleep.store(0, std::memory_order_relaxed);
  control.bell_wanted.store(0, std::memory_order_relaxed);
  control.arena_slot = arena_slot;
  if (!std::exchange(cleared_, false)) {
    clear_lines(&channel_.request_at(0), ring_bytes);
    clear_lines(&channel_.reply_at(0), ring_bytes);
  }
  request_tail_ = request_head_ = reply_head_ = reply_cleared_ = 0;
  reply_bytes_ = 0;
  may_spin_ = false;
}

bool parent_end::has_room_for(std::size_t bytes, process_job const* oldest) noexcept {
  if (bytes <= ring_bytes - (request_tail_ - request_head_)) return true;
  // (F1) acquire: what the worker has read may be written over; pairs with (F2) in worker_end::publish().
  std::uint64_t head = channel_.control().request_head.load(std::memory_order_acquire);
  // A job that is still to be recalled, or asked whether it was begun, would be taken for the one that lies in its place.
  if (oldest != nullptr) head = std::min(head, oldest->position);
  if (head > request_head_ && head <= request_tail_) request_head_ = head;
  return bytes <= ring_bytes - (request_tail_ - request_head_);
}

bool parent_end::try_send(process_job& job, process_job const* oldest, bell_mask bell) noexcept {
  auto& control = channel_.control();
  auto const& arguments = job.arguments;
  arena_piece const* const large = arguments.large();
  std::size_t const follows = large == nullptr ? arguments.size() : sizeof(arguments_place);
  std::size_t const bytes = message_bytes(sizeof(request_header), follows);
  if (!has_room_for(bytes, oldest)) return false;

  request_header& header = channel_.request_at(request_tail_);
  header.size = large == nullptr ? static_cast<std::uint16_t>(follows) : lies_elsewhere;
  header.pieces = static_cast<std::uint16_t>(arguments.pieces.size());
  header.id = job.id;
  header.entry = packed(job.entry_module, job.entry_offset);
  header.target = packed(job.target_module, job.target_offset);
  if (large != nullptr)
    ::new (static_cast<void*>(behind(header))) arguments_place{large->place, arguments.size()};
  else if (follows != 0)
    std::memcpy(behind(header), arguments.data(), follows);
  job.position = request_tail_;
  request_tail_ += bytes;
  if (bell != bell_mask::nobody)  // published by (R1)
    control.bell_wanted.store(static_cast<std::uint32_t>(bell), std::memory_order_relaxed);

  // (R1) seq_cst: publishes the message, then looks whether the worker sleeps; pairs with (R2) in worker_end::wait():
  // says that it sleeps, then looks for a message.
  header.state.store(request_state::sent);
  if (control.asleep.load() != 0 && control.asleep.exchange(0) != 0) wake_shared(control.asleep);
  return true;
}

bool parent_end::try_recall(process_job const& job) noexcept {
  auto& state = channel_.request_at(job.position).state;
  auto expected = request_state::sent;
  // (K1) one of the two compare-exchanges wins; pairs with (K2) in worker_end::next().
  return state.compare_exchange_strong(expected, request_state::recalled, std::memory_order_relaxed);
}

bool parent_end::was_begun(process_job const& job) const noexcept {
  // Relaxed: the worker is dead and reaped, which orders all it did before this.
  return channel_.request_at(job.position).state.load(std::memory_order_relaxed) != request_state::sent;
}

parent_end::look parent_end::peek(reply& found) noexcept {
  reply_header& header = channel_.reply_at(reply_head_);
  // (A2) seq_cst: sees the whole reply, pairs with (A1) in worker_end::publish(); and is the look of (B1).
  reply_kind const kind = header.kind.load();
  if (kind == reply_kind::nothing) {
    if (reply_cleared_ != reply_head_) give_back();
    return look::nothing;
  }
  if (kind != reply_kind::value && kind != reply_kind::exception) return look::corrupt;

  // Read once each: a worker that writes over its ring may change them meanwhile.
  std::uint16_t size = 0;
  std::uint16_t pieces = 0;
  std::memcpy(&size, &header.size, sizeof size);
  std::memcpy(&pieces, &header.pieces, sizeof pieces);
  std::byte const* const at = behind(header);
  reply_place lies{};
  if (size == lies_elsewhere)
    std::memcpy(&lies, at, sizeof lies);
  else if (size > inline_limit)
    return look::corrupt;
  else
    lies.size = size;
  if (size == lies_elsewhere && lies.place == 0) return look::corrupt;
  reply_bytes_ = message_bytes(sizeof header, size == lies_elsewhere ? sizeof lies : size);
  found = {header.id, kind == reply_kind::exception, size == lies_elsewhere ? nullptr : at,
           {lies.place, lies.capacity, lies.size, lies.number}, pieces};
  return look::reply;
}

void parent_end::pop() noexcept {
  reply_head_ += reply_bytes_;
  // At once it would cost a wait for the line, which the worker has. There is time when there is nothing to take.
  if (reply_head_ - reply_cleared_ > uncleared_limit) give_back();
}

void parent_end::give_back() noexcept {
  clear_lines(&channel_.reply_at(reply_cleared_), reply_head_ - reply_cleared_);
  reply_cleared_ = reply_head_;
  // (G1) release: the reply has been read and may be written over; pairs with (G2) in worker_end::reply_room().
  channel_.control().reply_head.store(reply_head_, std::memory_order_release);
}

void parent_end::let_spin(bool allowed) noexcept {
  if (allowed == may_spin_) return;
  may_spin_ = allowed;
  channel_.control().may_spin.store(allowed ? 1 : 0, std::memory_order_relaxed);
}

}  // namespace errand::detail
