// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The two ways in which the text analysis writes its auxiliary files: std::ofstream, with errors that name the path; and
// errand::file_writer, which writes them behind the calculation.
#pragma once

#include <errand/io.hpp>

#include <fstream>
#include <string>
#include <string_view>

namespace bench {

class stream_file {
 public:
  explicit stream_file(std::string path);
  void append(std::string_view text) { out_ << text; }
  void finish();  // writes the rest, closes; throws failure if something could not be written

 private:
  std::string path_;
  std::ofstream out_;
};

class behind_file {
 public:
  explicit behind_file(std::string const& path) : out_(path) {}
  void append(std::string_view text) { out_.write(text); }
  void finish() { out_.close(); }

 private:
  errand::file_writer out_;
};

}  // namespace bench
