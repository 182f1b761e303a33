// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the tests of io share: temporary files, contents that show where they were taken from, both kinds of transfer as a
// parameter, and processes of their own in which the system refuses this or that.
#pragma once

#include "base/sanitizers.hpp"
#include "io/ring.hpp"
#include "io/transfer.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include <support/in_child.hpp>

namespace errand_test {

/// In the working directory, a disk's and not a tmpfs's if the build is on a disk; or wherever asked. Gone with the object.
class temporary_file {
 public:
  explicit temporary_file(std::string const& folder = ".") : path_{folder + "/io_test.XXXXXX"} {
    fd_ = ::mkostemp(path_.data(), O_CLOEXEC);
    if (fd_ < 0) throw std::system_error{errno, std::generic_category(), path_};
  }
  ~temporary_file() {
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  temporary_file(temporary_file const&) = delete;
  temporary_file& operator=(temporary_file const&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::string const& path() const { return path_; }
  [[nodiscard]] std::string contents() const {
    std::ifstream in{path_, std::ios::binary};
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }
  [[nodiscard]] std::uint64_t size() const {
    struct stat about {};
    ::fstat(fd_, &about);
    return static_cast<std::uint64_t>(about.st_size);
  }
  [[nodiscard]] std::uint64_t allocated() const {
    struct stat about {};
    ::fstat(fd_, &about);
    return static_cast<std::uint64_t>(about.st_blocks) * 512;
  }

 private:
  std::string path_;
  int fd_ = -1;
};

/// Text of that size in which no two places look alike.
inline std::string pattern(std::size_t size, std::uint64_t salt) {
  std::string text(size, '\0');
  std::uint64_t state = salt * 0x9e37'79b9'7f4a'7c15U + 1;
  for (std::size_t i = 0; i < size; i += 8) {
    state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    std::uint64_t const word = state ^ (state >> 29U);
    std::memcpy(text.data() + i, &word, std::min(size - i, sizeof word));
  }
  return text;
}

inline bool ring_is_built_in() {
  int error = 0;
  auto const made = errand::detail::make_ring_transfer(1, error);
  return made != nullptr || error != ENOSYS;
}
inline bool ring_works() {
  int error = 0;
  return errand::detail::make_ring_transfer(1, error) != nullptr;
}

/// Tests with both kinds.
class io_kind_test : public testing::TestWithParam<errand::detail::transfer::kind> {
 protected:
  void SetUp() override {
    if (GetParam() == errand::detail::transfer::kind::ring && !ring_works()) GTEST_SKIP() << "io_uring is refused here";
  }
};
// NOLINTNEXTLINE: a macro, as GoogleTest's are
#define INSTANTIATE_IO_KINDS(suite)                                                                                  \
  INSTANTIATE_TEST_SUITE_P(both, suite,                                                                              \
                           testing::Values(errand::detail::transfer::kind::ring, errand::detail::transfer::kind::threads), \
                           [](auto const& tested) {                                                                 \
                             return tested.param == errand::detail::transfer::kind::ring ? "ring" : "threads";         \
                           })

/// The child of a fork, for what must not be done to the test's own process; 0 if all went well.
template <class Body>
int in_new_process(Body body) {
  return in_child(body);
}

/// From now on that system call of this process does nothing but to fail.
inline void refuse_system_call(long number, int error) {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  sock_fprog const filter{static_cast<unsigned short>(program.size()), program.data()};
  require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
  require(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "a filter of system calls");
}

/// From now on no file of this process grows beyond.
inline void limit_file_size(rlim_t most) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit const limit{most, most};
  require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "a limit of the files' size");
}

}  // namespace errand_test
