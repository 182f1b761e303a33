// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the disk can do for anybody: past the page cache (O_DIRECT), a MiB at a time, by four threads with a buffer each.
// All throw failure, also where the file system refuses O_DIRECT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace bench {

inline constexpr std::size_t direct_block = std::size_t{1} << 20;

// Writes so many blocks to a new file, whose space is allocated before. Each buffer is filled once, and `stamp` may then make
// it the block of that place. Called by several threads at once.
void write_directly(std::string const& path, std::uint64_t blocks, std::function<void(char* buffer)> const& fill,
                    std::function<void(char* block, std::uint64_t index)> const& stamp);

// Reads the first `bytes` of a file, in whatever order; `each` gets every block, by several threads at once.
void read_directly(std::string const& path, std::uint64_t bytes,
                   std::function<void(char const* block, std::uint64_t index)> const& each);

}  // namespace bench
