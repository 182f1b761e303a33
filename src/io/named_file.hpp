// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file by its path, and what is said when something with it fails; and what all who open files need.
#pragma once

#include <sys/stat.h>
#include <cerrno>
#include <filesystem>
#include <string>

namespace errand::detail {

/// Calls a system call until no signal interrupts it.
template <class Call>
auto retried(Call call) noexcept {
  for (;;) {
    auto const result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class named_file {
 public:
  /// `operation` is what messages begin with; a literal. A relative path means the current directory at this moment.
  named_file(char const* operation, std::filesystem::path path);

  /// Throws a filesystem_error: `operation: cannot what: meaning of error [path]`.
  [[noreturn]] void fail(char const* what, int error) const;
  /// Where it is; throws if no path can say that.
  [[nodiscard]] std::string const& at() const;

 private:
  char const* operation_;
  std::filesystem::path path_;  // as the caller said it
  std::string at_;
};

/// Reads and writes of what is stored end, sooner or later; those of a FIFO, a terminal, a socket need not.
[[nodiscard]] bool is_stored(struct stat const& s) noexcept;
/// Takes O_NONBLOCK back.
[[nodiscard]] bool let_it_block(int fd) noexcept;

}  // namespace errand::detail
