// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory for what is on its way to or from files: buffers of 1 MiB, aligned for O_DIRECT, touched once and recycled.
// Two lie in one large page: to be given memory by pages of 4 KiB costs more than to write it to the disk.
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

/// One of io_buffer_size bytes, aligned to io_alignment. Some eight that nobody uses are kept. Any thread. Throws std::bad_alloc.
[[nodiscard]] io_buffer take_io_buffer();

/// While there is one, more buffers are kept: as many as the writers may have on their way.
class many_io_buffers {
 public:
  many_io_buffers() noexcept;
  ~many_io_buffers();
  many_io_buffers(many_io_buffers const&) = delete;
  many_io_buffers& operator=(many_io_buffers const&) = delete;
};

}  // namespace errand::detail
