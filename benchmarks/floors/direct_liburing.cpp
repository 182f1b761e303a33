// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Raw O_DIRECT by liburing: one ring, four buffers of a MiB in large pages, each handed over again as soon as it is back.
#include "bench/direct_disk.hpp"
#include "streamed.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <liburing.h>

namespace microbench {

namespace {

constexpr unsigned direct_depth = 4;

class ring {
 public:
  ring() {
    if (int const error = ::io_uring_queue_init(2 * direct_depth, &ring_, 0); error != 0) {
      throw wrong_result{std::string{"io_uring: "} + std::strerror(-error)};
    }
  }
  ~ring() { ::io_uring_queue_exit(&ring_); }
  ring(ring const&) = delete;
  ring& operator=(ring const&) = delete;

  template <class Prepare>
  void hand_over(unsigned slot, Prepare prepare) {
    auto* const sqe = ::io_uring_get_sqe(&ring_);
    prepare(sqe);
    ::io_uring_sqe_set_data64(sqe, slot);
    require(::io_uring_submit(&ring_) == 1, "io_uring did not take a block");
  }
  // Whose block has come back, whole.
  unsigned wait() {
    io_uring_cqe* cqe = nullptr;
    int error;
    do error = ::io_uring_wait_cqe(&ring_, &cqe);
    while (error == -EINTR);
    require(error == 0, "waiting for io_uring failed");
    require(cqe->res == static_cast<int>(mib), "a block was written or read in part");
    auto const slot = static_cast<unsigned>(::io_uring_cqe_get_data64(cqe));
    ::io_uring_cqe_seen(&ring_, cqe);
    return slot;
  }

 private:
  io_uring ring_{};
};

// begin(ring, slot, buffer, index) hands a block over; end(buffer, index) gets it back.
template <class Begin, class End>
void four_at_a_time(std::uint64_t blocks, Begin begin, End end) {
  std::array<bench::direct_buffer, direct_depth> buffers;
  std::array<std::uint64_t, direct_depth> indices{};
  for (auto& b : buffers) {
    b = bench::make_direct_buffer();
    std::memcpy(b.get(), the_text().bytes().data(), mib);
  }
  ring r;  // goes first: it waits
  std::uint64_t next = 0;
  auto const hand_over = [&](unsigned slot) {
    indices[slot] = next++;
    begin(r, slot, buffers[slot].get(), indices[slot]);
  };
  for (unsigned slot = 0; slot < direct_depth && next < blocks; ++slot) hand_over(slot);
  for (std::uint64_t done = 0; done < blocks; ++done) {
    unsigned const slot = r.wait();
    end(buffers[slot].get(), indices[slot]);
    if (next < blocks) hand_over(slot);
  }
}

}  // namespace

void write_by_liburing(std::string const& path, std::uint64_t blocks) {
  descriptor const file{path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT};
  if (::fallocate(file.fd(), 0, 0, static_cast<::off_t>(blocks * mib)) != 0) throw_file("fallocate of", path);
  four_at_a_time(
      blocks,
      [&](ring& r, unsigned slot, char* buffer, std::uint64_t index) {
        text_block::stamp(buffer, index);
        r.hand_over(slot, [&](io_uring_sqe* sqe) { ::io_uring_prep_write(sqe, file.fd(), buffer, mib, index * mib); });
      },
      [](char*, std::uint64_t) {});
}

void read_by_liburing(std::string const& path, std::uint64_t blocks, block_reader const& each) {
  descriptor const file{path, O_RDONLY | O_DIRECT};
  four_at_a_time(
      blocks,
      [&](ring& r, unsigned slot, char* buffer, std::uint64_t index) {
        r.hand_over(slot, [&](io_uring_sqe* sqe) { ::io_uring_prep_read(sqe, file.fd(), buffer, mib, index * mib); });
      },
      each);
}

namespace {

add const written{"file-write", role::floor, "raw O_DIRECT by liburing",
                  [](settings const& s) -> repetition { return [s] { return written_raw(s, &write_by_liburing); }; },
                  place::own_process};
add const read{"file-read-cold", role::floor, "raw O_DIRECT by liburing",
               [](settings const& s) -> repetition { return [s] { return read_raw(s, &read_by_liburing); }; },
               place::own_process};

}  // namespace

}  // namespace microbench
