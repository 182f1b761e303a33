// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One function in the background, one line each way: start it, go on with something else, take its result.
#include <errand/task.hpp>

#include <cstdio>
#include <string>

std::size_t count_words(std::string const& text) {
  std::size_t words = 0;
  bool inside = false;
  for (char const c : text) {
    words += c != ' ' && !inside;
    inside = c != ' ';
  }
  return words;
}

int main() {
  auto words = errand::async(count_words, std::string("plain code stays plain"));
  std::puts("counting ...");
  std::printf("%zu words\n", words.get());
}
