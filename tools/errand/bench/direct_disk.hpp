// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the disk can do for anybody: past the page cache (O_DIRECT), a MiB at a time, by four threads with a buffer each.
// All throw failure, also where the file system refuses O_DIRECT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace bench {

inline constexpr std::size_t direct_block = std::size_t{1} << 20;

struct free_direct_buffer {
  void operator()(char* buffer) const;
};
using direct_buffer = std::unique_ptr<char, free_direct_buffer>;

// For one block, in a large page if one can be had: a disk takes what lies in one piece at more than twice the speed of what is
// scattered over 256 pages. What it has is not specified.
direct_buffer make_direct_buffer();

// Writes so many blocks to a new file, whose space is allocated before. Each buffer is filled once, and `stamp` may then make
// it the block of that place. Called by several threads at once.
void write_directly(std::string const& path, std::uint64_t blocks, std::function<void(char* buffer)> const& fill,
                    std::function<void(char* block, std::uint64_t index)> const& stamp);

// Reads the first `bytes` of a file, in whatever order; `each` gets every block, by several threads at once.
void read_directly(std::string const& path, std::uint64_t bytes,
                   std::function<void(char const* block, std::uint64_t index)> const& each);

}  // namespace bench
