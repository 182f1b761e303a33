// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Streaming of files by both kinds of transfer: sizes around every border, what the file system refuses, files that grow and
// shrink, errors and what is down by then.
#include "io/stream.hpp"

#include "io/testing.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <support/seed.hpp>

namespace errand::detail {
namespace {

using namespace errand_test;

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr std::size_t page = 4096;

std::byte const* bytes_of(std::string const& text) { return reinterpret_cast<std::byte const*>(text.data()); }

std::string read_all(stream_reader& reader) {
  std::string all;
  for (;;) {
    auto const bytes = reader.next();
    if (bytes.empty()) return all;
    EXPECT_LE(bytes.size(), io_buffer_size);
    all.append(reinterpret_cast<char const*>(bytes.data()), bytes.size());
  }
}

// How many of its pages are in the page cache. The system may forget at any time what is there.
std::size_t cached_pages(int fd, std::size_t size) {
  if (size == 0) return 0;
  std::vector<unsigned char> pages((size + page - 1) / page);
  void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return 0;
  bool const asked = ::mincore(at, size, pages.data()) == 0;
  ::munmap(at, size);
  if (!asked) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(pages, [](unsigned char p) { return (p & 1U) != 0; }));
}

bool all_is_cached(int fd, std::size_t size) { return cached_pages(fd, size) == (size + page - 1) / page; }

// The system is asked to, and keeps what it is busy with at the moment.
bool forget_cached(temporary_file const& file) {
  int const fd = file.fd();
  for (int i = 0; i != 100; ++i) {
    if (::fdatasync(fd) != 0 || ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) {
      ADD_FAILURE() << "cannot forget: " << std::strerror(errno);
      return false;
    }
    if (cached_pages(fd, file.size()) == 0) return true;
  }
  return false;
}

bool direct_works(temporary_file const& file) {
  direct_descriptor d;
  return d.open(file.fd(), O_WRONLY);
}

class streams : public io_kind_test {};
INSTANTIATE_IO_KINDS(streams);

TEST_P(streams, every_size_in_pieces_of_every_size_is_written_as_it_was_said) {
  generator random{test_seed()};
  for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096}, mib - 1, mib, mib + 1,
                                 4 * mib, 5 * mib + 4096, 9 * mib + 77, 70 * mib + 5000}) {
    auto const text = pattern(size, size);
    for (std::uint64_t const offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{100'001}}) {
      if (size > 10 * mib && offset > 1) continue;
      temporary_file file;
      stream_writer out{file.fd(), {.offset = offset, .direct_from = 2 * mib, .kind = GetParam()}};
      for (std::size_t at = 0; at != size;) {
        auto const n = std::min(size - at, random.one_in(3) ? random.below(3 * mib) + 1 : random.below(70'000) + std::size_t{1});
        ASSERT_EQ(out.write(bytes_of(text) + at, n), n);
        at += n;
        ASSERT_EQ(out.taken(), at);
        ASSERT_LE(out.down(), at);
        if (random.one_in(40)) {
          ASSERT_TRUE(out.flush());
          ASSERT_EQ(out.down(), at);
          if (size < 10 * mib) {  // a large one is read back once, from the disk
            ASSERT_TRUE(file.contents().substr(offset, at) == text.substr(0, at));
          }
        }
      }
      ASSERT_TRUE(out.flush());
      EXPECT_EQ(out.error(), 0);
      EXPECT_EQ(out.down(), size);
      EXPECT_EQ(file.size(), size == 0 ? 0 : offset + size);
      ASSERT_TRUE(file.contents().substr(size == 0 ? 0 : offset) == text) << size << " at " << offset;
      // Between, a flush may have left it at an unaligned place each time.
      if (size < 2 * mib || size > 10 * mib) {
        EXPECT_EQ(out.direct(), direct_works(file) && size > 10 * mib) << size << " at " << offset;
      }
      EXPECT_LE(file.allocated(), offset + size + 64 * 1024);
    }
  }
}

TEST_P(streams, buffers_are_taken_without_a_copy_when_they_fit) {
  for (bool const size_ahead : {true, false}) {
    auto const text = pattern(12 * mib + 300, 1);
    temporary_file file;
    stream_writer out{file.fd(), {.expected = text.size(), .size_ahead = size_ahead, .kind = GetParam()}};
    io_buffer buffer;
    for (std::size_t at = 0; at < text.size(); at += mib) {
      if (buffer == nullptr) buffer = take_io_buffer();
      auto const n = std::min(mib, text.size() - at);
      std::copy_n(bytes_of(text) + at, n, buffer.get());
      ASSERT_EQ(out.write(buffer, n), n);
    }
    ASSERT_TRUE(out.flush());
    EXPECT_EQ(out.direct(), direct_works(file));
    EXPECT_TRUE(file.contents() == text);
  }
}

TEST_P(streams, buffers_are_taken_without_a_copy_behind_smaller_pieces_that_end_at_an_aligned_place) {
  for (std::size_t const small : {std::size_t{4096}, std::size_t{256} << 10, mib - 4096}) {
    auto const text = pattern(small + 4 * mib, small);
    temporary_file file;
    stream_writer out{file.fd(), {.direct_from = 0, .kind = GetParam()}};
    ASSERT_EQ(out.write(bytes_of(text), small), small);
    for (std::size_t at = small; at < text.size(); at += mib) {
      auto buffer = take_io_buffer();
      auto const* const given = buffer.get();
      std::copy_n(bytes_of(text) + at, mib, buffer.get());
      ASSERT_EQ(out.write(buffer, mib), mib);
      EXPECT_EQ(buffer.get() != given, direct_works(file)) << small << ' ' << at;
    }
    ASSERT_TRUE(out.flush());
    EXPECT_TRUE(file.contents() == text);
  }
}

TEST_P(streams, what_stood_behind_and_before_stays) {
  temporary_file file;
  auto const old = pattern(30 * mib, 1);
  auto const text = pattern(10 * mib + 17, 2);
  ASSERT_EQ(::pwrite(file.fd(), old.data(), old.size(), 0), static_cast<ssize_t>(old.size()));
  stream_writer out{file.fd(), {.offset = 4 * mib + 3, .expected = text.size(), .kind = GetParam()}};
  ASSERT_EQ(out.write(bytes_of(text), text.size()), text.size());
  ASSERT_TRUE(out.flush());
  auto expected = old;
  expected.replace(4 * mib + 3, text.size(), text);
  EXPECT_TRUE(file.contents() == expected);
}

TEST_P(streams, an_unfinished_one_leaves_a_file_that_ends_with_what_is_down) {
  auto const text = pattern(12 * mib + 5, 1);
  temporary_file file;
  {
    stream_writer out{file.fd(), {.expected = text.size(), .kind = GetParam()}};
    ASSERT_EQ(out.write(bytes_of(text), text.size()), text.size());
  }
  EXPECT_EQ(file.size(), 12 * mib);
  EXPECT_TRUE(file.contents() == text.substr(0, 12 * mib));
}

TEST_P(streams, appended_bytes_stand_in_order_behind_those_of_others) {
  temporary_file file;
  ASSERT_EQ(::write(file.fd(), "first", 5), 5);
  int const end = ::open(file.path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  auto const text = pattern(11 * mib + 3, 1);
  stream_writer out{end, {.expected = text.size(), .kind = GetParam()}};
  ASSERT_EQ(out.write(bytes_of(text), text.size()), text.size());
  ASSERT_TRUE(out.flush());
  EXPECT_FALSE(out.direct());
  EXPECT_TRUE(file.contents() == "first" + text);
  ::close(end);
}

TEST_P(streams, on_a_tmpfs_too) {
  if (::access("/dev/shm", W_OK) != 0) GTEST_SKIP() << "there is no /dev/shm";
  auto const text = pattern(12 * mib + 5, 1);
  temporary_file file{"/dev/shm"};
  stream_writer out{file.fd(), {.expected = text.size(), .kind = GetParam()}};
  ASSERT_EQ(out.write(bytes_of(text), text.size()), text.size());
  ASSERT_TRUE(out.flush());
  stream_reader in{file.fd(), {.kind = GetParam()}};
  EXPECT_TRUE(read_all(in) == text);
}

TEST_P(streams, through_a_pipe) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  auto const text = pattern(9 * mib + 5, 1);
  std::thread writer{[&] {
    stream_writer out{ends[1], {.expected = text.size(), .kind = GetParam()}};
    EXPECT_EQ(out.write(bytes_of(text), text.size()), text.size());
    EXPECT_TRUE(out.flush());
    ::close(ends[1]);
  }};
  stream_reader in{ends[0], {.kind = GetParam()}};
  EXPECT_TRUE(read_all(in) == text);
  EXPECT_EQ(in.error(), 0);
  writer.join();
  ::close(ends[0]);
}

TEST_P(streams, an_error_sticks_and_says_what_is_down) {
  int const full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  stream_writer out{full, {.kind = GetParam()}};
  auto const text = pattern(2 * mib, 1);
  EXPECT_EQ(out.write(bytes_of(text), 100), 100U);
  EXPECT_FALSE(out.flush());
  EXPECT_EQ(out.error(), ENOSPC);
  EXPECT_EQ(out.down(), 0U);
  EXPECT_EQ(out.taken(), 100U);
  EXPECT_EQ(out.write(bytes_of(text), 100), 0U);
  EXPECT_FALSE(out.retry());
  EXPECT_FALSE(out.flush());
  ::close(full);
}

TEST_P(streams, behind_a_limit_of_the_files_size_they_go_on_when_it_is_lifted) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  auto const kind = GetParam();
  for (rlim_t const limit : {rlim_t{3 * mib}, rlim_t{10 * mib}, rlim_t{10 * mib + 4096}, rlim_t{10 * mib + 100}})
    for (std::uint64_t const expected : {std::uint64_t{0}, std::uint64_t{12 * mib}})
      EXPECT_EQ(in_new_process([=] {
                  std::signal(SIGXFSZ, SIG_IGN);
                  rlimit lower{limit, RLIM_INFINITY};
                  require(::setrlimit(RLIMIT_FSIZE, &lower) == 0, "a limit");
                  auto const text = pattern(12 * mib, 1);
                  temporary_file file;
                  stream_writer out{file.fd(), {.expected = expected, .kind = kind}};
                  auto const taken = out.write(bytes_of(text), text.size());
                  require(out.taken() == taken, "counted");
                  require(!out.flush() && out.error() == EFBIG, "EFBIG");
                  require(out.down() <= limit && out.down() + mib > limit, "what is down is what fits");
                  require(file.contents().substr(0, out.down()) == text.substr(0, out.down()), "as it was said");
                  // Bytes that it did not take are the caller's: if there are no others, nothing is left to fail.
                  require(out.retry() == (out.down() == taken), "still");
                  require(out.error() == (out.down() == taken ? 0 : EFBIG), "or again");
                  lower.rlim_cur = RLIM_INFINITY;
                  require(::setrlimit(RLIMIT_FSIZE, &lower) == 0, "no limit");
                  require(out.retry() && out.error() == 0, "now they fit");
                  require(out.write(bytes_of(text) + taken, text.size() - taken) == text.size() - taken, "the rest too");
                  require(out.flush() && out.down() == text.size(), "to the end");
                  require(file.contents() == text, "all of it");
                }),
                0)
          << limit << ' ' << expected;
}

TEST_P(streams, cold_and_warm_files_of_every_size_are_read_from_everywhere) {
  for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, mib - 1, mib, mib + 1, 4 * mib, 5 * mib + 1,
                                 9 * mib + 4096, 40 * mib + 77}) {
    temporary_file file;
    auto const text = pattern(size, size);
    ASSERT_EQ(::pwrite(file.fd(), text.data(), size, 0), static_cast<ssize_t>(size));
    for (bool const cold : {true, false}) {
      if (!cold) {  // what was read directly is not in the page cache
        EXPECT_TRUE(file.contents() == text);
      }
      for (std::uint64_t const offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{mib + 5}})
        for (std::uint64_t const end : {UINT64_MAX, std::uint64_t{3 * mib + 5}, std::uint64_t{8 * mib}}) {
          if (size > 10 * mib && offset % mib != 0 && offset < mib) continue;
          bool const forgotten = cold && forget_cached(file);
          stream_reader in{file.fd(), {.offset = offset, .end = end, .direct_from = 2 * mib, .kind = GetParam()}};
          auto const to = std::min<std::uint64_t>(end, size);
          ASSERT_TRUE(read_all(in) == (offset < to ? text.substr(offset, to - offset) : ""))
              << size << ' ' << offset << ' ' << end;
          EXPECT_EQ(in.error(), 0);
          EXPECT_TRUE(in.next().empty());
          if (!cold) {
            EXPECT_TRUE(in.direct_pieces() == 0 || !all_is_cached(file.fd(), size));
          } else if (forgotten && size > 9 * mib && direct_works(file) && offset == 0 && end == UINT64_MAX) {
            EXPECT_GT(in.direct_pieces(), 0U) << size;
          }
        }
    }
  }
}

TEST_P(streams, a_hole_is_zeros) {
  temporary_file file;
  ASSERT_EQ(::pwrite(file.fd(), "end", 3, 20 * mib + 5), 3);
  forget_cached(file);
  stream_reader in{file.fd(), {.kind = GetParam()}};
  EXPECT_TRUE(read_all(in) == std::string(20 * mib + 5, '\0') + "end");
}

TEST_P(streams, a_file_may_shrink_and_grow_while_it_is_read) {
  constexpr auto piece = stream_reader::piece;
  auto const text = pattern(20 * mib, 1);
  for (std::size_t const left : {std::size_t{0}, piece, 6 * mib, 6 * mib + 100, 11 * mib}) {
    temporary_file file;
    ASSERT_EQ(::pwrite(file.fd(), text.data(), 16 * mib, 0), static_cast<ssize_t>(16 * mib));
    forget_cached(file);
    stream_reader in{file.fd(), {.kind = GetParam()}};
    auto const first = in.next();
    ASSERT_EQ(first.size(), piece);
    ASSERT_EQ(::ftruncate(file.fd(), static_cast<off_t>(left)), 0);
    auto const rest = read_all(in);
    EXPECT_EQ(in.error(), 0);
    EXPECT_GE(rest.size() + piece, left);
    EXPECT_LE(rest.size(), 16 * mib - piece);
    auto const certain = left > piece ? left - piece : 0;
    EXPECT_TRUE(rest.substr(0, certain) == text.substr(piece, certain)) << left;
  }
  temporary_file file;
  ASSERT_EQ(::pwrite(file.fd(), text.data(), 10 * mib + 9, 0), static_cast<ssize_t>(10 * mib + 9));
  forget_cached(file);
  stream_reader in{file.fd(), {.kind = GetParam()}};
  auto const first = in.next();
  ASSERT_EQ(first.size(), piece);
  ASSERT_EQ(::pwrite(file.fd(), text.data() + 10 * mib + 9, 10 * mib - 9, 10 * mib + 9), static_cast<ssize_t>(10 * mib - 9));
  EXPECT_TRUE(read_all(in) == text.substr(piece));
}

// What read() copies is the same, whatever the size that is asked for.
TEST_P(streams, bytes_are_read_to_where_they_are_wanted) {
  auto const text = pattern(20 * mib + 77, 3);
  temporary_file file;
  ASSERT_EQ(::pwrite(file.fd(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  for (bool const cached : {true, false})
    for (std::size_t const size : {std::size_t{1000}, std::size_t{256} << 10, mib + 1, 30 * mib}) {
      if (!cached) forget_cached(file);
      stream_reader in{file.fd(), {.kind = GetParam()}};
      std::string got(text.size() + size, '\0');
      std::size_t filled = 0;
      while (auto const n = in.read(reinterpret_cast<std::byte*>(got.data()) + filled, size)) {
        ASSERT_LE(n, size);
        filled += n;
      }
      EXPECT_EQ(in.error(), 0);
      got.resize(filled);
      EXPECT_TRUE(got == text) << size << cached;
    }
}

TEST_P(streams, files_without_a_size_and_things_that_are_none_are_read_or_refused) {
  int const status = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  stream_reader in{status, {.kind = GetParam()}};
  EXPECT_NE(read_all(in).find("Pid:"), std::string::npos);
  EXPECT_EQ(in.error(), 0);
  ::close(status);
  int const folder = ::open("/tmp", O_RDONLY | O_CLOEXEC);
  stream_reader none{folder, {.kind = GetParam()}};
  EXPECT_TRUE(none.next().empty());
  EXPECT_EQ(none.error(), EISDIR);
  ::close(folder);
  stream_reader bad{-1, {.kind = GetParam()}};
  EXPECT_TRUE(bad.next().empty());
  EXPECT_EQ(bad.error(), EBADF);
}

}  // namespace
}  // namespace errand::detail
