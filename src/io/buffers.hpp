// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory for what is on its way to or from files: buffers of 1 MiB, aligned for O_DIRECT, touched once and recycled; and the
// bound on the bytes that writers may have queued in all (64 MiB, or ERRAND_WRITE_BEHIND).
#pragma once

#include <cstddef>
#include <memory>

namespace errand::detail {

constexpr std::size_t io_buffer_size = std::size_t{1} << 20;
constexpr std::size_t io_alignment = 4096;

struct return_io_buffer {
  void operator()(std::byte* buffer) const noexcept;
};
using io_buffer = std::unique_ptr<std::byte[], return_io_buffer>;

/// One of io_buffer_size bytes, aligned to io_alignment. Up to eight that nobody uses are kept. Any thread. Throws
/// std::bad_alloc.
[[nodiscard]] io_buffer take_io_buffer();

}  // namespace errand::detail
