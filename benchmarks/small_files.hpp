// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A thousand files of 4 KiB, written and read: what errand and the plain system calls are both timed by.
#pragma once

#include "files.hpp"

#include <filesystem>

namespace microbench {

class small_files {
 public:
  static constexpr std::size_t size = 4096;

  explicit small_files(settings const& s) : directory_{scratch_file(s, "small")} {
    std::filesystem::create_directory(directory_);
    for (std::size_t i = 0; i < s.times(1000); ++i) {
      paths_.push_back(directory_ + "/" + std::to_string(i));
      contents_.push_back(the_text().bytes().substr(0, size));
      text_block::stamp(contents_.back().data(), i);
    }
  }
  ~small_files() { std::filesystem::remove_all(directory_); }
  small_files(small_files const&) = delete;
  small_files& operator=(small_files const&) = delete;

  [[nodiscard]] std::size_t count() const { return paths_.size(); }
  [[nodiscard]] std::string const& path(std::size_t i) const { return paths_[i]; }
  [[nodiscard]] std::string const& contents(std::size_t i) const { return contents_[i]; }
  void remove() const {
    for (auto const& p : paths_) std::filesystem::remove(p);
  }
  void verify() const;  // what is in them
  void write() const;   // by plain calls, one after the other

 private:
  std::string directory_;
  std::vector<std::string> paths_{};
  std::vector<std::string> contents_{};
};

// One file by open, write or read, close.
void plain_write(std::string const& path, std::string const& contents);
[[nodiscard]] std::string plain_read(std::string const& path);

// write(files) writes all of them anew. Microseconds for each.
template <class Write>
sample small_written(settings const& s, Write write) {
  small_files const files{s};
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  write(files);
  auto const end = now_ns();
  auto const cpu_end = cpu_ns();
  files.verify();
  return {ns_each(begin, end, 1000 * files.count()), {{"CPU us", ns_each(cpu, cpu_end, 1000 * files.count())}}};
}

// read(files) returns the contents of all of them.
template <class Read>
sample small_read(settings const& s, Read read) {
  small_files const files{s};
  files.write();
  auto const cpu = cpu_ns();
  auto const begin = now_ns();
  std::vector<std::string> const all = read(files);
  auto const end = now_ns();
  auto const cpu_end = cpu_ns();
  require(all.size() == files.count(), "not every file was read");
  for (std::size_t i = 0; i < all.size(); ++i) require(all[i] == files.contents(i), "a file was not read as it is");
  return {ns_each(begin, end, 1000 * files.count()), {{"CPU us", ns_each(cpu, cpu_end, 1000 * files.count())}}};
}

}  // namespace microbench
