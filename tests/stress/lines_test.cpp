// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lines of files and pipes against stops, failures and readers that leave, at moments chosen by chance. What is not stopped is
// complete; nothing hangs.
#include <errand/detail/lines.hpp>
#include <errand/group.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fstream>
#include <string>

#include "support/scratch.hpp"
#include "support/seed.hpp"

namespace {

using errand_test::dither;
using errand_test::generator;
using errand_test::rounds;

class lines_stress : public testing::Test {
 protected:
  lines_stress() {
    file = directory / "text";
    pipe = directory / "pipe";
  }

  // So many lines, of any length to `longest`.
  void write_lines(generator& random, std::size_t count, unsigned longest) const {
    std::ofstream to{file, std::ios::binary};
    for (std::size_t i = 0; i < count; ++i) to << std::string(random.below(longest), 'x') << '\n';
  }

  errand_test::scratch directory;
  std::filesystem::path file;
  std::filesystem::path pipe;
};

struct enough {};

TEST_F(lines_stress, a_file_read_by_some_who_are_stopped_fail_or_leave) {
  generator random{errand_test::test_seed()};
  constexpr std::size_t count = 20'000;
  for (rounds r{40}; r.next();) {
    write_lines(random, count, 1 + random.below(600));
    for (int again = 0; again < 5; ++again) {
      int const fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
      if (random.one_in(2)) {
        ::fsync(fd);
        ::posix_fadvise(fd, random.one_in(2) ? 0 : 1'000'000, 0, POSIX_FADV_DONTNEED);
      }
      ::close(fd);
      std::size_t const leave_after = random.one_in(2) ? random.below(count) : count;
      bool const by_exception = random.one_in(2);
      bool const shared = random.one_in(2);
      auto reader = errand::async([&, shared, leave_after, by_exception] {
        std::atomic<std::size_t> seen{0};
        auto const look = [&](std::string_view) {
          if (++seen == leave_after + 1 && by_exception) throw enough{};
        };
        if (shared) {
          errand::for_each_line(file, look);
          return seen.load();
        }
        for (auto const line : errand::lines{file}) {
          look(line);
          if (seen > leave_after) break;
        }
        return leave_after == count ? seen.load() : count;
      });
      bool const stop = random.one_in(2);
      dither(random);
      if (stop) reader.request_stop();
      auto outcome = reader.result();
      if (outcome.has_value())
        EXPECT_EQ(std::move(outcome).value(), count);
      else if (outcome.stopped())
        EXPECT_TRUE(stop);
      else
        EXPECT_TRUE(by_exception && leave_after < count);
    }
  }
}

TEST_F(lines_stress, a_pipe_read_by_some_who_are_stopped_or_leave) {
  generator random{errand_test::test_seed()};
  for (rounds r{150}; r.next();) {
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    int const fd = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    std::string const text(1 + random.below(40'000), '\n');
    ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    std::size_t const leave_after = random.one_in(2) ? random.below(static_cast<unsigned>(text.size())) : text.size();
    bool const shared = random.one_in(2);
    std::atomic<std::size_t> seen{0};
    auto reader = errand::async([&] {
      auto const look = [&](std::string_view) {
        if (++seen == leave_after) throw enough{};
      };
      if (shared)
        errand::for_each_line(pipe, look);
      else
        for (auto const line : errand::lines{pipe}) look(line);
    });
    dither(random);
    if (random.one_in(2) && leave_after == text.size()) {
      reader.request_stop();
      EXPECT_FALSE(reader.result().has_value());
    } else if (leave_after != 0) {
      EXPECT_THROW(reader.get(), enough);  // all that it asks for comes, whoever else holds the pipe open
    } else {
      reader = {};
    }
    ::close(fd);
    std::filesystem::remove(pipe);
  }
}

}  // namespace
