// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/scratch_directory.hpp"

#include "bench/failure.hpp"

#include <fmt/format.h>

#include <sys/statvfs.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace bench {
namespace {

std::string default_parent() {
  char const* from_environment = std::getenv("TMPDIR");
  return from_environment != nullptr && *from_environment != '\0' ? from_environment : "/tmp";
}

}  // namespace

void require_space_in(std::string const& directory, std::uint64_t bytes) {
  struct statvfs about {};
  if (statvfs(directory.c_str(), &about) != 0) throw os_failure("ask for the free space of " + directory, errno);
  std::uint64_t const available = static_cast<std::uint64_t>(about.f_bavail) * about.f_frsize;
  if (available < bytes) {
    throw failure(fmt::format("not enough space in {}: {} MiB are needed, {} MiB are free", directory,
                              (bytes >> 20) + 1, available >> 20));
  }
}

scratch_directory::scratch_directory(std::string const& parent) {
  std::string const where = parent.empty() ? default_parent() : parent;
  std::string name = where + "/errand-bench-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw os_failure("create a directory in " + where, errno);
  path_ = name;
}

scratch_directory::~scratch_directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void scratch_directory::empty() const {
  std::error_code error;
  for (auto const& entry : std::filesystem::directory_iterator(path_, error)) {
    std::filesystem::remove_all(entry.path(), error);
  }
  if (error) throw failure(fmt::format("cannot empty {}: {}", path_, error.message()));
}

}  // namespace bench
