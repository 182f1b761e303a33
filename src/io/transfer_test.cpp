// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Both kinds of transfer by the same tests; how one of them is chosen, and what happens where io_uring is refused, at once or
// later; the helper threads by themselves.
#include "io/transfer.hpp"

#include "io/buffers.hpp"
#include "io/helper_threads.hpp"
#include "io/ring.hpp"
#include "io/testing.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/uio.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <support/seed.hpp>
#include <support/sequencer.hpp>

namespace errand::detail {
namespace {

using namespace errand_test;
using direction = transfer_piece::direction;

void until(auto condition) {
  while (!condition()) std::this_thread::yield();
}

transfer_piece piece_of(int fd, direction way, void* data, std::size_t size, std::uint64_t offset) {
  transfer_piece piece;
  piece.fd = fd;
  piece.way = way;
  piece.data = static_cast<std::byte*>(data);
  piece.size = size;
  piece.offset = offset;
  return piece;
}

std::int64_t result_of(transfer& t, transfer_piece piece) {
  t.submit(piece);
  auto& back = t.wait();
  EXPECT_EQ(&back, &piece);
  return piece.result;
}

class transfers : public io_kind_test {};
INSTANTIATE_IO_KINDS(transfers);

TEST_P(transfers, bytes_of_every_size_arrive_where_they_belong) {
  auto const t = transfer::make(4, GetParam());
  EXPECT_EQ(t->which(), GetParam());
  for (std::size_t const size : {1U, 2U, 511U, 512U, 4095U, 4096U, 4097U, 65536U, 1048575U, 1048576U, 1048577U, 5000000U}) {
    temporary_file file;
    auto const text = pattern(size, size);
    std::string copy = text;
    EXPECT_EQ(result_of(*t, piece_of(file.fd(), direction::write, copy.data(), size, 3)), static_cast<std::int64_t>(size));
    std::string back(size + 1, '?');
    EXPECT_EQ(result_of(*t, piece_of(file.fd(), direction::read, back.data(), size + 1, 3)), static_cast<std::int64_t>(size));
    back.pop_back();
    EXPECT_TRUE(back == text) << size;
    EXPECT_TRUE(file.contents() == std::string(3, '\0') + text) << size;
  }
}

TEST_P(transfers, as_many_as_the_depth_are_under_way_and_come_back_in_any_order) {
  generator random{test_seed()};
  for (unsigned const depth : {1U, 2U, 4U, 7U, 64U}) {
    auto const t = transfer::make(depth, GetParam());
    temporary_file file;
    constexpr std::size_t size = 3000;
    std::vector<std::string> texts;
    for (std::size_t i = 0; i != 200; ++i) texts.push_back(pattern(size, i));
    std::vector<transfer_piece> pieces(texts.size());
    std::vector<bool> ended(texts.size());
    std::size_t next = 0;
    unsigned left = 200;
    auto const reap = [&] {
      auto& piece = t->wait();
      auto const index = static_cast<std::size_t>(&piece - pieces.data());
      EXPECT_EQ(piece.result, static_cast<std::int64_t>(size));
      EXPECT_FALSE(ended.at(index));
      ended.at(index) = true;
      --left;
    };
    while (next != pieces.size()) {
      while (t->under_way() == depth || (t->under_way() != 0 && random.one_in(4))) reap();
      pieces[next] = piece_of(file.fd(), direction::write, texts[next].data(), size, next * size);
      t->submit(pieces[next++]);
    }
    while (t->under_way() != 0) reap();
    EXPECT_EQ(left, 0U);
    auto const all = file.contents();
    for (std::size_t i = 0; i != texts.size(); ++i) EXPECT_TRUE(all.substr(i * size, size) == texts[i]) << i;
  }
}

TEST_P(transfers, a_short_file_gives_what_it_has_and_a_hole_gives_zeros) {
  auto const t = transfer::make(2, GetParam());
  temporary_file file;
  ASSERT_EQ(::ftruncate(file.fd(), 1 << 20), 0);
  ASSERT_EQ(::pwrite(file.fd(), "end", 3, 1 << 20), 3);
  std::string back(2 << 20, '?');
  EXPECT_EQ(result_of(*t, piece_of(file.fd(), direction::read, back.data(), back.size(), 0)), (1 << 20) + 3);
  EXPECT_TRUE(back.substr(0, (1 << 20) + 4) == std::string(1 << 20, '\0') + "end?");
  EXPECT_EQ(result_of(*t, piece_of(file.fd(), direction::read, back.data(), 10, (1 << 20) + 1)), 2);
  EXPECT_EQ(result_of(*t, piece_of(file.fd(), direction::read, back.data(), 10, (1 << 20) + 3)), 0);
  EXPECT_EQ(result_of(*t, piece_of(file.fd(), direction::read, back.data(), 10, std::uint64_t{1} << 40)), 0);
}

TEST_P(transfers, parts_are_one_piece) {
  auto const t = transfer::make(2, GetParam());
  temporary_file file;
  std::string first = "one,", second = "two,", third = "three";
  iovec const out[] = {{first.data(), 4}, {second.data(), 4}, {third.data(), 5}};
  auto piece = piece_of(file.fd(), direction::write, nullptr, 0, 2);
  piece.parts = out;
  piece.count = 3;
  EXPECT_EQ(result_of(*t, piece), 13);
  EXPECT_EQ(file.contents(), std::string(2, '\0') + "one,two,three");
  iovec const in[] = {{third.data(), 5}, {first.data(), 4}, {second.data(), 4}};
  piece.way = direction::read;
  piece.parts = in;
  piece.offset = 6;
  EXPECT_EQ(result_of(*t, piece), 9);
  EXPECT_EQ(third + first, "two,three");
  EXPECT_EQ(second, "two,");
}

TEST_P(transfers, who_waits_can_be_woken) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  generator random{test_seed()};
  for (int round = 0; round != 20; ++round) {
    auto t = transfer::make(4, GetParam());
    char got = 0;
    auto piece = piece_of(ends[0], direction::read, &got, 1, UINT64_MAX);
    t->submit(piece);
    t->wake();  // before the wait
    EXPECT_EQ(t->wait_or_woken(), nullptr);
    std::atomic<int> waiting_thread{0};
    std::atomic<int> wakes{0};
    std::thread waits{[&] {
      waiting_thread = ::gettid();
      for (int i = 0; i != 10; ++i) {
        EXPECT_EQ(t->wait_or_woken(), nullptr);
        ++wakes;
      }
    }};
    until([&] { return waiting_thread != 0; });
    for (int i = 0; i != 10; ++i) {
      if (random.one_in(2))
        wait_until_asleep(waiting_thread);
      else
        dither(random);
      t->wake();
      until([&] { return wakes == i + 1; });
    }
    waits.join();
    if (random.one_in(2)) t->wake();  // it comes too late for anybody who cares
    ASSERT_EQ(::write(ends[1], "x", 1), 1);
    if (random.one_in(2)) {
      EXPECT_EQ(&t->wait(), &piece);
      EXPECT_EQ(t->under_way(), 0U);
    }
    t.reset();  // waits for the piece
    EXPECT_EQ(got, 'x');
    // The next one may have the same ring, and is not woken by what was meant for this one.
    t = transfer::make(4, GetParam());
    temporary_file file;
    char out = 'y';
    auto write = piece_of(file.fd(), direction::write, &out, 1, 0);
    t->submit(write);
    EXPECT_EQ(t->wait_or_woken(), &write);
    EXPECT_EQ(write.result, 1);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_P(transfers, errors_come_back_with_their_piece) {
  auto const t = transfer::make(4, GetParam());
  char byte = 'x';
  EXPECT_EQ(result_of(*t, piece_of(-1, direction::write, &byte, 1, 0)), -EBADF);
  EXPECT_EQ(result_of(*t, piece_of(-1, direction::read, &byte, 1, 0)), -EBADF);
  int const full = ::open("/dev/full", O_RDWR | O_CLOEXEC);
  ASSERT_GE(full, 0);
  EXPECT_EQ(result_of(*t, piece_of(full, direction::write, &byte, 1, 0)), -ENOSPC);
  ::close(full);
  int const folder = ::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(folder, 0);
  EXPECT_EQ(result_of(*t, piece_of(folder, direction::read, &byte, 1, 0)), -EISDIR);
  ::close(folder);
  temporary_file file;
  int const unwritable = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(result_of(*t, piece_of(unwritable, direction::write, &byte, 1, 0)), -EBADF);
  EXPECT_EQ(result_of(*t, piece_of(unwritable, direction::read, nullptr, 4096, 0)), 0);
  ASSERT_EQ(::pwrite(file.fd(), "x", 1, 0), 1);
  EXPECT_EQ(result_of(*t, piece_of(unwritable, direction::read, nullptr, 4096, 0)), -EFAULT);
  ::close(unwritable);
}

TEST_P(transfers, a_pipe_is_waited_for_also_if_its_descriptor_would_not) {
  for (int const flags : {O_CLOEXEC, O_CLOEXEC | O_NONBLOCK}) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), flags), 0);
    auto const t = transfer::make(2, GetParam());
    std::string back(10, '?');
    auto piece = piece_of(ends[0], direction::read, back.data(), back.size(), UINT64_MAX);
    t->submit(piece);
    ASSERT_EQ(::write(ends[1], "hello", 5), 5);
    EXPECT_EQ(&t->wait(), &piece);
    EXPECT_EQ(piece.result, 5);
    EXPECT_EQ(back, "hello?????");
    EXPECT_EQ(result_of(*t, piece_of(ends[1], direction::write, back.data(), 5, UINT64_MAX)), 5);
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

TEST_P(transfers, what_shall_not_wait_comes_back_with_eagain) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  auto const t = transfer::make(1, GetParam());
  char byte = 0;
  auto piece = piece_of(ends[0], direction::read, &byte, 1, UINT64_MAX);
  piece.flags = RWF_NOWAIT;
  EXPECT_EQ(result_of(*t, piece), -EAGAIN);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_P(transfers, the_end_waits_for_what_is_under_way) {
  for (int i = 0; i != 20; ++i) {
    temporary_file file;
    auto text = pattern(1 << 20, 1);
    auto first = piece_of(file.fd(), direction::write, text.data(), text.size(), 0);
    auto second = piece_of(file.fd(), direction::write, text.data(), text.size(), text.size());
    {
      auto const t = transfer::make(2, GetParam());
      t->submit(first);
      t->submit(second);
    }
    EXPECT_EQ(first.result, 1 << 20);
    EXPECT_EQ(second.result, 1 << 20);
    EXPECT_TRUE(file.contents() == text + text);
  }
}

TEST_P(transfers, many_threads_have_one_each) {
  constexpr unsigned users = 12;
  temporary_file file;
  std::vector<std::thread> threads;
  for (unsigned user = 0; user != users; ++user)
    threads.emplace_back([&, user] {
      for (int round = 0; round != 5; ++round) {
        auto const t = transfer::make(3, GetParam());
        auto text = pattern(90'000, user);
        std::array<transfer_piece, 3> pieces;
        for (std::size_t i = 0; i != 3; ++i) {
          pieces[i] = piece_of(file.fd(), direction::write, text.data() + i * 30'000, 30'000, user * 90'000 + i * 30'000);
          t->submit(pieces[i]);
        }
        while (t->under_way() != 0) EXPECT_EQ(t->wait().result, 30'000);
      }
    });
  for (auto& t : threads) t.join();
  auto const all = file.contents();
  for (unsigned user = 0; user != users; ++user) EXPECT_TRUE(all.substr(user * 90'000, 90'000) == pattern(90'000, user));
}

TEST_P(transfers, may_pass_from_a_thread_that_ends_to_another_with_pieces_under_way) {
  temporary_file file;
  std::unique_ptr<transfer> t;
  auto text = pattern(1 << 20, 1);
  std::array<transfer_piece, 4> pieces;
  for (int round = 0; round != 10; ++round) {
    std::thread{[&] {
      t = transfer::make(4, GetParam());
      for (std::size_t i = 0; i != 4; ++i) {
        pieces[i] = piece_of(file.fd(), direction::write, text.data(), text.size(), i * text.size());
        t->submit(pieces[i]);
      }
    }}.join();
    while (t->under_way() != 0) EXPECT_EQ(t->wait().result, 1 << 20);
    t = nullptr;
  }
}

TEST_P(transfers, a_limit_of_the_files_size_is_an_error_behind_what_fits) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  auto const kind = GetParam();
  EXPECT_EQ(in_new_process([kind] {
              limit_file_size(100'000);
              temporary_file file;
              auto const t = transfer::make(1, kind);
              std::string text(300'000, 'x');
              auto piece = piece_of(file.fd(), direction::write, text.data(), text.size(), 0);
              require(result_of(*t, piece) == 100'000, "what fits is written");
              piece.offset = 100'000;
              require(result_of(*t, piece) == -EFBIG, "and then EFBIG");
            }),
            0);
}

TEST_P(transfers, the_child_of_a_fork_has_its_own_while_the_parents_goes_on) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  auto t = transfer::make(4, GetParam());
  transfer::make(4, GetParam()).reset();  // and one in the stock
  std::string back(5, '?');
  auto waiting = piece_of(ends[0], direction::read, back.data(), back.size(), UINT64_MAX);
  t->submit(waiting);
  auto const kind = GetParam();
  EXPECT_EQ(in_child([&] {
              t.reset();  // does nothing
              require(idle_rings() == 0, "no ring of the parent's is left");
              auto const own = transfer::make(4, kind);
              temporary_file file;
              std::string text = "child";
              require(result_of(*own, piece_of(file.fd(), direction::write, text.data(), 5, 0)) == 5, "it writes");
              require(file.contents() == "child", "what it said");
            }),
            0);
  EXPECT_EQ(t->under_way(), 1U);
  ASSERT_EQ(::write(ends[1], "hello", 5), 5);
  EXPECT_EQ(&t->wait(), &waiting);
  EXPECT_EQ(waiting.result, 5);
  EXPECT_EQ(back, "hello");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(transfer, a_ring_is_used_again) {
  if (!ring_works()) GTEST_SKIP() << "io_uring is refused here";
  transfer::make(4, transfer::kind::ring).reset();
  auto const before = idle_rings();
  EXPECT_GE(before, 1U);
  {
    auto const one = transfer::make(64, transfer::kind::ring);
    EXPECT_EQ(idle_rings(), before - 1);
  }
  EXPECT_EQ(idle_rings(), before);
}

TEST(transfer, has_a_depth_from_1_to_64) {
  EXPECT_THROW((void)transfer::make(0), std::invalid_argument);
  EXPECT_THROW((void)transfer::make(65), std::invalid_argument);
  EXPECT_THROW((void)transfer::make(65, transfer::kind::threads), std::invalid_argument);
}

// Writes and reads a little by a transfer of the process's choice, which shall be of that kind.
void try_out(transfer::kind expected) {
  auto const t = transfer::make(2);
  require(t->which() == expected, "the kind is as expected");
  temporary_file file;
  std::string text = "some";
  require(result_of(*t, piece_of(file.fd(), direction::write, text.data(), 4, 0)) == 4, "it writes");
  std::string back(4, '?');
  require(result_of(*t, piece_of(file.fd(), direction::read, back.data(), 4, 0)) == 4 && back == text, "it reads");
}

TEST(transfer, errand_io_says_which) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  auto const with = [](char const* value, auto body) {
    return in_new_process([=] {
      if (value != nullptr) ::setenv("ERRAND_IO", value, 1);
      else ::unsetenv("ERRAND_IO");
      body();
    });
  };
  auto const best = ring_works() ? transfer::kind::ring : transfer::kind::threads;
  EXPECT_EQ(with(nullptr, [=] { try_out(best); }), 0);
  EXPECT_EQ(with("", [=] { try_out(best); }), 0);
  EXPECT_EQ(with("threads", [] { try_out(transfer::kind::threads); }), 0);
  if (ring_works()) {
    EXPECT_EQ(with("ring", [] { try_out(transfer::kind::ring); }), 0);
  }
  for (char const* const nonsense : {"rings", "thread", "RING", " ring"})
    EXPECT_EQ(with(nonsense, [] {
                for (int i = 0; i != 2; ++i) {
                  try {
                    (void)transfer::make(2);
                    require(false, "it throws");
                  } catch (std::invalid_argument const& e) {
                    require(std::string{e.what()}.find("ERRAND_IO=") != std::string::npos, "and says why");
                  }
                }
              }),
              0)
        << nonsense;
}

TEST(transfer, where_io_uring_is_refused_threads_do_it) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  for (int const error : {EPERM, ENOSYS, ENOMEM}) {
    EXPECT_EQ(in_new_process([=] {
                ::unsetenv("ERRAND_IO");
                refuse_system_call(SYS_io_uring_setup, error);
                try_out(transfer::kind::threads);
                try_out(transfer::kind::threads);
              }),
              0);
    EXPECT_EQ(in_new_process([=] {
                ::setenv("ERRAND_IO", "ring", 1);
                refuse_system_call(SYS_io_uring_setup, error);
                try {
                  (void)transfer::make(2);
                  require(false, "it throws");
                } catch (std::system_error const& e) {
                  require(e.code().value() == error || !ring_is_built_in(), "the system's answer");
                }
              }),
              0);
  }
}

TEST(transfer, a_ring_that_is_refused_in_use_is_given_up) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  if (!ring_works()) GTEST_SKIP() << "io_uring is refused here";
  EXPECT_EQ(in_new_process([] {
              std::array<int, 2> ends{};
              require(::pipe2(ends.data(), O_CLOEXEC) == 0, "a pipe");
              auto t = transfer::make(4, transfer::kind::ring);
              std::string back(5, '?');
              auto waiting = piece_of(ends[0], direction::read, back.data(), back.size(), UINT64_MAX);
              t->submit(waiting);
              refuse_system_call(SYS_io_uring_enter, EPERM);
              temporary_file file;
              std::string text = "some";
              auto piece = piece_of(file.fd(), direction::write, text.data(), 4, 0);
              t->submit(piece);
              require(&t->wait() == &piece && piece.result == 4, "this one is carried out here");
              require(file.contents() == "some", "so it is");
              require(::write(ends[1], "hello", 5) == 5, "what the kernel has");
              require(&t->wait() == &waiting && waiting.result == 5 && back == "hello", "comes back by itself");
              t.reset();
              require(idle_rings() == 0, "the ring is not kept");
              ::unsetenv("ERRAND_IO");
              try_out(transfer::kind::threads);
            }),
            0);
}

TEST(transfer, who_waits_for_a_ring_can_be_woken_also_where_the_system_refuses_what_that_takes) {
  if (!threads_work_after_fork) GTEST_SKIP() << no_threads_after_fork;
  if (!ring_works()) GTEST_SKIP() << "io_uring is refused here";
  auto const waits_and_is_woken = [](auto refuse) {
    return in_new_process([&] {
      std::array<int, 2> ends{};
      require(::pipe2(ends.data(), O_CLOEXEC) == 0, "a pipe");
      auto t = transfer::make(4, transfer::kind::ring);
      char got = 0;
      auto piece = piece_of(ends[0], direction::read, &got, 1, UINT64_MAX);
      t->submit(piece);
      refuse();
      std::thread wakes{[&] { t->wake(); }};
      require(t->wait_or_woken() == nullptr, "woken");
      wakes.join();
      require(::write(ends[1], "x", 1) == 1, "a byte");
      require(t->wait_or_woken() == &piece && got == 'x', "the piece");
    });
  };
  EXPECT_EQ(waits_and_is_woken([] { refuse_system_call(SYS_io_uring_enter, EPERM); }), 0);
  EXPECT_EQ(waits_and_is_woken([] {
              rlimit const none{0, 0};
              require(::setrlimit(RLIMIT_NOFILE, &none) == 0, "no more descriptors");
            }),
            0);
}

// The helper threads by themselves.

constexpr std::int64_t for_ever = 3'600'000'000'000;

TEST(helper_threads, are_as_many_as_are_needed_at_most_and_go_when_idle) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  std::array<char, 6> bytes{};
  std::array<transfer_piece, 6> pieces;
  {
    helper_threads threads{{.most = 4, .idle_limit = for_ever}};
    helped_transfer t{threads, 6};
    EXPECT_EQ(threads.now().threads, 0U);
    for (unsigned i = 0; i != 6; ++i) {
      pieces[i] = piece_of(ends[0], direction::read, &bytes[i], 1, UINT64_MAX);
      t.submit(pieces[i]);
      EXPECT_EQ(threads.now().threads, std::min(i + 1, 4U));
    }
    until([&] { return threads.now().queued == 2; });
    ASSERT_EQ(::write(ends[1], "abcdef", 6), 6);
    while (t.under_way() != 0) EXPECT_EQ(t.wait().result, 1);
    std::sort(bytes.begin(), bytes.end());
    EXPECT_EQ(std::string(bytes.data(), 6), "abcdef");
    until([&] { return threads.now().idle == 4; });
    // One at a time needs one thread.
    EXPECT_EQ(result_of(t, piece_of(-1, direction::read, nullptr, 1, 0)), -EBADF);
    EXPECT_EQ(threads.now().threads, 4U);
  }
  helper_threads threads{{.most = 4, .idle_limit = 0}};
  helped_transfer t{threads, 6};
  for (int i = 0; i != 20; ++i) EXPECT_EQ(result_of(t, piece_of(-1, direction::read, nullptr, 1, 0)), -EBADF);
  until([&] { return threads.now().threads == 0; });
  EXPECT_EQ(result_of(t, piece_of(-1, direction::read, nullptr, 1, 0)), -EBADF);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(helper_threads, one_piece_at_a_time_needs_one_thread) {
  helper_threads threads{{.most = 4, .idle_limit = for_ever}};
  helped_transfer t{threads, 1};
  for (int i = 0; i != 200; ++i) {
    EXPECT_EQ(result_of(t, piece_of(-1, direction::read, nullptr, 1, 0)), -EBADF);
    EXPECT_EQ(threads.now().threads, 1U);
  }
}

TEST(helper_threads, where_none_can_be_started_the_callers_thread_does_it) {
  helper_threads threads{{.idle_limit = for_ever, .before_start = [] {
                            throw std::system_error{EAGAIN, std::generic_category()};
                          }}};
  helped_transfer t{threads, 3};
  temporary_file file;
  std::string text = "abc";
  std::array<transfer_piece, 3> pieces;
  for (std::size_t i = 0; i != 3; ++i) {
    pieces[i] = piece_of(file.fd(), direction::write, &text[i], 1, i);
    t.submit(pieces[i]);
  }
  EXPECT_EQ(file.contents(), "abc");
  EXPECT_EQ(t.under_way(), 3U);
  while (t.under_way() != 0) EXPECT_EQ(t.wait().result, 1);
  EXPECT_EQ(threads.now().threads, 0U);
}

TEST(io_buffer, is_large_aligned_and_recycled) {
  std::vector<io_buffer> many;
  for (int i = 0; i != 20; ++i) {
    many.push_back(take_io_buffer());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(many.back().get()) % io_alignment, 0U);
    std::memset(many.back().get(), i, io_buffer_size);
  }
  many.clear();
  if (sanitized_memory) return;
  std::byte const* const last = take_io_buffer().get();
  EXPECT_EQ(take_io_buffer().get(), last);
}

}  // namespace
}  // namespace errand::detail
