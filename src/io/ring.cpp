// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/ring.hpp"

#include <cerrno>

#if ERRAND_WITH_URING

#include "base/check.hpp"
#include "base/descriptor.hpp"
#include "base/fork.hpp"
#include "base/lock.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>
#include <liburing.h>
#include <mutex>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

namespace errand::detail {

namespace {

// The descriptors of a ring and its bell are known here while they are open, so that the child of a fork can close its copies. One
// that finds no room stays open there, unused. Written by the ring's user; read in the child, by its only thread.
constinit std::array<std::atomic<int>, 64> descriptors{};  // plus one; 0 is room

// A ring that the kernel gave, and then took nothing more by: none is asked for again.
constinit std::atomic<bool> refused_later{false};

class io_ring {
 public:
  io_ring() = default;
  // Not in the child of a fork.
  ~io_ring() {
    forget(bell_known_as_);
    if (!open_) return;
    forget(known_as_);
    io_uring_queue_exit(&ring);
  }
  io_ring(io_ring const&) = delete;
  io_ring& operator=(io_ring const&) = delete;

  // 0 or an errno.
  int open() noexcept {
    // Tempting: IORING_SETUP_SINGLE_ISSUER and DEFER_TASKRUN or COOP_TASKRUN. The first two bind a ring to a thread, the last
    // lets a thread that has handed pieces over and does something else keep what has ended from another; and for pieces of
    // 1 MiB none of them gains anything.
    io_uring_params parameters{};
    if (int const e = io_uring_queue_init_params(transfer::most_depth, &ring, &parameters); e < 0) return -e;
    open_ = true;
    if ((parameters.features & IORING_FEAT_RW_CUR_POS) == 0) return ENOSYS;  // Linux 5.6 has this, and reads without a vector
    (void)io_uring_ring_dontfork(&ring);  // what a child has not it cannot spoil
    known_as_ = make_known(ring.ring_fd);
    return 0;
  }

  // An eventfd, for who waits for more than the ring; made when first asked for. Less than 0: there is none, and errno says why.
  int bell() noexcept {
    if (!bell_) {
      bell_ = descriptor{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
      if (bell_) bell_known_as_ = make_known(bell_.get());
    }
    return bell_.get();
  }

  io_uring ring{};
  io_ring* next = nullptr;  // in the stock

 private:
  static std::atomic<int>* make_known(int fd) noexcept {
    for (auto& place : descriptors) {
      int room = 0;
      if (place.compare_exchange_strong(room, fd + 1, std::memory_order_relaxed)) return &place;
    }
    return nullptr;
  }
  static void forget(std::atomic<int>* place) noexcept {
    if (place != nullptr) place->store(0, std::memory_order_relaxed);
  }

  bool open_ = false;
  std::atomic<int>* known_as_ = nullptr;
  std::atomic<int>* bell_known_as_ = nullptr;
  descriptor bell_;
};

// Rings that nobody uses. As many as there may be file threads on most machines.
class ring_stock {
 public:
  static constexpr unsigned most = 8;

  io_ring* take() noexcept {
    std::lock_guard const held{guard_};
    if (first_ == nullptr) return nullptr;
    --count_;
    return std::exchange(first_, first_->next);
  }
  void give_back(std::unique_ptr<io_ring> ring) noexcept {
    std::lock_guard const held{guard_};
    if (count_ == most) return;  // the ring is closed after the lock is open: parameters live longer
    ++count_;
    ring->next = first_;
    first_ = ring.release();
  }
  unsigned count() noexcept {
    std::lock_guard const held{guard_};
    return count_;
  }
  // In the child of a fork: they are the parent's.
  void forget() noexcept {
    (void)guard_.break_open();
    if (first_ != nullptr) parents_ = first_;
    first_ = nullptr;
    count_ = 0;
  }

 private:
  small_lock guard_;  // all below
  io_ring* first_ = nullptr;
  unsigned count_ = 0;
  io_ring* parents_ = nullptr;  // keeps reachable what is there
};
constinit ring_stock stock;

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  stock.forget();
  refused_later.store(false, std::memory_order_relaxed);
  for (auto& place : descriptors)
    if (int const fd = place.exchange(0, std::memory_order_relaxed); fd != 0) ::close(fd - 1);
}};

class ring_transfer final : public transfer {
 public:
  ring_transfer(std::unique_ptr<io_ring> ring, unsigned depth) noexcept
      : ring_{std::move(ring)}, depth_{depth}, generation_{process_generation} {}

  ~ring_transfer() override {
    if (generation_ != process_generation) {
      (void)ring_.release();  // its memory is not here, its descriptor is closed
      return;
    }
    while (under_way_ != 0) (void)wait();
    disarm_bell();
    if (!broken_) stock.give_back(std::move(ring_));
  }

  [[nodiscard]] kind which() const noexcept override { return kind::ring; }
  [[nodiscard]] unsigned under_way() const noexcept override { return under_way_; }

  void submit(transfer_piece& piece) noexcept override {
    if (generation_ != process_generation) fatal("a transfer of the parent process was used in the child of a fork");
    if (under_way_ == depth_) fatal("a transfer was given more pieces than its depth");
    ++under_way_;
    piece.owner = this;
    hand_over(piece);
  }

  [[nodiscard]] transfer_piece& wait() noexcept override { return *next(false); }
  [[nodiscard]] transfer_piece* wait_or_woken() noexcept override { return next(true); }

  void wake() noexcept override {
    woken_.store(true, std::memory_order_seq_cst);                  // (RT1)
    int const bell = bell_.load(std::memory_order_seq_cst);         // (RT1)
    if (bell >= 0) (void)::eventfd_write(bell, 1);
  }

 private:
  void is_broken() noexcept {
    broken_ = true;
    refused_later.store(true, std::memory_order_relaxed);
  }

  // Null only if it was woken, and may be.
  transfer_piece* next(bool or_woken) noexcept {
    if (under_way_ == 0) fatal("a transfer was waited for with nothing under way");
    for (;;) {
      if (or_woken && woken_.exchange(false, std::memory_order_seq_cst)) return nullptr;  // (RT1)
      if (ended_ != nullptr) {
        --under_way_;
        return std::exchange(ended_, ended_->next);
      }
      io_uring_cqe* entry = nullptr;
      if (int e = io_uring_peek_cqe(&ring_->ring, &entry); e < 0 || entry == nullptr) {
        if (or_woken && !broken_ && !bell_armed_ && !no_bell_) {
          arm_bell();
          continue;  // a wake that came before is seen in its flag
        }
        if (broken_ || (or_woken && !bell_armed_)) {  // no more than looking is left
          timespec const a_little{0, 100'000};
          ::nanosleep(&a_little, nullptr);
          continue;
        }
        e = io_uring_wait_cqe(&ring_->ring, &entry);
        if (e < 0 && e != -EINTR && e != -EAGAIN) is_broken();
        if (e < 0 || entry == nullptr) continue;
      }
      auto* const piece = static_cast<transfer_piece*>(io_uring_cqe_get_data(entry));
      int const result = entry->res;
      io_uring_cqe_seen(&ring_->ring, entry);
      if (piece == nullptr) {
        bell_has_rung();
        continue;
      }
      piece->result = result;
      if (must_be_repeated(*piece, piece->result)) {
        hand_over(*piece);
        continue;
      }
      --under_way_;
      return piece;
    }
  }

  // The entry that is the bell's has no piece.
  void arm_bell() noexcept {
    int const bell = ring_->bell();
    no_bell_ = bell < 0;
    if (no_bell_) return;
    bell_.store(bell, std::memory_order_seq_cst);  // (RT1)
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_->ring);
    io_uring_prep_poll_add(entry, bell, POLLIN);
    io_uring_sqe_set_data(entry, nullptr);
    bell_armed_ = is_taken();
    if (!bell_armed_) is_broken();
  }
  void bell_has_rung() noexcept {
    bell_armed_ = false;
    eventfd_t rings = 0;
    (void)::eventfd_read(bell_.load(std::memory_order_relaxed), &rings);
  }
  void disarm_bell() noexcept {
    if (!bell_armed_ || broken_) return;
    (void)::eventfd_write(bell_.load(std::memory_order_relaxed), 1);
    while (bell_armed_ && !broken_) {
      io_uring_cqe* entry = nullptr;
      int const e = io_uring_wait_cqe(&ring_->ring, &entry);
      if (e < 0 && e != -EINTR && e != -EAGAIN) is_broken();
      if (e < 0 || entry == nullptr) continue;
      io_uring_cqe_seen(&ring_->ring, entry);  // nothing else is under way
      bell_has_rung();
    }
  }

  // The one entry that is filled: false if the kernel has not looked at it, nor will.
  bool is_taken() noexcept {
    int e = io_uring_submit(&ring_->ring);
    for (int tries = 0; e != 1 && (e == -EINTR || ((e == 0 || e == -EAGAIN || e == -EBUSY) && ++tries < 1000));) {
      if (e != -EINTR) ::sched_yield();  // the kernel lacks memory at the moment
      e = io_uring_submit(&ring_->ring);
    }
    return e == 1;
  }

  void hand_over(transfer_piece& piece) noexcept {
    if (!broken_) {
      io_uring_sqe* const entry = io_uring_get_sqe(&ring_->ring);  // there is one: each is taken by the kernel at once
      auto const size = static_cast<unsigned>(std::min(piece.size, std::size_t{1} << 30));
      bool const reads = piece.way == transfer_piece::direction::read;
      if (piece.parts != nullptr) {
        (reads ? io_uring_prep_readv : io_uring_prep_writev)(entry, piece.fd, piece.parts, piece.count, piece.offset);
      } else if (reads) {
        io_uring_prep_read(entry, piece.fd, piece.data, size, piece.offset);
      } else {
        io_uring_prep_write(entry, piece.fd, piece.data, size, piece.offset);
      }
      entry->rw_flags = piece.flags;
      io_uring_sqe_set_data(entry, &piece);
      if (is_taken()) return;
      is_broken();  // a filter of system calls came later, for one
    }
    piece.result = carry_out(piece);
    piece.next = ended_;
    ended_ = &piece;
  }

  std::unique_ptr<io_ring> ring_;
  unsigned const depth_;
  std::uint32_t const generation_;    // the process's when it was made
  unsigned under_way_ = 0;            // with those in ended_
  bool broken_ = false;               // the ring takes nothing any more: pieces are carried out at once
  bool bell_armed_ = false;           // the ring waits for it, too
  bool no_bell_ = false;              // the system gives none: who waits looks from time to time
  // (RT1) seq_cst: who wakes sets the flag, then looks for the bell; who waits shows the bell, then looks at the flag.
  std::atomic<bool> woken_{false};
  std::atomic<int> bell_{-1};         // the ring's
  transfer_piece* ended_ = nullptr;   // carried out at once
};

}  // namespace

std::unique_ptr<transfer> make_ring_transfer(unsigned depth, int& error) {
  std::unique_ptr<io_ring> ring{stock.take()};
  if (ring == nullptr) {
    if (refused_later.load(std::memory_order_relaxed)) {
      error = EPERM;
      return nullptr;
    }
    ring = std::make_unique<io_ring>();
    error = ring->open();
    if (error != 0) return nullptr;
  }
  return std::make_unique<ring_transfer>(std::move(ring), depth);
}

unsigned idle_rings() noexcept { return stock.count(); }

}  // namespace errand::detail

#else

namespace errand::detail {

std::unique_ptr<transfer> make_ring_transfer(unsigned, int& error) {
  error = ENOSYS;
  return nullptr;
}

unsigned idle_rings() noexcept { return 0; }

}  // namespace errand::detail

#endif
