// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the report goes. A file is opened before minutes of measuring, written beside its final name
// and renamed when it is whole: nobody ever sees half a table, and an older report survives a failure.
#pragma once

#include <string>

namespace bench {

class output {
 public:
  explicit output(std::string path);  // empty: stdout; throws failure if it cannot be written
  ~output();
  output(output const&) = delete;
  output& operator=(output const&) = delete;

  void write(std::string const& text);  // all of it, once; throws failure

 private:
  std::string name() const { return path_.empty() ? "the standard output" : path_; }

  std::string path_;
  std::string temporary_;  // empty once renamed, or if there is none
  int fd_;
};

}  // namespace bench
