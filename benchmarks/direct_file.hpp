// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The most that the disk gives to a program: O_DIRECT, 1 MiB at a time, four under way, by liburing or by four threads. All
// throw wrong_result, also where the file system refuses O_DIRECT.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace microbench {

// So many blocks of the text to a new file, with all its space allocated before.
void write_by_threads(std::string const& path, std::uint64_t blocks);
void write_by_liburing(std::string const& path, std::uint64_t blocks);

// Is called with each block and its place, in whatever order; by several threads at once, if these read.
using block_reader = std::function<void(char const* block, std::uint64_t index)>;
void read_by_threads(std::string const& path, std::uint64_t blocks, block_reader const& each);
void read_by_liburing(std::string const& path, std::uint64_t blocks, block_reader const& each);

}  // namespace microbench
