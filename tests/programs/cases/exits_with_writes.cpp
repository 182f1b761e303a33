// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// exit() while writes are queued whose futures were dropped, are held by static objects, or by main, which is never left; one
// of them fails. Its argument is the directory to write to. All is down in the end, and the error is said.
#include <errand/io.hpp>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

std::vector<errand::future<void>> of_static;

struct late_writer {
  std::string to;
  ~late_writer() { static_cast<void>(errand::write_file(to, "late")); }
};

}  // namespace

int main(int, char** arguments) {
  std::string const dir = arguments[1];
  static late_writer const late{dir + "/late"};
  std::vector<errand::future<void>> of_main;
  for (int i = 0; i < 300; ++i) {
    auto write = errand::write_file(dir + "/" + std::to_string(i), std::string(10'000, 'x'));
    if (i % 3 == 0) of_main.push_back(std::move(write));
    if (i % 3 == 1) of_static.push_back(std::move(write));
  }
  static_cast<void>(errand::write_file("/dev/full", "x"));
  std::exit(6);
}
