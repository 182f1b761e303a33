// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// A piece of the memory that parent and workers share, as whoever holds it sees it: an address, a size, and an owner to
// whom it goes back. What `shared_vector` stores its elements in, and what messages too large for a ring lie in. Where
// there is no such memory (no workers yet, a small piece) it is ordinary memory that only looks alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace errand::detail {

class memory_owner;

/// Made and destroyed by src/process/ alone; constant while anybody holds it, but for the count.
struct arena_piece {
  std::byte* data;
  std::size_t capacity;
  std::uint64_t place;       // in the shared file; 0: ordinary memory
  std::uint32_t number;      // its owner's
  std::uint32_t references;  // see hold() and let_go(), which alone touch it
  memory_owner* owner;       // null: ordinary memory
};

/// Room for so many bytes, contents arbitrary. Large ones come from the shared memory if this process has some. Throws
/// std::bad_alloc, or std::system_error if the system grants no more of the shared memory. Any thread.
[[nodiscard]] arena_piece* allocate_piece(std::size_t bytes);
void hold(arena_piece& piece) noexcept;
/// The last one gives it back to its owner. Any thread.
void let_go(arena_piece& piece) noexcept;

/// One of those who hold a piece, or nobody.
class piece_ref {
 public:
  piece_ref() = default;
  /// Takes over what the caller holds.
  explicit piece_ref(arena_piece* held) noexcept : piece_{held} {}
  piece_ref(piece_ref const& other) noexcept : piece_{other.piece_} {
    if (piece_ != nullptr) hold(*piece_);
  }
  piece_ref(piece_ref&& other) noexcept : piece_{std::exchange(other.piece_, nullptr)} {}
  piece_ref& operator=(piece_ref other) noexcept {
    std::swap(piece_, other.piece_);
    return *this;
  }
  ~piece_ref() { reset(); }

  void reset() noexcept {
    if (piece_ != nullptr) let_go(*std::exchange(piece_, nullptr));
  }
  [[nodiscard]] arena_piece* get() const noexcept { return piece_; }
  arena_piece* operator->() const noexcept { return piece_; }
  explicit operator bool() const noexcept { return piece_ != nullptr; }

 private:
  arena_piece* piece_ = nullptr;
};

using piece_list = std::vector<piece_ref>;

}  // namespace errand::detail
