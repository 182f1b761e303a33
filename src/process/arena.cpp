// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/arena.hpp"

#include <errand/detail/process_generation.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/fork.hpp"

namespace errand::detail {

namespace {

constexpr std::uint32_t nobody = ~0U;

// So that a piece fits again for a size that differs a little: eight sizes from each power of two to the next.
std::size_t capacity_for(std::size_t bytes) noexcept {
  std::size_t const step = std::max(shared_pages, std::bit_floor(std::max<std::size_t>(bytes, 1)) / 8);
  return (bytes + step - 1) / step * step;
}

// A child of a fork has only a picture of the lists, and they may have been changing.
struct in_use {
  arena_piece piece;
  std::uint32_t generation;
};

arena_piece* make_piece(std::byte* data, std::size_t capacity, std::uint64_t place, std::uint32_t number,
                        memory_owner* owner) {
  auto* const made = new in_use{{data, capacity, place, number, 1, owner}, process_generation};
  if (owner != nullptr) owner->hold();
  return &made->piece;
}

arena* of_process = nullptr;
bool is_workers = false;

// The parent's pieces are the parent's, and a worker's child must not answer with the worker's.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { of_process = nullptr; }};

}  // namespace

// ---- pieces

void hold(arena_piece& piece) noexcept {
  std::atomic_ref{piece.references}.fetch_add(1, std::memory_order_relaxed);
}

void let_go(arena_piece& piece) noexcept {
  // (V1) acq_rel: the last one sees what all have done with the memory; pairs with every other (V1).
  if (std::atomic_ref{piece.references}.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  auto& whole = reinterpret_cast<in_use&>(piece);
  memory_owner* const owner = piece.owner;
  if (owner == nullptr) {
    ::operator delete(piece.data, std::align_val_t{64});
  } else if (whole.generation == process_generation) {
    owner->give_back(piece);
    owner->let_go();
  }
  delete &whole;
}

arena_piece* allocate_piece(std::size_t bytes) {
  if (bytes >= smallest_piece && of_process != nullptr) return of_process->allocate(bytes);
  auto* const data = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64}));
  try {
    return make_piece(data, bytes, 0, 0, nullptr);
  } catch (...) {
    ::operator delete(data, std::align_val_t{64});
    throw;
  }
}

bool travels_to_parent(arena_piece const& piece) noexcept {
  return is_workers && piece.owner != nullptr && piece.owner == of_process;
}

void set_arena_of_process(arena* a, bool workers) noexcept {
  of_process = a;
  is_workers = workers;
}

arena* arena_of_process() noexcept { return of_process; }

// ---- memory_owner, memory_budget

void memory_owner::let_go() noexcept {
  // (V2) acq_rel: as (V1), of the owner; pairs with every other (V2).
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

shared_memory::shared_memory(memory_file its_file) noexcept
    : file{std::move(its_file)}, budget{[] {
        auto const pages = static_cast<std::size_t>(std::max(::sysconf(_SC_PHYS_PAGES), 0L));
        auto const page = static_cast<std::size_t>(std::max(::sysconf(_SC_PAGESIZE), 0L));
        return std::min<std::size_t>(std::size_t{512} << 20, pages * page / 8);
      }()} {}

bool memory_budget::try_keep(std::size_t bytes) noexcept {
  std::size_t kept = kept_.load(std::memory_order_relaxed);
  do {
    if (bytes > limit_ || kept > limit_ - bytes) return false;
  } while (!kept_.compare_exchange_weak(kept, kept + bytes, std::memory_order_relaxed));
  return true;
}

// ---- arena

// Not the very first place: zero stands for none.
arena::arena(std::shared_ptr<shared_memory> memory, std::uint64_t slot, return_table* returned) noexcept
    : memory_owner{std::move(memory)},
      begin_{slot * memory_file::slot_bytes},
      returned_{returned},
      end_{begin_ + shared_pages} {}

arena::~arena() { cool_idle(); }

// What is only kept for the next time.
void arena::cool_idle() noexcept {
  for (entry& e : entries_) {
    if (e.is != state::warm) continue;
    budget().drop(e.capacity);
    cool(e);
  }
}

arena_piece* arena::allocate(std::size_t bytes) {
  std::lock_guard const hold_it{lock_};
  std::uint32_t const number = choose(bytes);
  entry& e = entries_[number];
  if (e.is == state::warm) {
    budget().drop(e.capacity);
    if (e.kept_from_writing && ::mprotect(e.data, e.capacity, PROT_READ | PROT_WRITE) != 0) {
      int const reason = errno;
      cool(e);
      throw std::system_error(reason, std::system_category(), "errand: cannot write to memory shared with another process");
    }
  } else {
    warm_up(e);
  }
  e.kept_from_writing = false;
  e.is = state::used;
  try {
    return make_piece(e.data, e.capacity, e.place, number, this);
  } catch (...) {
    cool(e);
    throw;
  }
}

// The smallest piece that is large enough and not much too large, best a warm one; or a new one, cold.
std::uint32_t arena::choose(std::size_t bytes) {
  collect();
  std::size_t const wanted = capacity_for(bytes);
  if (wanted < bytes || wanted > memory_file::slot_bytes / 2) throw std::bad_alloc{};
  std::uint32_t best = nobody;
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    entry const& e = entries_[i];
    if (e.is > state::warm || e.capacity < bytes || e.capacity / 2 > wanted) continue;
    if (best == nobody || e.is > entries_[best].is ||
        (e.is == entries_[best].is && e.capacity < entries_[best].capacity))
      best = i;
  }
  if (best != nobody) return best;
  bool const full = returned_ != nullptr && entries_.size() >= return_table::size;
  if (full || wanted > begin_ + memory_file::slot_bytes - end_)
    throw std::system_error(ENOMEM, std::system_category(), "errand: too many large results of one worker are in use");
  entries_.push_back({end_, wanted, nullptr, state::cold, false});
  end_ += wanted;
  return static_cast<std::uint32_t>(entries_.size() - 1);
}

// cold -> warm
void arena::warm_up(entry& e) {
  auto const allowed = [&] { return e.capacity <= limit_ && backed_ <= limit_ - e.capacity; };
  if (!allowed()) cool_idle();
  if (!allowed()) throw std::bad_alloc{};
  try {
    reserve_shared(fd(), e.place, e.capacity);
  } catch (std::system_error const&) {
    cool_idle();
    reserve_shared(fd(), e.place, e.capacity);
  }
  try {
    e.data = map_shared(fd(), e.place, e.capacity, access::write);
  } catch (...) {
    discard_shared(fd(), e.place, e.capacity);
    throw;
  }
  backed_ += e.capacity;
}

// warm or used -> cold
void arena::cool(entry& e) noexcept {
  backed_ -= e.capacity;
  if (e.data != nullptr) ::munmap(e.data, e.capacity);
  e.data = nullptr;
  e.is = state::cold;
  discard_shared(fd(), e.place, e.capacity);
}

void arena::give_back(arena_piece& piece) noexcept {
  std::lock_guard const hold_it{lock_};
  entry& e = entries_[piece.number];
  if (e.is == state::lent) return;
  if (budget().try_keep(e.capacity))
    e.is = state::warm;
  else
    cool(e);
}

void arena::limit(std::size_t bytes) noexcept {
  std::lock_guard const hold_it{lock_};
  limit_ = bytes;
}

void arena::lend(arena_piece const& piece) noexcept {
  std::lock_guard const hold_it{lock_};
  entry& e = entries_[piece.number];
  e.is = state::lent;
  ++lent_;
  backed_ -= e.capacity;
  // Relaxed: (A1) publishes it with the reply.
  returned_->of_piece[piece.number].store(0, std::memory_order_relaxed);
}

void arena::protect(arena_piece const& piece) noexcept {
  std::lock_guard const hold_it{lock_};
  entry& e = entries_[piece.number];
  // If the kernel declines, it stays as it is.
  e.kept_from_writing = ::mprotect(e.data, e.capacity, PROT_NONE) == 0;
}

// lent -> warm or cold, of those that have come back.
void arena::collect() noexcept {
  if (lent_ == 0) return;
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    entry& e = entries_[i];
    if (e.is != state::lent) continue;
    // (AR1) acquire: the parent has done with it; pairs with (AR2) in lent_memory::tell().
    auto const answer = static_cast<lent_memory::answer>(returned_->of_piece[i].load(std::memory_order_acquire));
    if (answer == lent_memory::answer::none) continue;
    --lent_;
    backed_ += e.capacity;
    if (answer == lent_memory::answer::warm && budget().try_keep(e.capacity)) {
      e.is = state::warm;
    } else {
      cool(e);
    }
  }
}

// ---- lent_memory

void lent_memory::expect_reader() noexcept {
  std::lock_guard const hold_it{lock_};
  ++readers_;
}

void lent_memory::reader_is_done() noexcept {
  std::lock_guard const hold_it{lock_};
  if (--readers_ == 0 && closed_) sweep();
}

piece_ref lent_memory::adopt(std::uint32_t number, std::uint64_t place, std::uint64_t capacity, std::uint64_t size) {
  std::lock_guard const hold_it{lock_};
  bool const plausible = number < return_table::size && place != 0 && place % shared_pages == 0 && capacity != 0 &&
                         capacity % shared_pages == 0 && size <= capacity &&
                         memory_file::inside(slot_, place, capacity);
  if (!plausible) throw_overwritten();
  auto at = entries_.find(number);
  if (at != entries_.end() && at->second.used) throw_overwritten();
  if (at != entries_.end()) {
    budget().drop(at->second.capacity);
    if (at->second.place != place || at->second.capacity != capacity) {
      ::munmap(at->second.data, at->second.capacity);
      entries_.erase(at);
      at = entries_.end();
    }
  }
  if (at == entries_.end() && !is_reserved(fd(), place, capacity)) throw_overwritten();
  try {
    if (at == entries_.end()) {
      at = entries_.emplace(number, entry{place, capacity, nullptr, true}).first;
      at->second.data = map_shared(fd(), place, capacity, access::write);
    }
    at->second.used = true;
    return piece_ref{make_piece(at->second.data, capacity, place, number, this)};
  } catch (...) {
    if (at != entries_.end()) {
      forget(at->second);
      entries_.erase(at);
    } else {
      discard_shared(fd(), place, capacity);
    }
    tell(number, answer::cold);
    throw;
  }
}

void lent_memory::give_back(arena_piece& piece) noexcept {
  std::lock_guard const hold_it{lock_};
  auto const at = entries_.find(piece.number);
  at->second.used = false;
  if (!closed_ && budget().try_keep(piece.capacity)) {
    tell(piece.number, answer::warm);
    return;
  }
  forget(at->second);
  entries_.erase(at);
  tell(piece.number, answer::cold);
}

void lent_memory::tell(std::uint32_t number, answer what) noexcept {
  // (AR2) release: all that was done with the piece; pairs with (AR1) in arena::collect().
  if (!closed_) returned_.of_piece[number].store(static_cast<std::uint8_t>(what), std::memory_order_release);
}

void lent_memory::forget(entry const& e) noexcept {
  if (e.data != nullptr) ::munmap(e.data, e.capacity);
  discard_shared(fd(), e.place, e.capacity);
}

void lent_memory::close() noexcept {
  std::lock_guard const hold_it{lock_};
  closed_ = true;
  if (readers_ == 0) sweep();
}

// Everything that is not in use goes back to the system.
void lent_memory::sweep() noexcept {
  // In the order of their places, so that what lies between those in use can be given back.
  std::map<std::uint64_t, std::uint64_t> kept;
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->second.used) {
      kept.emplace(at->second.place, at->second.capacity);
      ++at;
    } else {
      budget().drop(at->second.capacity);
      ::munmap(at->second.data, at->second.capacity);
      at = entries_.erase(at);
    }
  }
  std::uint64_t done = slot_ * memory_file::slot_bytes;
  std::uint64_t const end = done + memory_file::slot_bytes;
  for (auto const& [place, capacity] : kept) {
    if (place > done) discard_shared(fd(), done, place - done);
    done = std::max(done, place + capacity);
  }
  if (end > done) discard_shared(fd(), done, end - done);
}

// ---- borrowed_memory

piece_ref borrowed_memory::adopt(piece_entry const& named) {
  std::lock_guard const hold_it{lock_};
  std::byte* const data = map_shared(fd(), named.place, named.capacity, access::write);
  try {
    borrowed_.emplace(data, named.capacity);
    return piece_ref{make_piece(data, named.capacity, named.place, named.number, this)};
  } catch (...) {
    borrowed_.erase(data);
    ::munmap(data, named.capacity);
    throw;
  }
}

void borrowed_memory::give_back(arena_piece& piece) noexcept {
  std::lock_guard const hold_it{lock_};
  ::munmap(piece.data, piece.capacity);
  borrowed_.erase(piece.data);
}

void borrowed_memory::end_of_job() noexcept {
  std::lock_guard const hold_it{lock_};
  for (auto const& [data, capacity] : borrowed_) {
    void* const copy = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy != MAP_FAILED) std::memcpy(copy, data, capacity);
    // Without memory for that the job cannot have what it kept: it ends as one whose process died.
    if (copy == MAP_FAILED || ::mremap(copy, capacity, capacity, MREMAP_MAYMOVE | MREMAP_FIXED, data) == MAP_FAILED)
      ::_exit(EXIT_FAILURE);
  }
  borrowed_.clear();  // give_back() unmaps them like any other
}

}  // namespace errand::detail
