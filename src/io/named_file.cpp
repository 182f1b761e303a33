// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/named_file.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cstdlib>
#include <memory>
#include <system_error>

namespace errand::detail {

namespace {

// What a path means now: the program may change its directory before the file is opened.
std::string absolute(std::string const& path) {
  if (path.empty() || path.front() == '/') return path;
  std::unique_ptr<char, void (*)(void*)> const here{::get_current_dir_name(), &std::free};
  if (here == nullptr || *here != '/') return path;  // that directory is gone, or out of reach
  std::string whole{here.get()};
  if (whole.back() != '/') whole += '/';
  whole += path;
  constexpr std::size_t most = 4095;  // PATH_MAX, which counts what ends it
  return whole.size() <= most ? whole : path;
}

}  // namespace

named_file::named_file(char const* operation, std::filesystem::path path)
    : operation_{operation}, path_{std::move(path)}, at_{absolute(path_.native())} {}

void named_file::fail(char const* what, int error) const {
  throw std::filesystem::filesystem_error{std::string{operation_} + ": cannot " + what, path_,
                                          std::error_code{error, std::generic_category()}};
}

std::string const& named_file::at() const {
  if (at_.find('\0') != std::string::npos) fail("open", EINVAL);
  return at_;
}

bool is_stored(struct stat const& s) noexcept { return S_ISREG(s.st_mode) || S_ISBLK(s.st_mode); }

bool let_it_block(int fd) noexcept {
  int const flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

}  // namespace errand::detail
