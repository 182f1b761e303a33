// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Containers of containers come with a header of their own, which the complaint names.
// expect: #include <errand/serialize.hpp>
// errors: 1
#include <errand/process.hpp>
#ifndef MUST_NOT_COMPILE
#include <errand/serialize.hpp>
#endif

#include <map>
#include <string>

int main() {
  std::map<std::string, int> ages{{"Ann", 30}};
  return errand::async(errand::processes, [](std::map<std::string, int> m) { return m["Ann"]; }, ages).get();
}
