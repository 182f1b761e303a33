// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// exit() from main while a writer stands there, which is never destroyed, with bytes that it has collected. Its argument is the
// file.
#include <errand/io.hpp>

#include <cstdlib>

int main(int, char** arguments) {
  errand::file_writer w{arguments[1]};
  w.write("all of it");
  std::exit(8);
}
