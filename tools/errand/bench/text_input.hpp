// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A text to analyse where none is given: lines as a service logs them, the same bytes on every
// machine for the same size.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// Writes whole lines until `size` bytes are reached or just passed. Throws failure.
void generate_text(std::string const& path, std::uint64_t size);

// The same once for all: a file of that size in the user's cache directory (XDG_CACHE_HOME, else ~/.cache), generated if it is
// not there yet. In `otherwise` if there is no such directory to be had. Throws failure.
std::string generated_text(std::uint64_t size, std::string const& otherwise);

// A line takes no more than this, so a file is at most this much larger than asked for.
inline constexpr std::uint64_t longest_generated_line = 128;

}  // namespace bench
