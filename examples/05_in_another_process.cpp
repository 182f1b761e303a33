// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A function that may crash runs in another process: the crash costs one task, and says which.
#include <errand/process.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

// Stands for a library that one would rather not trust.
int fragile_length(std::string const& text) {
  if (text.find('\0') != std::string::npos) std::abort();
  return static_cast<int>(text.size());
}

int main() {
  auto good = errand::async(errand::processes, fragile_length, std::string("fine"));
  auto bad = errand::async(errand::processes, fragile_length, std::string(1, '\0'));
  std::printf("%d letters\n", good.get());
  try {
    std::printf("%d letters\n", bad.get());
  } catch (errand::process_died const& e) {
    std::printf("as expected: %s\n", e.what());
    return 0;
  }
  return 1;
}
