// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The two ways in which the text analysis writes its auxiliary files. stream_file is std::ofstream
// with errors that name the path. handed_off_file collects a buffer, and when it is full hands it to
// errand::async and goes on: the calculation does not wait for the disk unless the disk is a whole
// buffer behind.
#pragma once

#include <errand/task.hpp>

#include <fstream>
#include <string>
#include <string_view>

namespace bench {

class stream_file {
 public:
  explicit stream_file(std::string path);
  void append(std::string_view text) { out_ << text; }
  void check() const;  // throws failure if something could not be written; on the thread that wrote
  void finish();       // writes the rest, closes, checks

 private:
  std::string path_;
  std::ofstream out_;
};

class handed_off_file {
 public:
  explicit handed_off_file(std::string path);
  ~handed_off_file();
  handed_off_file(handed_off_file const&) = delete;
  handed_off_file& operator=(handed_off_file const&) = delete;

  void append(std::string_view text) {
    filling_.append(text);
    if (filling_.size() >= buffer_size) hand_off();
  }
  void finish();

 private:
  static constexpr std::size_t buffer_size = 1 << 20;

  // The previous write first: they stay in order, and one buffer at most is on its way.
  void hand_off();

  std::string path_;
  std::ofstream out_;    // used by the write on its way, if there is one
  std::string filling_;  // used by the calculation
  std::string writing_;  // used by the write on its way
  errand::future<void> on_its_way_;
};

}  // namespace bench
