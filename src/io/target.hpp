// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file that is being written: opened anew, to append, or, for `durability::atomic`, as a file beside it that takes its place
// at the end. One thread at a time; all calls may block.
#pragma once

#include "base/descriptor.hpp"
#include "io/named_file.hpp"

#include <errand/detail/whole_file.hpp>

#include <optional>

namespace errand::detail {

class write_target {
 public:
  write_target(char const* operation, std::filesystem::path path, write_kind kind, durability how);

  /// Once it has answered true, it does nothing. False: it would have to wait for who knows how long (nobody reads the FIFO,
  /// somebody holds a lease, writes to it may block for ever); to be called again where that may be.
  [[nodiscard]] bool open(bool may_wait);
  /// Until nothing is left; what is left when it throws was not written.
  void write(std::string_view& left);
  /// To the disk, if `synced` or `atomic`.
  void sync();
  /// What `how` promises, and closes. Afterwards it is as new, and open() opens it once more.
  void finish();

 private:
  // A file that is made beside another one, to take its place: gone again unless it does.
  class stand_in;

  // What one call of write() takes at most is a little less than 2 GiB.
  static constexpr std::size_t most_at_once = std::size_t{1} << 30;

  [[nodiscard]] std::string behind_links() const;
  void make_successor();
  void take_after(struct stat const& before, int fd) const;
  void close();

  struct successor;

  named_file name_;
  write_kind kind_;
  durability how_;
  descriptor file_;  // of `atomic` the successor's
  bool stored_ = true;
  std::unique_ptr<successor> successor_;

 public:
  ~write_target();
  write_target(write_target const&) = delete;
  write_target& operator=(write_target const&) = delete;
};

}  // namespace errand::detail
