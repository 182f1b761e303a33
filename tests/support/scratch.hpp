// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An empty directory for a test's files, and files put and looked at without errand.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace errand_test {

/// Gone with the test.
class scratch {
 public:
  explicit scratch(std::filesystem::path const& where = std::filesystem::temp_directory_path()) {
    std::string name = where / "errand-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"no directory for the test"};
    at_ = name;
  }
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(at_, ignored);
  }
  scratch(scratch const&) = delete;
  scratch& operator=(scratch const&) = delete;
  std::filesystem::path operator/(std::string const& name) const { return at_ / name; }
  [[nodiscard]] std::filesystem::path const& path() const { return at_; }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{at_}, {}));
  }

 private:
  std::filesystem::path at_;
};

inline std::string contents(std::filesystem::path const& of) {
  std::ifstream file{of, std::ios::binary};
  std::ostringstream all;
  all << file.rdbuf();
  return std::move(all).str();
}

inline void put(std::filesystem::path const& to, std::string_view text) { std::ofstream{to, std::ios::binary} << text; }

}  // namespace errand_test
