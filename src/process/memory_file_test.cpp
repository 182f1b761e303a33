// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The descriptor of the shared file is not taken for what somebody has put in its place.
#include "process/memory_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <system_error>

#include "base/descriptor.hpp"
#include "process/channel.hpp"

namespace errand::detail {
namespace {

bool is_open(int fd) {
  struct stat found{};
  return ::fstat(fd, &found) == 0;
}

void expect_refused(int fd) {
  auto const refused = [](auto try_it) {
    try {
      try_it();
    } catch (std::system_error const& e) {
      EXPECT_NE(std::string{e.what()}.find("has closed the descriptor"), std::string::npos) << e.what();
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused([fd] { reserve_shared(fd, 0, shared_pages); }));
  EXPECT_TRUE(refused([fd] { static_cast<void>(is_reserved(fd, 0, shared_pages)); }));
  EXPECT_TRUE(refused([fd] { static_cast<void>(map_shared(fd, 0, shared_pages, access::read)); }));
  EXPECT_TRUE(refused([fd] { channel rings(fd, 1, channel::after_fork::inherit); }));
}

TEST(memory_file, a_descriptor_that_was_closed_is_known_to_be_gone) {
  auto const file = memory_file::create();
  int const number = file.fd();
  ASSERT_GE(number, 0);
  ::close(number);
  EXPECT_EQ(file.fd(), -1);
  expect_refused(file.fd());
}

TEST(memory_file, nor_is_another_file_under_its_number_taken_for_it_or_closed) {
  descriptor others;
  {
    auto const file = memory_file::create();
    int const number = file.fd();
    auto const another = memory_file::create();
    ::dup2(another.fd(), number);
    others = descriptor(number);
    EXPECT_EQ(file.fd(), -1);
    expect_refused(file.fd());
  }
  EXPECT_TRUE(is_open(others.get()));
}

}  // namespace
}  // namespace errand::detail
