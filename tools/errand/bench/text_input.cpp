// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/text_input.hpp"

#include "bench/auxiliary_file.hpp"
#include "bench/failure.hpp"
#include "bench/interrupt.hpp"
#include "bench/scratch_directory.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
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

std::string from_environment(char const* name) {
  char const* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Empty if there is none that can be written to.
std::string cache_directory() {
  std::string const chosen = from_environment("XDG_CACHE_HOME");
  std::string const home = from_environment("HOME");
  if (chosen.empty() && home.empty()) return "";
  std::string const directory = (chosen.empty() ? home + "/.cache" : chosen) + "/errand";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  return !error && access(directory.c_str(), W_OK | X_OK) == 0 ? directory : "";
}

// Whether it is a text of that size; what else could have that name is one of another version, which has another name.
bool is_there(std::string const& path, std::uint64_t size) {
  std::error_code error;
  std::uint64_t const found = std::filesystem::file_size(path, error);
  return !error && found >= size && found < size + longest_generated_line;
}

}  // namespace

std::string generated_text(std::uint64_t size, std::string const& otherwise) {
  std::string const cache = cache_directory();
  std::string const directory = cache.empty() ? otherwise : cache;
  std::string const path = fmt::format("{}/text-1-{}.txt", directory, size);
  if (is_there(path, size)) return path;
  require_space_in(directory, size + longest_generated_line);
  std::string const unfinished = fmt::format("{}.{}.part", path, getpid());
  try {
    generate_text(unfinished, size);
    std::filesystem::rename(unfinished, path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(unfinished, ignored);
    throw;
  }
  return path;
}

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
