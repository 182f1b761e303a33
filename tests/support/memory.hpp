// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How much memory this machine has to give, for tests that ask for more than there is.
#pragma once

#include <cstddef>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace errand_test {

/// Bytes that the system could still give out (MemAvailable of /proc/meminfo); nothing where it does not say.
inline std::optional<std::size_t> memory_available() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string name; meminfo >> name; meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (std::size_t kibibytes = 0; name == "MemAvailable:" && meminfo >> kibibytes) return kibibytes * 1024;
  return std::nullopt;
}

/// Why a test that asks for so many bytes in one piece, and expects to be refused, cannot be run here; empty if it can.
inline std::string reason_not_to_ask_for(std::size_t bytes) {
  auto const available = memory_available();
  if (!available) return "nobody says how much memory there is, so that all of it would be taken";
  if (*available >= bytes) return "this machine has " + std::to_string(*available) + " bytes of memory to give";
  return {};
}

}  // namespace errand_test
