// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A large result of another process: from the moment it is finished there to the moment it is held here. What finishing it
// takes is nobody's, so the first bytes of a result are the time when the rest was done.
#pragma once

#include "system_state.hpp"
#include "harness.hpp"

#include <cstring>

namespace microbench {

inline std::size_t result_bytes(settings const& s) { return std::size_t{s.quick ? 4U : 100U} << 20; }

// Fills it, for a reader who knows the size and the salt; last of all, when it was done.
inline void finish_result(char* data, std::size_t bytes, std::uint64_t salt) {
  for (std::size_t at = 8; at < bytes; at += 8) {
    std::uint64_t const word = at * 0x9E3779B97F4A7C15U ^ salt;
    std::memcpy(data + at, &word, 8);
  }
  auto const done = now_ns();
  std::memcpy(data, &done, sizeof done);
}

// take(bytes, salt) has such a result made in another process and returns it, as something with data() and size(). Median,
// in milliseconds. A result that is here in name only would be paid for when it is first read: that is timed apart.
template <class Take>
sample results_taken(settings const& s, Take take) {
  auto const bytes = result_bytes(s);
  std::vector<double> taken, walked;
  for (std::uint64_t round = 0; round < 2 + s.times(5); ++round) {
    auto const got = take(bytes, round);
    auto const here = now_ns();
    require(got.size() == bytes, "a result has the wrong size");
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < bytes; at += 4096) sum += static_cast<unsigned char>(got.data()[at]);
    asm volatile("" : : "r"(sum));
    auto const read = now_ns();
    std::int64_t done = 0;
    std::memcpy(&done, got.data(), sizeof done);
    for (std::size_t at = 8; at < bytes; at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, got.data() + at, 8);
      require(word == (at * 0x9E3779B97F4A7C15U ^ round), "a result has other bytes than were sent");
    }
    if (round < 2) continue;  // memory that is touched for the first time
    taken.push_back(ns_each(done, here, 1'000'000));
    walked.push_back(ns_each(here, read, 1'000'000));
  }
  return {median(taken), {{"MiB", static_cast<double>(bytes >> 20)}, {"ms to read a byte per page", median(walked)}}};
}

}  // namespace microbench
