// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/progress.hpp"

#include "bench/kernel.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <cstdio>

namespace bench {
namespace {

constexpr char const* clear_line = "\r\033[K";

std::string rest_of_time(double elapsed, int done, int steps) {
  // The first few steps say little about the others.
  if (done < 4) return "";
  double const left = elapsed / done * (steps - done);
  return left < 90 ? fmt::format(", about {:.0f} s left", left) : fmt::format(", about {:.0f} min left", left / 60);
}

}  // namespace

progress::progress(int steps, bool shown) : steps_(steps), shown_(shown), started_(now()) {}

progress::~progress() {
  if (shown_) std::fputs(clear_line, stderr);
}

void progress::step(std::string const& what) {
  int const done = begun_++;
  if (!shown_) return;
  std::string const line =
      fmt::format("{}[{}/{}] {}{}", clear_line, begun_, steps_, what, rest_of_time(now() - started_, done, steps_));
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

bool progress_is_wanted() { return isatty(STDERR_FILENO) == 1; }

}  // namespace bench
