// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/worker_end.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/futex.hpp"

namespace errand::detail {

namespace {

constexpr std::int64_t longest_spin = 50'000;
constexpr std::int64_t shortest_spin = 3'000;
// A parent that waits for this very reply takes it within this time; only then is it worth a system call to tell it.
constexpr std::int64_t grace = 1'500;

// In the ring.
std::size_t bytes_of(request_header const& request) noexcept {
  return message_bytes(sizeof request, request.size == lies_elsewhere ? sizeof(arguments_place) : request.size);
}

}  // namespace

worker_end::worker_end(int shared_fd, unsigned slot, pid_t zygote)
    // `forget`: if the job forks, its child must not answer in the worker's name.
    : channel_(shared_fd, slot, channel::after_fork::forget),
      bell_(shared_fd, channel::after_fork::forget),
      zygote_(zygote),
      memory_(std::make_shared<shared_memory>(memory_file::inherited(shared_fd))),
      arena_(new arena(memory_, channel_.control().arena_slot, &channel_.control().returned)),
      borrowed_(new borrowed_memory(memory_)),
      patience_(longest_spin) {
  set_arena_of_process(arena_.get(), true);
  ::syscall(SYS_set_tid_address, &channel_.control().first_thread);
}

request_header const& worker_end::next() noexcept {
  for (;;) {
    request_header& request = channel_.request_at(request_head_);
    auto state = wait(request);
    // (K2) pairs with (K1) in parent_end::try_recall(). Relaxed: (R2) has made the message visible.
    if (state == request_state::sent &&
        request.state.compare_exchange_strong(state, request_state::started, std::memory_order_relaxed)) {
      request_bytes_ = bytes_of(request);  // while it can be trusted: the job may write over it
      return request;
    }
    // Neither sent nor recalled: the last job has written over the ring. The next has not been begun, and goes to others.
    if (state != request_state::recalled) {
      request.state.store(request_state::sent, std::memory_order_relaxed);  // our death orders it before was_begun()
      ::_exit(EXIT_FAILURE);
    }
    give_back(bytes_of(request));
  }
}

// Until there is a request; its state then, which is not `nothing`.
request_state worker_end::wait(request_header const& request) noexcept {
  // (R2) seq_cst, as the three below: sees the whole message; pairs with (R1) in parent_end::try_send().
  auto state = request.state.load();
  if (state != request_state::nothing) {
    ring();  // the next job may take long; the parent shall not wait for it to learn of the last
    return state;
  }
  state = spin(request);
  if (state != request_state::nothing) return state;
  ring();
  stay_bound_to_zygote();
  auto& asleep = channel_.control().asleep;
  for (;;) {
    asleep.store(1);               // (R2) says so,
    state = request.state.load();  // (R2) then looks
    if (state != request_state::nothing) break;
    wait_shared(asleep, 1);
  }
  asleep.store(0, std::memory_order_relaxed);  // no harm if the parent has cleared it already
  return state;
}

// `nothing` if it may not spin, or has in vain.
request_state worker_end::spin(request_header const& request) noexcept {
  auto& control = channel_.control();
  if (control.may_spin.load(std::memory_order_relaxed) == 0) return request_state::nothing;
  std::int64_t begin = 0;  // of the second round: a job that comes at once costs no look at the clock
  for (unsigned turn = 1;; ++turn) {
    if (auto const state = request.state.load(); state != request_state::nothing) {  // (R2)
      patience_ = longest_spin;
      return state;
    }
    cpu_relax();
    if (turn % 16 != 0) continue;
    std::int64_t const time = now();
    if (begin == 0) begin = time;
    std::int64_t const spent = time - begin;
    if (spent > grace) ring();
    if (spent > patience_ || control.may_spin.load(std::memory_order_relaxed) == 0) break;
  }
  patience_ = std::max(patience_ / 2, shortest_spin);
  return request_state::nothing;
}

// Tells the parent of replies, if it has asked to be told and not looked since.
void worker_end::ring() noexcept {
  if (!owes_bell_) return;
  owes_bell_ = false;
  auto& wanted = channel_.control().bell_wanted;
  // (B2) seq_cst: after the reply of (A1); pairs with (B1) in parent_end::want_bell().
  if (wanted.load() == 0) return;
  switch (static_cast<bell_mask>(wanted.exchange(0))) {
    case bell_mask::nobody:
      return;
    case bell_mask::who_awaits:
      return bell_.ring(bell_mask::who_awaits);
    default:
      return bell_.ring(bell_mask::replies_thread);
  }
}

// A job may have cut the tie by which a worker dies with its zygote.
void worker_end::stay_bound_to_zygote() const noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != zygote_) ::_exit(EXIT_FAILURE);
}

void worker_end::rest() noexcept {
  ring();
  stay_bound_to_zygote();
  for (;;) ::pause();
}

// The oldest request.
void worker_end::give_back(std::size_t bytes) noexcept {
  clear_lines(&channel_.request_at(request_head_), bytes);
  request_head_ += bytes;
  // (F2) release: the request has been read; pairs with (F1) in parent_end::has_room_for().
  channel_.control().request_head.store(request_head_, std::memory_order_release);
}

process_message worker_end::arguments(request_header const& request) {
  auto const* bytes = reinterpret_cast<std::byte const*>(&request + 1);
  std::size_t size = request.size;
  if (size == lies_elsewhere) {
    arguments_place lies;
    std::memcpy(&lies, bytes, sizeof lies);
    size = lies.size;
    bytes = large_arguments_.emplace(memory_->file.fd(), lies.place, size).data();
  }
  if (request.pieces == 0) return {bytes, size, nullptr, 0};
  argument_pieces_ =
      pieces_of(bytes, size, request.pieces, [&](piece_entry const& named) { return borrowed_->adopt(named); });
  std::size_t const table = request.pieces * sizeof(piece_entry);
  return {bytes, size - table, argument_pieces_.data(), argument_pieces_.size()};
}

std::byte* worker_end::reply_room(std::size_t bytes) {
  // What remains always suffices for the headers of a full window, and for what the parent has not cleared: a worker never
  // waits for room.
  constexpr std::size_t reserve = window_limit * message_alignment + uncleared_limit;
  static_assert(sizeof(reply_header) + sizeof(reply_place) <= message_alignment);
  std::size_t const wanted = message_bytes(sizeof(reply_header), bytes) + reserve;
  reply_size_ = bytes;
  if (large_reply_) large_reply_.reset();
  if (bytes <= inline_limit) {
    // (G2) acquire: pairs with (G1) in parent_end::pop().
    if (wanted > ring_bytes - (reply_tail_ - reply_head_))
      reply_head_ = channel_.control().reply_head.load(std::memory_order_acquire);
    if (wanted <= ring_bytes - (reply_tail_ - reply_head_)) return behind(channel_.reply_at(reply_tail_));
  }
  large_reply_ = piece_ref{arena_->allocate(bytes)};
  return large_reply_->data;
}

void worker_end::publish(request_header const& request, reply_kind kind, piece_list& pieces) noexcept {
  std::size_t const bytes = message_bytes(sizeof(reply_header), large_reply_ ? sizeof(reply_place) : reply_size_);
  reply_header& header = channel_.reply_at(reply_tail_);
  header.size = large_reply_ ? lies_elsewhere : static_cast<std::uint16_t>(reply_size_);
  header.pieces = static_cast<std::uint16_t>(pieces.size());
  header.id = request.id;
  if (large_reply_) {
    ::new (static_cast<void*>(behind(header)))
        reply_place{large_reply_->place, large_reply_->capacity, reply_size_, large_reply_->number, 0};
    arena_->lend(*large_reply_.get());
  }
  for (piece_ref const& p : pieces) arena_->lend(*p.get());
  if (!argument_pieces_.empty()) {  // they are the parent's as soon as it has the reply
    argument_pieces_.clear();
    borrowed_->end_of_job();
  }
  large_arguments_.reset();
  // (A1) seq_cst: publishes the reply, pairs with (A2) in parent_end::peek(); and comes before the look of (B2).
  header.kind.store(kind);
  reply_tail_ += bytes;
  give_back(request_bytes_);
  owes_bell_ = true;
  if (pieces.empty() && !large_reply_) return;
  ring();  // what follows takes long enough that the parent should not have to wait for it
  for (piece_ref const& p : pieces) arena_->protect(*p.get());
  pieces.clear();
  large_reply_.reset();
}

}  // namespace errand::detail
