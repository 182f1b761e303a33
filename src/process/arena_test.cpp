// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Both sides of a worker's arena in one process: what is handed over, comes back and is used again; what a worker could
// lie about.
#include "process/arena.hpp"

#include <errand/detail/process_wire.hpp>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <support/memory.hpp>

namespace errand::detail {
namespace {

constexpr std::uint64_t its_slot = 2000;

class arenas : public ::testing::Test {
 protected:
  // Two pictures of the memory, as in two processes, of one file.
  std::shared_ptr<shared_memory> parents{std::make_shared<shared_memory>(memory_file::create())};
  std::shared_ptr<shared_memory> workers{
      std::make_shared<shared_memory>(memory_file::inherited(::dup(parents->file.fd())))};
  std::unique_ptr<return_table> table{std::make_unique<return_table>()};
  owner_ptr<arena> sender{new arena{workers, its_slot, table.get()}};
  owner_ptr<lent_memory> receiver{new lent_memory{parents, its_slot, *table}};

  piece_ref make(std::size_t bytes, int fill) {
    piece_ref made{sender->allocate(bytes)};
    std::memset(made->data, fill, bytes);
    return made;
  }
  // As worker and parent do for a reply.
  piece_ref hand_over(piece_ref piece, std::size_t bytes) {
    sender->lend(*piece.get());
    arena_piece const sent = *piece.get();
    sender->protect(sent);
    piece.reset();
    return receiver->adopt(sent.number, sent.place, sent.capacity, bytes);
  }
  std::size_t bytes_in_file() const {
    struct stat s {};
    ::fstat(parents->file.fd(), &s);
    return static_cast<std::size_t>(s.st_blocks) * 512;
  }
};

TEST_F(arenas, a_piece_is_read_where_it_was_written) {
  auto const got = hand_over(make(300'000, 'x'), 300'000);
  EXPECT_EQ(got->data[0], std::byte{'x'});
  EXPECT_EQ(got->data[299'999], std::byte{'x'});
}

TEST_F(arenas, a_piece_that_came_back_is_used_again_with_its_pages) {
  auto const first = hand_over(make(1 << 20, 1), 1 << 20);
  std::uint64_t const place = first->place;
  std::byte const* const mapped = first->data;
  auto const other = make(1 << 20, 2);
  EXPECT_NE(other->place, place) << "the first is still being read";
  const_cast<piece_ref&>(first).reset();
  std::size_t const before = bytes_in_file();
  auto const again = hand_over(make((1 << 20) - 5000, 3), 1);
  EXPECT_EQ(again->place, place);
  EXPECT_EQ(again->data, mapped) << "it stayed mapped here";
  EXPECT_EQ(again->data[0], std::byte{3});
  EXPECT_EQ(bytes_in_file(), before);
}

TEST_F(arenas, keep_no_more_than_their_bound_and_give_the_rest_back) {
  std::size_t const bytes = 8 << 20;
  std::vector<piece_ref> all;
  for (int i = 0; i < 4; ++i) all.push_back(hand_over(make(bytes, i), bytes));
  EXPECT_GE(bytes_in_file(), 4 * bytes);
  while (parents->budget.try_keep(1 << 20)) {
  }
  all.clear();
  EXPECT_LT(bytes_in_file(), bytes) << "there was no room in the bound for any of them";
  auto const again = hand_over(make(bytes, 9), bytes);
  EXPECT_EQ(again->data[bytes - 1], std::byte{9});
}

TEST_F(arenas, of_a_dead_worker_keep_what_is_in_use_and_nothing_else) {
  auto used = hand_over(make(1 << 20, 5), 1 << 20);
  { auto const done = hand_over(make(2 << 20, 6), 1); }
  auto const never_sent = make(3 << 20, 7);
  EXPECT_GE(bytes_in_file(), std::size_t{6} << 20);
  receiver->close();
  EXPECT_EQ(bytes_in_file(), std::size_t{1} << 20);
  EXPECT_EQ(used->data[(1 << 20) - 1], std::byte{5});
  receiver.reset();
  used.reset();
  EXPECT_EQ(bytes_in_file(), 0U);
  EXPECT_EQ(parents->budget.kept(), 0U);
}

TEST_F(arenas, a_reply_that_was_sent_before_the_death_can_be_read_after_it) {
  auto const piece = make(1 << 20, 4);
  sender->lend(*piece.get());
  receiver->expect_reader();
  receiver->close();
  auto got = receiver->adopt(piece->number, piece->place, piece->capacity, 1 << 20);
  receiver->reader_is_done();
  EXPECT_EQ(got->data[5], std::byte{4});
  EXPECT_EQ(bytes_in_file(), std::size_t{1} << 20);
  got.reset();
  EXPECT_EQ(bytes_in_file(), 0U);
}

TEST_F(arenas, a_lie_about_a_piece_is_refused) {
  auto const piece = make(1 << 20, 1);
  sender->lend(*piece.get());
  auto const number = piece->number;
  auto const place = piece->place;
  auto const capacity = piece->capacity;
  auto const lie = [&](std::uint32_t n, std::uint64_t p, std::uint64_t c, std::uint64_t s) {
    EXPECT_THROW(receiver->adopt(n, p, c, s), std::runtime_error) << n << ' ' << p << ' ' << c << ' ' << s;
  };
  lie(return_table::size, place, capacity, 1);
  lie(number, 0, capacity, 1);
  lie(number, place + 1, capacity, 1);
  lie(number, place, capacity + 1, 1);
  lie(number, place, 0, 0);
  lie(number, place, capacity, capacity + 1);
  lie(number, place, capacity * 2, 1);                                 // there is no memory behind the second half
  lie(number, place - memory_file::slot_bytes, capacity, 1);           // somebody else's
  lie(number, place, memory_file::slot_bytes, 1);                      // beyond its own
  lie(number, ~std::uint64_t{0} / shared_pages * shared_pages, capacity, 1);
  auto const right = receiver->adopt(number, place, capacity, 1);
  EXPECT_EQ(right->data[0], std::byte{1});
  lie(number, place, capacity, 1);  // twice the same
}

TEST_F(arenas, more_than_the_system_has_is_one_error_and_everything_else_goes_on) {
  auto const small = make(1 << 20, 1);
  EXPECT_THROW((void)sender->allocate(std::size_t{1} << 60), std::bad_alloc);
  EXPECT_THROW((void)sender->allocate(~std::size_t{0}), std::bad_alloc);
  EXPECT_EQ(hand_over(make(1 << 20, 2), 1)->data[0], std::byte{2});
  constexpr std::size_t more = std::size_t{1} << 39;  // the most that one piece may have
  if (auto const reason = errand_test::reason_not_to_ask_for(more); !reason.empty()) GTEST_SKIP() << reason;
  EXPECT_THROW((void)sender->allocate(more), std::system_error);
  EXPECT_EQ(hand_over(make(1 << 20, 2), 1)->data[0], std::byte{2});
}

TEST_F(arenas, a_limit_counts_what_is_here_and_not_what_was_handed_over) {
  sender->limit(4 << 20);
  auto first = make(2 << 20, 1);
  auto const second = make(2 << 20, 2);
  EXPECT_THROW((void)sender->allocate(1 << 20), std::bad_alloc);
  auto const got = hand_over(std::move(first), 1);
  auto third = make(2 << 20, 3);
  EXPECT_THROW((void)sender->allocate(1 << 20), std::bad_alloc);
  third.reset();
  EXPECT_EQ(make(2 << 20, 4)->data[0], std::byte{4}) << "what came back is there again";
}

TEST_F(arenas, a_piece_borrowed_for_a_job_and_kept_beyond_it_becomes_a_copy) {
  owner_ptr<borrowed_memory> const borrower{new borrowed_memory{workers}};
  auto const argument = make(200'000, 'a');
  auto kept = borrower->adopt({argument->place, argument->capacity, 0, 0});
  { auto const other = borrower->adopt({argument->place, argument->capacity, 0, 0}); }
  kept->data[0] = std::byte{'b'};
  EXPECT_EQ(argument->data[0], std::byte{'b'}) << "one memory while the job runs";
  borrower->end_of_job();
  argument->data[0] = std::byte{'c'};
  EXPECT_EQ(kept->data[0], std::byte{'b'});
  EXPECT_EQ(kept->data[199'999], std::byte{'a'});
  borrower->end_of_job();
}

}  // namespace
}  // namespace errand::detail
