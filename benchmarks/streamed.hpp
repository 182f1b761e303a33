// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Large files from one end to the other: what errand, its rivals and the raw floors are all timed by. A writer brings
// write(path, blocks); a reader brings read(path, blocks).
#pragma once

#include "direct_file.hpp"
#include "files.hpp"

#include <utility>

namespace microbench {

// The text in three forms, each given to `sink`: what is produced costs the same whoever takes it.
struct in_pieces {
  template <class Sink>
  static void produce(std::uint64_t blocks, Sink sink) {
    std::string piece = the_text().bytes();
    for (std::uint64_t i = 0; i < blocks; ++i) {
      text_block::stamp(piece.data(), i);
      sink(std::string_view{piece});
    }
  }
};
struct in_moved_strings {
  template <class Sink>
  static void produce(std::uint64_t blocks, Sink sink) {
    for (std::uint64_t i = 0; i < blocks; ++i) {
      std::string piece = the_text().bytes();
      text_block::stamp(piece.data(), i);
      sink(std::move(piece));
    }
  }
};
struct in_lines {
  template <class Sink>
  static void produce(std::uint64_t blocks, Sink sink) {
    std::string piece = the_text().bytes();
    for (std::uint64_t i = 0; i < blocks; ++i) {
      text_block::stamp(piece.data(), i);
      std::string_view rest = piece;
      while (rest.size() >= 2 * text_block::line_length) {
        sink(rest.substr(0, text_block::line_length));
        rest.remove_prefix(text_block::line_length);
      }
      sink(rest);
    }
  }
};

// Takes what is produced and does nothing with it.
inline constexpr auto discard = [](auto&& piece) {
  asm volatile("" : : "r"(piece.data()), "r"(piece.size()) : "memory");
};

// CPU is all of the process, less what it took just before to produce the same bytes for nobody.
template <class Produce, class Write>
sample streamed_write(settings const& s, Produce produce, Write write) {
  auto const path = scratch_file(s, "streamed");
  auto const blocks = blocks_of(s);
  make_way(s, path);
  double const fresh_page = let_memory_cool(s);
  auto const cpu_before = cpu_ns();
  produce(blocks);
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  std::vector<fact> more = write(path, blocks);
  auto const end = now_ns();
  auto const cpu_spent = cpu_ns() - cpu - (cpu - cpu_before);
  verify_text(path, blocks);
  make_way(s, path);
  std::vector<fact> facts{{"CPU s/GiB", seconds_per_gib(cpu_spent, blocks)}, {"us per fresh page", fresh_page}};
  facts.insert(facts.end(), more.begin(), more.end());
  return {seconds_per_gib(end - begin, blocks), std::move(facts)};
}

inline sample written_raw(settings const& s, void (*write)(std::string const&, std::uint64_t)) {
  return streamed_write(
      s, [](std::uint64_t) {},
      [&](std::string const& path, std::uint64_t blocks) {
        write(path, blocks);
        return std::vector<fact>{};
      });
}

// The file is put out of the page cache before. read() verifies what it read and throws wrong_result.
template <class Read>
sample cold_read(settings const& s, Read read) {
  auto const blocks = blocks_of(s);
  auto const path = text_file(s, blocks);
  double const cached = make_cold(path);
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  read(path, blocks);
  auto const end = now_ns();
  return {seconds_per_gib(end - begin, blocks),
          {{"MiB resident", most_resident_bytes() / static_cast<double>(mib)},
           {"CPU s/GiB", seconds_per_gib(cpu_ns() - cpu, blocks)},
           {"% cached before", cached}}};
}

inline sample read_raw(settings const& s, void (*read)(std::string const&, std::uint64_t, block_reader const&)) {
  return cold_read(
      s, [&](std::string const& path, std::uint64_t blocks) { read(path, blocks, [](char const*, std::uint64_t) {}); });
}

}  // namespace microbench
