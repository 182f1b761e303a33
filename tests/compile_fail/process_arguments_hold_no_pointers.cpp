// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A literal is a pointer, and what it points to is not in the other process.
// expect: what crosses to another process is no pointer, reference, iterator or view
// errors: 1
#include <errand/process.hpp>

#include <string>

int size_of(std::string const& text) { return static_cast<int>(text.size()); }

int main() {
#ifdef MUST_NOT_COMPILE
  return errand::async(errand::processes, size_of, "text").get();
#else
  return errand::async(errand::processes, size_of, std::string("text")).get();
#endif
}
