// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Raw O_DIRECT by four threads, each with a buffer of its own: pwrite and pread, one MiB after the other. Also what verifies
// what others have written.
#include "bench/direct_disk.hpp"
#include "streamed.hpp"

#include <cstring>

namespace microbench {

static_assert(bench::direct_block == mib);

void write_by_threads(std::string const& path, std::uint64_t blocks) {
  auto const fill = [](char* buffer) { std::memcpy(buffer, the_text().bytes().data(), mib); };
  bench::write_directly(path, blocks, fill, &text_block::stamp);
}

void read_by_threads(std::string const& path, std::uint64_t blocks, block_reader const& each) {
  bench::read_directly(path, blocks * mib, each);
}

namespace {

add const written{"file-write", role::floor, "raw O_DIRECT by threads",
                  [](settings const& s) -> repetition { return [s] { return written_raw(s, &write_by_threads); }; },
                  place::own_process};
add const read{"file-read-cold", role::floor, "raw O_DIRECT by threads",
               [](settings const& s) -> repetition { return [s] { return read_raw(s, &read_by_threads); }; },
               place::own_process};

}  // namespace

}  // namespace microbench
