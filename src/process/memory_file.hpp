// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The memory that parent and workers share: an anonymous file, sparse and of no length that matters, made before the
// zygote is forked. It is cut into slots of 1 TiB: the first is the parent's arena, for large arguments; some are for the
// workers' rings; and each worker process that there ever was has one for its arena (arena.hpp), so that what a dead one
// has left can be read while its successor writes. A worker maps no rings and no arena but its own, and of the parent's
// only what its job was sent: a wild write stays at home.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace errand::detail {

class memory_file {
 public:
  static constexpr std::uint64_t slot_bytes = std::uint64_t{1} << 40;
  static constexpr std::uint64_t argument_slot = 0;
  static constexpr std::uint64_t bell_place = 0;  // a page of its own, which is no place for arguments: bell.hpp
  static constexpr std::uint64_t ring_slots = 1024;  // 1 to 1024: at most so many workers at a time
  static constexpr std::uint64_t arena_slots = std::uint64_t{1} << 21;
  static constexpr std::uint64_t arena_slot(std::uint64_t serial) noexcept {
    return 1 + ring_slots + serial % arena_slots;
  }
  static constexpr bool inside(std::uint64_t slot, std::uint64_t offset, std::uint64_t bytes) noexcept {
    return offset / slot_bytes == slot && bytes <= slot_bytes - offset % slot_bytes;
  }

  // The file cannot be shrunk by anybody, so that no mapping of it can fault. Throws std::system_error.
  static memory_file create();

  // In a worker: the one that it was forked with.
  static memory_file inherited(int fd) noexcept;

  memory_file(memory_file&& other) noexcept;
  ~memory_file() { forget(); }

  // Its descriptor; or -1 if somebody has closed it, or put a file of his own in its place. In a worker, where a job may have
  // done so, it is then opened anew by way of the zygote, which has it under the same number. Any thread; a system call.
  int fd() const noexcept;
  // In a child of the program: it is the parent's, not ours.
  void forget() noexcept;

 private:
  memory_file(int fd, bool zygote_has_it) noexcept;
  bool is_ours(int fd) const noexcept;
  int open_anew(int lost) const noexcept;

  mutable std::atomic<int> fd_;
  int at_first_;
  bool zygote_has_it_;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
};

// Throws std::system_error, which says so, if memory_file::fd() has found that the descriptor is ours no longer.
void require_open(int fd);

// Of the file behind `fd`, begin and length in whole `shared_pages`:
inline constexpr std::size_t shared_pages = 64 * 1024;  // a page, however large pages are
// has memory behind it from now on, so that no access to it can fail. Throws std::system_error if there is not enough.
void reserve_shared(int fd, std::uint64_t offset, std::size_t bytes);
// Gives that memory back to the system; what was there reads as zeros.
void discard_shared(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept;
// Whether reserve_shared() was done for all of it.
bool is_reserved(int fd, std::uint64_t offset, std::size_t bytes);
// Whether nobody has written there since the file was made, or since discard_shared(): all is zero.
bool is_untouched(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept;
// Maps it, and what is behind it with it. Throws std::system_error.
enum class access : bool { read, write };
std::byte* map_shared(int fd, std::uint64_t offset, std::size_t bytes, access how);

// A stretch of the shared file, mapped to be read for as long as this lives.
class file_view {
 public:
  // Throws std::system_error.
  file_view(int fd, std::uint64_t offset, std::size_t bytes);
  file_view(const file_view&) = delete;
  file_view& operator=(const file_view&) = delete;
  ~file_view();

  std::byte const* data() const noexcept { return data_; }

 private:
  std::byte const* data_;
  std::size_t bytes_;
};

}  // namespace errand::detail
