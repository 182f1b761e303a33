// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver of an open file where some operations end late: others get through; a file that is asked much gives way to
// others; a sync that has failed is not tried again.
#include "io/file_core.hpp"

#include "io/testing.hpp"

#include <errand/io.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <support/files.hpp>
#include <support/scratch.hpp>
#include <support/seed.hpp>
#include <support/sequencer.hpp>

namespace errand::detail {
namespace {

// A FIFO as if it had places, which a ring does not care about: a read of it waits for a write.
shared_file core_of_fifo(std::filesystem::path const& at) {
  if (::mkfifo(at.c_str(), 0600) != 0) throw std::runtime_error{"mkfifo"};
  descriptor opened{::open(at.c_str(), O_RDWR | O_CLOEXEC)};
  return std::make_shared<file_core>(named_file{"errand::file", at}, std::move(opened), open_mode::update, true,
                                     std::source_location::current());
}

// Too large to be tried before there is a ring.
constexpr std::size_t large = std::size_t{300} << 10;

TEST(file_driver, hands_over_what_comes_while_it_waits_for_what_may_never_end) {
  if (!errand_test::ring_works() || std::getenv("ERRAND_IO") != nullptr) GTEST_SKIP() << "only a ring reads a FIFO at a place";
  errand_test::scratch dir;
  errand_test::generator random{errand_test::test_seed()};
  for (errand_test::rounds r{100}; r.next();) {
    auto const core = core_of_fifo(dir / "fifo");
    auto read = start_read_at(core, 0, large, std::source_location::current());
    std::vector<std::thread> writers;
    // Each of these ends only because the read, which was there before, takes what it writes, and none of them would come if
    // the driver slept on.
    for (int i = 0; i != 3; ++i)
      writers.emplace_back([&core, mine = random.split()]() mutable {
        errand_test::dither(mine);
        start_write_at(core, 0, file_bytes::of(std::string(large / 3, 'x')), std::source_location::current()).get();
      });
    for (auto& each : writers) each.join();
    EXPECT_EQ(read.get(), std::string(large, 'x'));
    start_close(core, std::source_location::current()).get();
    ::unlink((dir / "fifo").c_str());
  }
}

TEST(file_driver, of_a_file_that_is_asked_much_gives_way_to_others) {
  errand_test::scratch dir;
  errand_test::put(dir / "a", "x");
  file const busy{dir / "a"};
  auto& threads = file_threads::of_process();

  // All file threads are held while the file's driver queues with much to do, and another operation behind it.
  struct blocker : file_operation {
    errand_test::flag begun, let_go, ended;
  };
  std::vector<std::unique_ptr<blocker>> held;
  for (unsigned i = 0; i != threads.most(); ++i) {
    held.push_back(std::make_unique<blocker>());
    held.back()->run = [](file_operation* op) noexcept {
      auto& self = static_cast<blocker&>(*op);
      self.begun.raise();
      self.let_go.wait();
      self.ended.raise();
    };
    threads.submit(*held.back());
  }
  for (auto const& each : held) each->begun.wait();
  std::vector<future<std::string>> reads(2000);
  for (auto& each : reads) each = busy.read_at(0, 1);
  struct other_operation : file_operation {
    std::vector<future<std::string>> const* reads = nullptr;
    std::ptrdiff_t ended_before = 0;
    errand_test::flag ended;
  } other;
  other.reads = &reads;
  other.run = [](file_operation* op) noexcept {
    auto& self = static_cast<other_operation&>(*op);
    self.ended_before = std::ranges::count_if(*self.reads, [](auto const& each) { return each.ready(); });
    self.ended.raise();
  };
  threads.submit(other);

  held.front()->let_go.raise();  // one thread for both
  other.ended.wait();
  EXPECT_GT(other.ended_before, 0);
  EXPECT_LT(other.ended_before, 2000);
  for (auto const& each : held) {
    each->let_go.raise();
    each->ended.wait();
  }
  for (auto& each : reads) EXPECT_EQ(each.get(), "x");
}

TEST(file_syncs, once_failed_fail_for_ever) {
  errand_test::scratch dir;
  errand_test::put(dir / "a", "x");
  auto const core = core_of_fifo(dir / "fifo");
  auto const error = [&] {
    try {
      start_sync(core, std::source_location::current()).get();
    } catch (std::filesystem::filesystem_error const& e) {
      EXPECT_EQ(e.path1(), dir / "fifo");
      return e.code();
    }
    return std::error_code{};
  };
  EXPECT_EQ(error(), std::errc::invalid_argument);  // a FIFO cannot be synced
  descriptor const good{::open((dir / "a").c_str(), O_RDWR | O_CLOEXEC)};
  ASSERT_EQ(::fdatasync(good.get()), 0);
  ASSERT_EQ(::dup3(good.get(), core->fd(), O_CLOEXEC), core->fd());
  EXPECT_EQ(error(), std::errc::invalid_argument);  // the system would say that all is well
  start_close(core, std::source_location::current()).get();
}

}  // namespace
}  // namespace errand::detail
