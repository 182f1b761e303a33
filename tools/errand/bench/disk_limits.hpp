// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What this machine could do at best with a text: how fast its bytes come out of the page cache and from the disk, and how
// fast the disk takes others. Measured in the same run as the programs, to say what they leave on the table.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// Bytes per second; 0 where it could not be measured: the file system refuses O_DIRECT.
struct disk_limits {
  double cached_read = 0;
  double direct_read = 0;
  double direct_write = 0;
};

// At most so much of a file is read, and written to `scratch`, which is removed. `cached`: whether to fill the page cache too.
inline constexpr std::uint64_t most_of_a_limit = std::uint64_t{1} << 30;
disk_limits measure_limits(std::string const& text, std::string const& scratch, bool cached);

// Reads a whole file plainly, so that it is in the page cache if there is room; the seconds it took.
double read_through(std::string const& path, std::uint64_t most);
// Puts a file out of the page cache. Throws failure.
void drop_from_cache(std::string const& path);

}  // namespace bench
