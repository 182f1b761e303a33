// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/worker_end.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/futex.hpp"

namespace errand::detail {

namespace {

constexpr std::int64_t longest_spin = 50'000;
constexpr std::int64_t shortest_spin = 3'000;
// A parent that waits for this very reply takes it within this time; only then is it worth a system call to tell it.
constexpr std::int64_t grace = 1'500;

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
    wait();
    auto& request = *reinterpret_cast<request_header*>(channel_.request_at(request_head_));
    auto state = request_state::sent;
    // (K2) pairs with (K1) in parent_end::try_recall(). Relaxed: (R2) has made the message visible.
    if (request.state.compare_exchange_strong(state, request_state::started, std::memory_order_relaxed)) {
      request_bytes_ = request.bytes;  // while it can be trusted: the job may write over it
      return request;
    }
    // Neither sent nor recalled: the last job has written over the ring. The next has not been begun, and goes to others.
    if (state != request_state::recalled) {
      request.state.store(request_state::sent, std::memory_order_relaxed);  // our death orders it before was_begun()
      ::_exit(EXIT_FAILURE);
    }
    request_head_ += request.bytes;
    // (F2), see publish().
    channel_.control().request_head.store(request_head_, std::memory_order_release);
  }
}

// Until there is a request at request_head_.
void worker_end::wait() noexcept {
  auto& control = channel_.control();
  // (R2) seq_cst, as the three below: sees the whole message; pairs with (R1) in parent_end::try_send().
  if (control.request_tail.load() != request_head_) {
    ring();  // the next job may take long; the parent shall not wait for it to learn of the last
    return;
  }
  if (spin()) return;
  ring();
  stay_bound_to_zygote();
  for (;;) {
    control.asleep.store(1);                                  // (R2) says so,
    if (control.request_tail.load() != request_head_) break;  // (R2) then looks
    wait_shared(control.asleep, 1);
  }
  control.asleep.store(0, std::memory_order_relaxed);  // no harm if the parent has cleared it already
}

bool worker_end::spin() noexcept {
  auto& control = channel_.control();
  if (control.may_spin.load(std::memory_order_relaxed) == 0) return false;
  std::int64_t const begin = now();
  for (unsigned turn = 1;; ++turn) {
    if (control.request_tail.load() != request_head_) {  // (R2)
      patience_ = longest_spin;
      return true;
    }
    cpu_relax();
    if (turn % 16 != 0) continue;
    std::int64_t const spent = now() - begin;
    if (spent > grace) ring();
    if (spent > patience_ || control.may_spin.load(std::memory_order_relaxed) == 0) break;
  }
  patience_ = std::max(patience_ / 2, shortest_spin);
  return false;
}

// Tells the parent of replies, if it has asked to be told and not looked since.
void worker_end::ring() noexcept {
  if (!owes_bell_) return;
  owes_bell_ = false;
  auto& wanted = channel_.control().bell_wanted;
  // (B2) seq_cst: after the reply of (A1); pairs with (B1) in parent_end::want_bell().
  if (wanted.load() != 0 && wanted.exchange(0) != 0) bell_.ring();
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

process_message worker_end::arguments(request_header const& request) {
  auto const* bytes = reinterpret_cast<std::byte const*>(&request + 1);
  if (request.place != 0) bytes = large_arguments_.emplace(memory_->file.fd(), request.place, request.size).data();
  argument_pieces_ = pieces_of(bytes, request.size, request.pieces,
                               [&](piece_entry const& named) { return borrowed_->adopt(named); });
  std::size_t const table = request.pieces * sizeof(piece_entry);
  return {bytes, request.size - table, argument_pieces_.data(), argument_pieces_.size()};
}

std::byte* worker_end::reply_room(std::size_t bytes) {
  // (G2) acquire: pairs with (G1) in parent_end::pop().
  std::uint64_t const head = channel_.control().reply_head.load(std::memory_order_acquire);
  std::size_t const room = ring_bytes - (reply_tail_ - head);
  // What remains always suffices for the headers of a full window: a worker never waits for room.
  std::size_t const reserve = window_limit * message_bytes(sizeof(reply_header), 0);
  reply_size_ = bytes;
  large_reply_.reset();
  if (bytes <= inline_limit && message_bytes(sizeof(reply_header), bytes) + reserve <= room)
    return channel_.reply_at(reply_tail_) + sizeof(reply_header);
  large_reply_ = piece_ref{arena_->allocate(bytes)};
  return large_reply_->data;
}

void worker_end::publish(request_header const& request, reply_kind kind, piece_list& pieces) noexcept {
  std::size_t const bytes = message_bytes(sizeof(reply_header), large_reply_ ? 0 : reply_size_);
  reply_header header{request.id, static_cast<std::uint32_t>(bytes), kind, reply_size_, 0, 0, 0, 0};
  header.pieces = static_cast<std::uint32_t>(pieces.size());
  if (large_reply_) {
    header.place = large_reply_->place;
    header.capacity = large_reply_->capacity;
    header.number = large_reply_->number;
    arena_->lend(*large_reply_.get());
  }
  for (piece_ref const& p : pieces) arena_->lend(*p.get());
  ::new (static_cast<void*>(channel_.reply_at(reply_tail_))) reply_header{header};
  argument_pieces_.clear();
  large_arguments_.reset();
  borrowed_->end_of_job();
  reply_tail_ += bytes;
  request_head_ += request_bytes_;
  auto& control = channel_.control();
  // (F2) release: the request has been read; pairs with (F1) in parent_end::try_send().
  control.request_head.store(request_head_, std::memory_order_release);
  // (A1) seq_cst: publishes the reply, pairs with (A2) in parent_end::peek(); and comes before the look of (B2).
  control.reply_tail.store(reply_tail_);
  owes_bell_ = true;
  if (pieces.empty() && !large_reply_) return;
  ring();  // what follows takes long enough that the parent should not have to wait for it
  for (piece_ref const& p : pieces) arena_->protect(*p.get());
  pieces.clear();
  large_reply_.reset();
}

}  // namespace errand::detail
