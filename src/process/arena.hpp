// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory that goes to another process as it is. A process that sends has an arena: a slot of the shared file out of which
// it cuts pieces, for what is too large for a ring and for every large shared_vector. Pieces that come back are kept with
// their pages touched and mapped, because a fresh page costs ten times what copying it does. `arena` is the sender's
// side, in a worker for its results, in the parent for arguments; `lent_memory` is the parent's view of what one worker
// has sent. README.md says who may touch what.
#pragma once

#include <errand/detail/arena_piece.hpp>
#include <errand/detail/process_wire.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "process/channel.hpp"
#include "process/memory_file.hpp"

namespace errand::detail {

// A bound of the touched memory that is kept unused. Any thread.
class memory_budget {
 public:
  explicit memory_budget(std::size_t bytes) noexcept : limit_{bytes} {}

  bool try_keep(std::size_t bytes) noexcept;
  void drop(std::size_t bytes) noexcept { kept_.fetch_sub(bytes, std::memory_order_relaxed); }
  std::size_t kept() const noexcept { return kept_.load(std::memory_order_relaxed); }

 private:
  std::size_t const limit_;
  std::atomic<std::size_t> kept_{0};
};

// The shared file, and how much of it this process keeps touched and unused: 512 MiB, or an eighth of the machine's memory
// if that is less. Open as long as anything is in use.
struct shared_memory {
  explicit shared_memory(memory_file its_file) noexcept;

  memory_file file;
  memory_budget budget;
};

// To whom a piece goes back. Lives as long as somebody holds it: who made it, and each piece in use.
class memory_owner {
 public:
  memory_owner(memory_owner const&) = delete;
  memory_owner& operator=(memory_owner const&) = delete;

  // Of a piece that nobody holds any more. Any thread.
  virtual void give_back(arena_piece& piece) noexcept = 0;
  bool is_in(shared_memory const& memory) const noexcept { return memory_.get() == &memory; }

  void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void let_go() noexcept;

 protected:
  explicit memory_owner(std::shared_ptr<shared_memory> memory) noexcept : memory_{std::move(memory)} {}
  virtual ~memory_owner() = default;

  int fd() const noexcept { return memory_->file.fd(); }
  memory_budget& budget() const noexcept { return memory_->budget; }

 private:
  std::shared_ptr<shared_memory> const memory_;
  std::atomic<std::uint32_t> references_{1};
};
// For who made it.
struct owner_release {
  void operator()(memory_owner* owner) const noexcept { owner->let_go(); }
};
template <class Owner>
using owner_ptr = std::unique_ptr<Owner, owner_release>;

// From here on a message or a shared_vector has a piece of its own. Below, copying costs less than the pages' tables.
inline constexpr std::size_t smallest_piece = 64 * 1024;

class arena final : public memory_owner {
 public:
  // `returned` is null for a sender that learns of the end of each use by itself: the parent.
  arena(std::shared_ptr<shared_memory> memory, std::uint64_t slot, return_table* returned) noexcept;

  // Throws std::system_error, std::bad_alloc. Any thread.
  arena_piece* allocate(std::size_t bytes);
  void give_back(arena_piece& piece) noexcept override;
  // From now on allocate() throws std::bad_alloc rather than have more memory behind its pieces, the lent ones not counted.
  // For workers whose memory is limited: limits of the system's do not count what is shared.
  void limit(std::size_t bytes) noexcept;

  // The piece goes to the parent with the next reply, which has the use of it until its return is noted in the table.
  void lend(arena_piece const& piece) noexcept;
  // After that reply is out: a wild write here shall not change what the parent reads.
  void protect(arena_piece const& piece) noexcept;

 private:
  ~arena() override;

  enum class state : unsigned char {
    cold,  // only a range of the file
    warm,  // memory is behind it, mapped
    used,
    lent,
  };
  struct entry {
    std::uint64_t place;
    std::size_t capacity;
    std::byte* data;
    state is;
    bool kept_from_writing;
  };

  // Under the lock.
  void collect() noexcept;
  std::uint32_t choose(std::size_t bytes);
  void warm_up(entry& e);
  void cool(entry& e) noexcept;
  void cool_idle() noexcept;

  std::uint64_t const begin_;
  return_table* const returned_;

  std::mutex lock_;
  std::vector<entry> entries_;  // a piece's number is its place here
  std::uint64_t end_;           // of the last entry, in the file
  std::uint32_t lent_ = 0;      // entries that are
  std::size_t backed_ = 0;      // bytes of the warm and the used
  std::size_t limit_ = static_cast<std::size_t>(-1);
};

// What the parent has mapped of a worker's arena.
class lent_memory final : public memory_owner {
 public:
  lent_memory(std::shared_ptr<shared_memory> memory, std::uint64_t slot, return_table& returned) noexcept
      : memory_owner{std::move(memory)}, slot_{slot}, returned_{returned} {}

  // A reply is there that names pieces, which somebody will adopt(); until he says that he has, death takes nothing away.
  void expect_reader() noexcept;
  void reader_is_done() noexcept;

  // A piece that a reply has named: its first `size` bytes count. Throws std::runtime_error if no worker that is right in
  // its mind would name it, std::system_error if it cannot be mapped. Under no lock.
  piece_ref adopt(std::uint32_t number, std::uint64_t place, std::uint64_t capacity, std::uint64_t size);
  void give_back(arena_piece& piece) noexcept override;

  // The worker is dead, or the dispatcher is at its end: what is in use goes back to the system when it comes back,
  // everything else now.
  void close() noexcept;

  owner_ptr<lent_memory> next;  // for lists; its owner's

 private:
  ~lent_memory() override = default;

  struct entry {
    std::uint64_t place;
    std::size_t capacity;
    std::byte* data;
    bool used;
  };
  enum class answer : std::uint8_t { none, warm, cold };
  friend class arena;

  void tell(std::uint32_t number, answer what) noexcept;
  void forget(entry const& e) noexcept;
  void sweep() noexcept;

  std::uint64_t const slot_;
  return_table& returned_;

  std::mutex lock_;
  std::map<std::uint32_t, entry> entries_;
  unsigned readers_ = 0;
  bool closed_ = false;
};

// In a worker: the pieces that have come with a job's arguments. They are the parent's again when the job has ended.
class borrowed_memory final : public memory_owner {
 public:
  explicit borrowed_memory(std::shared_ptr<shared_memory> memory) noexcept : memory_owner{std::move(memory)} {}

  // Throws std::system_error.
  piece_ref adopt(piece_entry const& named);
  void give_back(arena_piece& piece) noexcept override;
  // If the job has put one aside, in a global perhaps, that becomes a copy of its own, at the same address.
  void end_of_job() noexcept;

 private:
  std::mutex lock_;
  std::map<std::byte*, std::size_t> borrowed_;  // capacities, of those that are still the parent's
};

// The pieces that the end of a message names, in their order, each as take(piece_entry) returns it.
template <class Take>
piece_list pieces_of(std::byte const* message, std::uint64_t bytes, std::uint32_t count, Take const& take) {
  piece_list all;
  if (count > bytes / sizeof(piece_entry)) throw_overwritten();
  std::byte const* at = message + bytes - count * sizeof(piece_entry);
  for (std::uint32_t i = 0; i < count; ++i, at += sizeof(piece_entry)) {
    piece_entry named;
    std::memcpy(&named, at, sizeof named);
    all.push_back(take(named));
  }
  return all;
}

// The arena that this process's shared_vectors come from, and whether it is a worker's; null where there is none. Set
// while there is one thread.
void set_arena_of_process(arena* a, bool workers) noexcept;
arena* arena_of_process() noexcept;

}  // namespace errand::detail
