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
// Replies that the parent has taken lie in the ring until it has time to clear them, up to so many bytes.
inline constexpr std::size_t uncleared_limit = 1024;
// Who sleeps on the bell.
enum class bell_mask : std::uint32_t { nobody = 0, replies_thread = 1, who_awaits = 2, all_of_them = 3 };

// Jobs sent to one worker and not yet answered.
inline constexpr unsigned window_limit = 64;
// Messages begin on lines of their own.
inline constexpr std::size_t message_alignment = 64;

// A message begins with the word that publishes it, so that who waits for it looks at the line that it is about to read: one
// line moves from one processor to the other, and none besides if the message is small. All lines that are free begin with 0:
// who has read a message clears its lines before he gives them back.

// nothing -> sent (parent). sent -> started (worker, by compare-exchange) or sent -> recalled (parent, likewise): so
// exactly one side has the job, and a worker's death leaves no doubt about what it had begun.
// Not 1, 2, 3: a wild write over the ring shall not look like a state.
enum class request_state : std::uint32_t {
  nothing = 0,
  sent = 0x53454e54,
  started = 0x53544152,
  recalled = 0x5245434c,
};

// Of the bytes behind a header, if they are not the values themselves but say where these are.
inline constexpr std::uint16_t lies_elsewhere = 0xffff;
static_assert(inline_limit < lies_elsewhere);

// As few bytes as there can be: what small arguments leave of the first line is theirs. They lie at a multiple of 16.
struct request_header {
  std::atomic<request_state> state;
  std::uint16_t size;    // of the arguments, which follow; or lies_elsewhere: an arguments_place follows
  std::uint16_t pieces;  // named at their end: see piece_entry
  std::uint64_t id;
  std::uint64_t entry;   // see packed()
  std::uint64_t target;
};
static_assert(sizeof(request_header) == 32);

struct arguments_place {
  std::uint64_t place;  // in the shared file
  std::uint64_t size;
};

enum class reply_kind : std::uint32_t { nothing = 0, value = 0x56414c55, exception = 0x45584350 };

struct reply_header {
  std::atomic<reply_kind> kind;
  std::uint16_t size;    // of the result, which follows; or lies_elsewhere: a reply_place follows
  std::uint16_t pieces;  // named at its end
  std::uint64_t id;
};
static_assert(sizeof(reply_header) == 16);

// The piece that a result lies in.
struct reply_place {
  std::uint64_t place;
  std::uint64_t capacity;
  std::uint64_t size;
  std::uint32_t number;
  std::uint32_t unused;
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
  alignas(64) std::atomic<std::uint32_t> may_spin;
  std::uint64_t arena_slot;  // of this worker; does not change while it lives
  // Up to where each reader has read. The other looks only when the ring seems full, so these lines rest where they are.
  alignas(64) std::atomic<std::uint64_t> reply_head;
  // The worker writes, the parent reads and does not trust.
  alignas(64) std::atomic<std::uint64_t> request_head;
  std::atomic<std::int64_t> begun_at;  // where time is limited: when the running job, or an element of it, began
  std::atomic<std::uint32_t> worn_out;  // before its last reply: it begins no other job, and wants to be replaced
  // Not 0, but if the worker's first thread has ended and others live on: then the kernel writes that (set_tid_address).
  std::atomic<std::uint32_t> first_thread;
  // The worker sets it before it sleeps on it (a futex); whoever clears it wakes the worker.
  alignas(64) std::atomic<std::uint32_t> asleep;
  // The parent sets it when nobody there is looking, to the bell_mask of who is to be woken; the worker takes it and rings.
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
  request_header& request_at(std::uint64_t position) const noexcept {
    return *reinterpret_cast<request_header*>(base_ + control_bytes + position % ring_bytes);
  }
  reply_header& reply_at(std::uint64_t position) const noexcept {
    return *reinterpret_cast<reply_header*>(base_ + control_bytes + 2 * ring_bytes + position % ring_bytes);
  }

 private:
  static constexpr std::size_t control_bytes = 64 * 1024;  // a page, however large pages are
  static_assert(sizeof(channel_control) <= control_bytes);
  static constexpr std::size_t mapped_bytes = control_bytes + 4 * ring_bytes;

  std::byte* base_;
};

// A module and an offset in it in one word. Offsets are less than 2^47, as addresses are; modules are fewer than 2^16, as a
// process has no more mappings than that (vm.max_map_count).
constexpr std::uint64_t packed(std::uint32_t module, std::uint64_t offset) noexcept {
  return std::uint64_t{module} << 48 | offset;
}
constexpr std::uint32_t module_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 48); }
constexpr std::uint64_t offset_of(std::uint64_t word) noexcept { return word & ((std::uint64_t{1} << 48) - 1); }

// What follows a header.
template <class Header>
std::byte* behind(Header& header) noexcept {
  return reinterpret_cast<std::byte*>(&header + 1);
}

// The bytes of a ring that a message takes.
constexpr std::size_t message_bytes(std::size_t header, std::size_t payload) noexcept {
  return (header + payload + message_alignment - 1) / message_alignment * message_alignment;
}

// The lines of a message that has been read. Relaxed: published with the place in the ring, (F2) or (G1).
inline void clear_lines(void* message, std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += message_alignment)
    std::atomic_ref{*reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(message) + at)}.store(0, std::memory_order_relaxed);
}

// Between processes, so not the private kind. Until then, in nanoseconds of CLOCK_MONOTONIC. May return for no reason.
// Who waits under a mask is woken under each that has a bit in common with it.
void wait_shared(std::atomic<std::uint32_t>& word, std::uint32_t while_it_is, std::int64_t until = INT64_MAX,
                 std::uint32_t mask = UINT32_MAX) noexcept;
void wake_shared(std::atomic<std::uint32_t>& word, std::uint32_t mask = UINT32_MAX, int count = 1) noexcept;

}  // namespace errand::detail
