// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one piece of memory that parent and workers share: an anonymous file, sparse and of
// no length that matters, made before the zygote is forked. Each worker has a slot of it and
// maps no other, so a wild write stays at home. What is too large for a ring travels in the
// far part of a slot, mapped for as long as it is copied.
//
// It is cut into slots of 1 TiB: the first for large arguments, some for the workers' rings, and one for the large
// replies of each worker process that there ever was, so that those of a dead one can be read while its successor writes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/descriptor.hpp"

namespace errand::detail {

class shared_file {
 public:
  static constexpr std::uint64_t slot_bytes = std::uint64_t{1} << 40;
  static constexpr std::uint64_t argument_slot = 0;
  static constexpr std::uint64_t bell_place = 0;  // a page of its own, which is no place for arguments: bell.hpp
  static constexpr std::uint64_t ring_slots = 1024;  // 1 to 1024: at most so many workers at a time
  static constexpr std::uint64_t large_slots = std::uint64_t{1} << 21;
  static constexpr std::uint64_t large_slot(std::uint64_t serial) noexcept {
    return 1 + ring_slots + serial % large_slots;
  }
  static constexpr bool inside(std::uint64_t slot, std::uint64_t offset, std::uint64_t bytes) noexcept {
    return offset / slot_bytes == slot && bytes <= slot_bytes - offset % slot_bytes;
  }

  // The file cannot be shrunk by anybody, so that no mapping of it can fault. Throws std::system_error.
  static shared_file create();

  int fd() const noexcept { return fd_.get(); }

  // Gives the memory behind a large message back to the kernel.
  void discard(std::uint64_t offset, std::uint64_t bytes) const noexcept;

 private:
  descriptor fd_;
};

// Hands out places for large messages in one slot, round and round: by the time the cursor comes back, a terabyte later,
// the old ones are long discarded.
class large_places {
 public:
  explicit large_places(std::uint64_t slot) noexcept;
  // Where the next message may lie. Never zero.
  std::uint64_t take(std::uint64_t bytes) noexcept;

 private:
  std::uint64_t base_;
  std::uint64_t used_ = 0;
};

// A stretch of the shared file, mapped for as long as this lives.
class file_view {
 public:
  // Throws std::system_error.
  file_view(int fd, std::uint64_t offset, std::size_t bytes);
  file_view(const file_view&) = delete;
  file_view& operator=(const file_view&) = delete;
  ~file_view();

  std::byte* data() const noexcept { return data_; }

 private:
  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace errand::detail
