// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A fresh directory for every file the command writes, removed with all of them however the
// command ends short of being killed outright.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// The same for any directory.
void require_space_in(std::string const& directory, std::uint64_t bytes);

class scratch_directory {
 public:
  // Inside `parent`, or inside $TMPDIR or /tmp if it is empty. Throws failure.
  explicit scratch_directory(std::string const& parent);
  ~scratch_directory();
  scratch_directory(scratch_directory const&) = delete;
  scratch_directory& operator=(scratch_directory const&) = delete;

  std::string const& path() const { return path_; }
  std::string file(std::string const& name) const { return path_ + "/" + name; }

  // Throws failure unless this many bytes are free. Better said now than minutes later.
  void require_space(std::uint64_t bytes) const { require_space_in(path_, bytes); }

  // Removes everything inside; the next run begins with new files.
  void empty() const;

 private:
  std::string path_;
};

}  // namespace bench
