// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The kind of transfer that needs no io_uring: up to four threads, shared by all transfers of the process, that block in
// preadv2 and pwritev2, one piece each at a time. Started when there is more to do than there are threads, gone after ten idle
// seconds; the child of a fork has new ones. Called by transfer::make().
#pragma once

#include "base/lock.hpp"
#include "io/transfer.hpp"

#include <cstdint>
#include <memory>

namespace errand::detail {

class helped_transfer;

class helper_threads {
 public:
  struct settings {
    unsigned most = 4;                          // threads at a time
    std::int64_t idle_limit = 10'000'000'000;   // ns that a thread waits for another piece before it goes away
    void (*before_start)() = nullptr;           // called before each thread is started; a test's, to make that fail
    helper_threads* parents = nullptr;          // of the process that forked this one: kept where leak checkers look
  };
  explicit helper_threads(settings const& s) noexcept : settings_{s} {}
  /// Only when no piece is under way; waits for the idle threads.
  ~helper_threads();
  helper_threads(helper_threads const&) = delete;
  helper_threads& operator=(helper_threads const&) = delete;

  /// The process's own. Never destroyed. Throws std::bad_alloc.
  [[nodiscard]] static helper_threads& of_process();

  struct counts {
    unsigned threads;
    unsigned idle;
    unsigned queued;
  };
  [[nodiscard]] counts now() noexcept;

 private:
  friend class helped_transfer;

  // An idle thread, in its own frame.
  struct idle_thread {
    idle_thread* next = nullptr;
    transfer_piece* given = nullptr;       // under guard_; set by who takes it off the list
    std::atomic<std::uint32_t> woken{0};   // written under guard_, slept on without
  };
  // First come, first served; linked by transfer_piece::next.
  struct piece_queue {
    transfer_piece* first = nullptr;
    transfer_piece* last = nullptr;
    unsigned count = 0;
    void push(transfer_piece& piece) noexcept;
    transfer_piece* pop() noexcept;  // null if there is none
  };

  // Queues it for a thread, which is started if need be. If there is none and none can be had, carries it out at once.
  void submit(transfer_piece& piece) noexcept;
  void thread() noexcept;
  [[nodiscard]] transfer_piece* next_piece() noexcept;  // waits; null when the thread shall go away
  // Hands it back to its owner, which may be gone with the next word.
  void give_back(transfer_piece& piece, std::int64_t result) noexcept;
  void leave() noexcept;  // under guard_

  settings const settings_;
  small_lock guard_;             // all below, and the transfers' lists of what has ended
  piece_queue queue_;
  idle_thread* idle_ = nullptr;  // the one that fell idle last comes first, so that the others get old
  unsigned threads_ = 0;         // running, idle or being started
  unsigned busy_ = 0;            // pieces being carried out
  bool closing_ = false;
  std::atomic<std::uint32_t> gone_{0};  // what the destructor sleeps on: bumped under the lock by each thread that leaves
};

class helped_transfer final : public transfer {
 public:
  helped_transfer(helper_threads& threads, unsigned depth) noexcept;
  ~helped_transfer() override;

  [[nodiscard]] kind which() const noexcept override { return kind::threads; }
  void submit(transfer_piece& piece) noexcept override;
  [[nodiscard]] transfer_piece& wait() noexcept override;
  [[nodiscard]] transfer_piece* wait_or_woken() noexcept override;
  void wake() noexcept override;
  [[nodiscard]] unsigned under_way() const noexcept override { return under_way_; }

 private:
  friend class helper_threads;

  helper_threads& threads_;
  unsigned const depth_;
  unsigned under_way_ = 0;              // the owner's
  std::uint32_t const generation_;      // the process's when it was made
  helper_threads::piece_queue ended_;   // under the threads' lock, as are changes of the next
  bool woken_ = false;                  // likewise
  std::atomic<std::uint32_t> ends_{0};  // counts them, and wakes; what the owner sleeps on
};

/// Throws std::bad_alloc.
[[nodiscard]] std::unique_ptr<transfer> make_helped_transfer(unsigned depth);

}  // namespace errand::detail
