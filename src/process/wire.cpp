// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the templates of process_wire.hpp need and can be compiled once.
#include <errand/detail/process_wire.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "process/channel.hpp"

namespace errand::detail {

namespace {

// The table of so many takes 6 KiB. Of a message with more, the others' bytes are copied.
constexpr std::size_t most_pieces = 256;

}  // namespace

bool byte_writer::attach(piece_ref const& piece, std::uint32_t& index) {
  if (!given_ || !travels_(*piece.get())) return false;
  // The second time that the message is written they are there already.
  auto at = std::find_if(pieces_.begin(), pieces_.end(), [&](piece_ref const& p) { return p.get() == piece.get(); });
  if (at == pieces_.end()) {
    if (pieces_.size() == most_pieces) return false;
    at = pieces_.insert(at, piece);
  }
  index = static_cast<std::uint32_t>(at - pieces_.begin());
  return true;
}

void byte_writer::finish() noexcept {
  for (piece_ref const& p : pieces_) put_plain(piece_entry{p->place, p->capacity, p->number, 0});
}

void will_be_filled(void* at, std::size_t bytes) noexcept {
  auto const page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto const begin = (reinterpret_cast<std::uintptr_t>(at) + page - 1) / page * page;
  auto const end = (reinterpret_cast<std::uintptr_t>(at) + bytes) / page * page;
  int const saved = errno;  // where there are no large pages, small ones do
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  errno = saved;
}

void throw_overwritten() {
  throw std::runtime_error{
      "errand: what came from another process does not fit its type: its load() reads other than its save() wrote, or a "
      "worker process has written over the message"};
}

void throw_unsteady(std::size_t first, std::size_t then) {
  throw std::logic_error{"errand: a value for another process was serialised as " + std::to_string(first) +
                         " bytes and then, unchanged, as " + std::to_string(then) +
                         "; what it writes must depend on nothing but the value"};
}

}  // namespace errand::detail
