// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/check.hpp"

#include <cstdlib>
#include <cstring>
#include <sys/uio.h>
#include <unistd.h>

namespace errand::detail {

namespace {

iovec piece(std::string_view text) noexcept { return {const_cast<char*>(text.data()), text.size()}; }

}  // namespace

void say(std::string_view message) noexcept {
  iovec const line[] = {piece("errand: "), piece(message), piece("\n")};
  // Nobody is left to tell if stderr itself cannot be written.
  [[maybe_unused]] auto const written = ::writev(STDERR_FILENO, line, 3);
}

void fatal(std::string_view message) noexcept {
  say(message);
  std::abort();
}

void fatal_os(std::string_view operation, int error) noexcept {
  char text[128];
  char const* const meaning = ::strerror_r(error, text, sizeof text);
  iovec const line[] = {piece("errand: "), piece(operation), piece(" failed: "), piece(meaning), piece("\n")};
  [[maybe_unused]] auto const written = ::writev(STDERR_FILENO, line, 5);
  std::abort();
}

}  // namespace errand::detail
