// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How the parent and one worker speak: two rings of bytes in the worker's slot of the shared
// file, one each way, and a page of counters. This header is the layout and the mapping;
// parent_end.hpp and worker_end.hpp are the two users, each alone on its side. The protocol
// with its numbered steps stands in README.md.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace errand::detail {

// Both rings are mapped twice in a row, so a message never wraps and can be read in place.
inline constexpr std::size_t ring_bytes = 64 * 1024;
// Larger messages lie in the sender's arena, and the ring carries only where.
inline constexpr std::size_t inline_limit = ring_bytes / 4;
// Jobs sent to one worker and not yet answered.
inline constexpr unsigned window_limit = 64;
// Messages begin on lines of their own.
inline constexpr std::size_t message_alignment = 64;

// sent -> started (worker, by compare-exchange) or sent -> recalled (parent, likewise): so
// exactly one side has the job, and a worker's death leaves no doubt about what it had begun.
// Not 0, 1, 2: a wild write over the ring shall not look like a state.
enum class request_state : std::uint32_t {
  sent = 0x53454e54,
  started = 0x53544152,
  recalled = 0x5245434c,
};

struct alignas(message_alignment) request_header {
  std::atomic<request_state> state;
  std::uint32_t bytes;  // in the ring, this header included
  std::uint64_t id;
  std::uint32_t entry_module;
  std::uint32_t target_module;
  std::uint64_t entry_offset;
  std::uint64_t target_offset;
  std::uint64_t size;   // of the arguments
  std::uint64_t place;  // of the arguments in the shared file, 0: they follow the header
  std::uint32_t pieces;  // named at their end: see piece_entry
};

enum class reply_kind : std::uint32_t { value = 0x56414c55, exception = 0x45584350 };

struct reply_header {
  std::uint64_t id;
  std::uint32_t bytes;  // in the ring, this header included
  reply_kind kind;
  std::uint64_t size;
  std::uint64_t place;     // of the piece that it lies in; 0: the result follows the header
  std::uint64_t capacity;  // of that piece
  std::uint32_t number;
  std::uint32_t pieces;  // named at its end
};

// A message that takes pieces of shared memory along ends with a table of them.
struct piece_entry {
  std::uint64_t place;
  std::uint64_t capacity;
  std::uint32_t number;
  std::uint32_t unused;
};

// Of a worker's arena: pieces 0 to so many, less one, can be away at a time. The parent writes that one has come back, and
// whether its memory is still there; the worker writes 0 before it sends one.
struct return_table {
  static constexpr std::uint32_t size = 32 * 1024;
  std::atomic<std::uint8_t> of_piece[size];
};

// Counters run on for ever; modulo ring_bytes they are positions. All zero at a worker's birth.
struct channel_control {
  // The parent writes, the worker reads.
  alignas(64) std::atomic<std::uint64_t> request_tail;
  std::atomic<std::uint32_t> may_spin;
  std::uint64_t arena_slot;  // of this worker; does not change while it lives
  alignas(64) std::atomic<std::uint64_t> reply_head;
  // The worker writes, the parent reads and does not trust.
  alignas(64) std::atomic<std::uint64_t> reply_tail;
  std::atomic<std::uint64_t> request_head;
  std::atomic<std::int64_t> begun_at;  // where time is limited: when the running job, or an element of it, began
  std::atomic<std::uint32_t> worn_out;  // before its last reply: it begins no other job, and wants to be replaced
  // Not 0, but if the worker's first thread has ended and others live on: then the kernel writes that (set_tid_address).
  std::atomic<std::uint32_t> first_thread;
  // The worker sets it before it sleeps on it (a futex); whoever clears it wakes the worker.
  alignas(64) std::atomic<std::uint32_t> asleep;
  // The parent sets it when nobody there is looking; the worker takes it and rings the bell.
  alignas(64) std::atomic<std::uint32_t> bell_wanted;
  alignas(64) return_table returned;
};

// One mapping of one slot.
class channel {
 public:
  enum class after_fork : bool { inherit, forget };

  // `forget`: a child of this process does not get the mapping. Throws std::system_error.
  channel(int shared_fd, unsigned slot, after_fork children);
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;
  ~channel();

  channel_control& control() const noexcept { return *reinterpret_cast<channel_control*>(base_); }
  std::byte* request_at(std::uint64_t position) const noexcept { return base_ + control_bytes + position % ring_bytes; }
  std::byte* reply_at(std::uint64_t position) const noexcept {
    return base_ + control_bytes + 2 * ring_bytes + position % ring_bytes;
  }

 private:
  static constexpr std::size_t control_bytes = 64 * 1024;  // a page, however large pages are
  static_assert(sizeof(channel_control) <= control_bytes);
  static constexpr std::size_t mapped_bytes = control_bytes + 4 * ring_bytes;

  std::byte* base_;
};

// The bytes of a ring that a message takes.
constexpr std::size_t message_bytes(std::size_t header, std::size_t payload) noexcept {
  return (header + payload + message_alignment - 1) / message_alignment * message_alignment;
}

// Between processes, so not the private kind. Until then, in nanoseconds of CLOCK_MONOTONIC. May return for no reason.
void wait_shared(std::atomic<std::uint32_t>& word, std::uint32_t while_it_is, std::int64_t until = INT64_MAX) noexcept;
void wake_shared(std::atomic<std::uint32_t>& word) noexcept;

}  // namespace errand::detail
