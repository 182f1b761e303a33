// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parent's end of a channel against a worker that the test plays, so that each of its steps comes when the test wants it.
#include "process/memory_file.hpp"
#include "process/parent_end.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace errand::detail {
namespace {

constexpr unsigned slot = 1;
constexpr std::size_t quarter = ring_bytes / 4;

struct both_ends {
  both_ends() { parent.reset(memory_file::arena_slot(1)); }

  bool send(process_job& job, process_job const* oldest) { return parent.try_send(job, oldest, bell_mask::nobody); }

  // As a worker does, for an empty result.
  void answer(process_job const& job) const {
    auto& reply = worker.reply_at(replied);
    reply.size = reply.pieces = 0;
    reply.id = job.id;
    reply.kind.store(reply_kind::value);
    auto& request = worker.request_at(job.position);
    std::size_t const bytes = message_bytes(sizeof request, request.size);
    clear_lines(&request, bytes);
    worker.control().request_head.store(job.position + bytes);
  }

  memory_file file = memory_file::create();
  parent_end parent{file.fd(), slot};
  channel worker{file.fd(), slot, channel::after_fork::inherit};
  std::uint64_t replied = 0;
};

// Each takes a quarter of the ring.
struct large_jobs {
  large_jobs() {
    for (auto& job : jobs) {
      job.id = static_cast<std::uint64_t>(&job - jobs.data()) + 1;
      // Bytes that look like messages.
      std::byte* const bytes = job.arguments.room(quarter - sizeof(request_header));
      auto const word = request_state::sent;
      for (std::size_t at = 0; at < quarter - sizeof(request_header); at += sizeof word)
        std::memcpy(bytes + at, &word, sizeof word);
    }
  }
  process_job& operator[](std::size_t i) { return jobs[i]; }
  std::array<process_job, 5> jobs;
};

TEST(channel, keeps_a_message_until_its_reply_is_taken) {
  both_ends ends;
  large_jobs jobs;
  for (std::size_t i = 0; i < 4; ++i) ASSERT_TRUE(ends.send(jobs[i], i == 0 ? nullptr : &jobs[0]));
  EXPECT_FALSE(ends.send(jobs[4], &jobs[0])) << "the ring is full";
  ends.answer(jobs[0]);
  EXPECT_FALSE(ends.send(jobs[4], &jobs[0])) << "the first job may still be stopped";
  EXPECT_FALSE(ends.parent.try_recall(jobs[0])) << "it has ended";

  parent_end::reply found{};
  ASSERT_EQ(ends.parent.peek(found), parent_end::look::reply);
  EXPECT_EQ(found.id, jobs[0].id);
  ends.parent.pop();
  ASSERT_TRUE(ends.send(jobs[4], &jobs[1]));
  EXPECT_EQ(ends.parent.peek(found), parent_end::look::nothing);
  EXPECT_TRUE(ends.parent.try_recall(jobs[4]));
}

TEST(channel, gives_the_next_worker_rings_in_which_nothing_lies) {
  both_ends ends;
  large_jobs jobs;
  for (std::size_t i = 0; i < 4; ++i) ASSERT_TRUE(ends.send(jobs[i], i == 0 ? nullptr : &jobs[0]));
  ends.answer(jobs[0]);

  ends.parent.reset(memory_file::arena_slot(2));
  parent_end::reply found{};
  EXPECT_EQ(ends.parent.peek(found), parent_end::look::nothing);
  for (std::uint64_t at = 0; at < ring_bytes; at += message_alignment) {
    ASSERT_EQ(ends.worker.request_at(at).state.load(), request_state::nothing) << at;
    ASSERT_EQ(ends.worker.reply_at(at).kind.load(), reply_kind::nothing) << at;
  }
}

TEST(channel, clears_the_replies_that_were_taken_within_a_kibibyte) {
  both_ends ends;
  process_job job;
  parent_end::reply found{};
  for (std::uint64_t i = 0; i < 3 * ring_bytes / message_alignment; ++i) {
    job.id = i + 1;
    ASSERT_TRUE(ends.send(job, nullptr));
    ends.replied = i * message_alignment;
    ASSERT_LE(ends.replied - ends.worker.control().reply_head.load(), uncleared_limit);
    ASSERT_EQ(ends.worker.reply_at(ends.replied).kind.load(), reply_kind::nothing);
    ends.answer(job);
    ASSERT_EQ(ends.parent.peek(found), parent_end::look::reply);  // never in vain: there is never time to clear
    ASSERT_EQ(found.id, job.id);
    ends.parent.pop();
  }
}

TEST(channel, believes_no_reply_that_a_worker_cannot_have_written) {
  both_ends ends;
  parent_end::reply found{};
  auto& reply = ends.worker.reply_at(0);
  reply.kind.store(static_cast<reply_kind>(1));
  EXPECT_EQ(ends.parent.peek(found), parent_end::look::corrupt);
  reply.kind.store(reply_kind::value);
  reply.size = inline_limit + 1;
  EXPECT_EQ(ends.parent.peek(found), parent_end::look::corrupt);
  reply.size = lies_elsewhere;  // and nowhere
  EXPECT_EQ(ends.parent.peek(found), parent_end::look::corrupt);
}

}  // namespace
}  // namespace errand::detail
