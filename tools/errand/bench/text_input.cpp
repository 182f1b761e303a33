// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/text_input.hpp"

#include "bench/auxiliary_file.hpp"
#include "bench/interrupt.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <string_view>

namespace bench {
namespace {

constexpr std::size_t block_size = 1 << 20;

constexpr std::array<std::string_view, 4> verbs{"GET", "GET", "PUT", "POST"};
constexpr std::array<std::string_view, 12> services{"orders",  "cart",   "search", "login",   "images", "mail",
                                                    "billing", "search", "cache",  "reports", "search", "images"};

// A full-period generator modulo 2^64 (Knuth's multiplier); its high bits are good enough for a log.
class dice {
 public:
  std::uint64_t below(std::uint64_t n) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return (state_ >> 33) % n;
  }

 private:
  std::uint64_t state_ = 2015'09'18;
};

}  // namespace

void generate_text(std::string const& path, std::uint64_t size) {
  stream_file out(path);
  dice d;
  std::string block;
  std::uint64_t milliseconds = 0;
  for (std::uint64_t written = 0; written < size;) {
    block.clear();
    while (block.size() < block_size && written + block.size() < size) {
      milliseconds += d.below(40);
      std::uint64_t const seconds = milliseconds / 1000;
      fmt::format_to(std::back_inserter(block), "2015-09-{:02} {:02}:{:02}:{:02}.{:03} {} {} /item/{} {} {}\n",
                     18 + seconds / 86400 % 12, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60,
                     milliseconds % 1000, services.at(d.below(services.size())), verbs.at(d.below(verbs.size())),
                     d.below(1'000'000), d.below(20) == 0 ? 500 : 200, d.below(30'000));
    }
    out.append(block);
    written += block.size();
    check_interrupt();
  }
  out.finish();
}

}  // namespace bench
