// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Partial results are combined with each other, so op takes two of them; to make one of an element is transform's part.
// expect: op takes two values of the type of init and returns one
#include <errand/group.hpp>

#include <string>
#include <vector>

int main() {
  std::vector<std::string> const texts{"a", "bc"};
#ifdef MUST_NOT_COMPILE
  return errand::reduce(texts, 0, [](int sum, std::string const& text) { return sum + int(text.size()); });
#else
  auto const plus = [](std::size_t a, std::size_t b) { return a + b; };
  return errand::reduce(texts, std::size_t{0}, plus, &std::string::size) == 3 ? 0 : 1;
#endif
}
