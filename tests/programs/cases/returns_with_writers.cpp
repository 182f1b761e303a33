// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A return from main while writers that were dropped, are main's or static, or are made by a destructor after it, have much to
// write; one of them cannot. Its argument is the directory. All is down in the end, and the error is said.
#include <errand/io.hpp>

#include <memory>
#include <string>

namespace {

std::unique_ptr<errand::file_writer> of_static;

void fill(errand::file_writer& w) {
  for (int i = 0; i < 120'000; ++i) w.print(std::string(99, 'x'), '\n');
}

struct late_writer {
  std::string to;
  ~late_writer() {
    errand::file_writer w{to};
    fill(w);
  }
};

}  // namespace

int main(int, char** arguments) {
  std::string const dir = arguments[1];
  static late_writer const late{dir + "/late"};
  of_static = std::make_unique<errand::file_writer>(dir + "/static", errand::durability::synced);
  fill(*of_static);
  errand::file_writer of_main{dir + "/of main"};
  fill(of_main);
  {
    errand::file_writer dropped{dir + "/dropped"};
    fill(dropped);
    errand::file_writer atomic{dir + "/atomic", errand::durability::atomic};
    fill(atomic);
    errand::file_writer{"/dev/full"}.write("lost");
  }
  return 7;
}
