// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// by_value copies bytes; a string is more than its bytes.
// expect: errand::by_value: this lambda captures something that is not trivially copyable
#include <errand/process.hpp>

#include <string>

int main() {
  std::string const text = "text";
#ifdef MUST_NOT_COMPILE
  return errand::async(errand::processes, errand::by_value([text] { return static_cast<int>(text.size()); })).get();
#else
  return errand::async(errand::processes,
                       errand::by_value([](std::string const& t) { return static_cast<int>(t.size()); }, text)).get();
#endif
}
