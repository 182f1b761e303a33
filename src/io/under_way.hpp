// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How many bytes were given away to be written and are not down yet: counted for the whole process, and bounded (64 MiB, or
// ERRAND_WRITE_BEHIND). Who is beyond the bound waits, for his own: what others have under way may stay there for long.
#pragma once

#include <errand/detail/future.hpp>

#include <cstddef>
#include <cstdint>

namespace errand::detail {

/// One's own. What is left goes with it. By one thread at a time.
class bytes_under_way {
 public:
  bytes_under_way() noexcept;
  explicit bytes_under_way(std::size_t count) noexcept : bytes_under_way{} { add(count); }
  ~bytes_under_way() { remove(count_); }
  bytes_under_way(bytes_under_way const&) = delete;
  bytes_under_way& operator=(bytes_under_way const&) = delete;

  void add(std::size_t count) noexcept;
  void remove(std::size_t count) noexcept;
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

  /// Of all together. Any thread.
  [[nodiscard]] static bool is_room_for(std::size_t more) noexcept;
  [[nodiscard]] static std::size_t bound() noexcept;

 private:
  std::size_t count_ = 0;
  std::uint32_t const born_in_;
};

/// A write that has been started, at once; but if all that is under way is too much, when it is down: that parks a task, blocks a
/// thread.
[[nodiscard]] future<void> unless_too_much(future<void> started);

}  // namespace errand::detail
