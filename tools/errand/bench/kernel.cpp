// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/kernel.hpp"

#include "bench/failure.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>

namespace bench {
namespace {

// One word that reads zero again in every forked child, however it was forked.
// Null where the kernel has no such memory (before Linux 4.14).
std::uint64_t* word_wiped_on_fork() noexcept {
  auto const size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED || madvise(page, size, MADV_WIPEONFORK) != 0) return nullptr;
  return static_cast<std::uint64_t*>(page);
}

std::uint64_t process_id() noexcept {
  static std::uint64_t* const word = word_wiped_on_fork();
  if (word == nullptr) return static_cast<std::uint64_t>(getpid());
  // Threads may race to fill it in, all with the same value.
  std::atomic_ref<std::uint64_t> cached(*word);
  std::uint64_t id = cached.load(std::memory_order_relaxed);
  if (id == 0) {
    id = static_cast<std::uint64_t>(getpid());
    cached.store(id, std::memory_order_relaxed);
  }
  return id;
}

std::uint64_t count_steps(std::uint64_t n) noexcept {
  std::uint64_t steps = 0;
  for (std::uint64_t i = 0; i < n; ++i) steps += inner_loop(i).steps;
  return steps;
}

// A stream has no descriptor to sync by; another one of the same file will do. Returns the errno, or 0.
int sync_to_disk(char const* path) noexcept {
  int const fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int const error = fdatasync(fd) == 0 ? 0 : errno;
  close(fd);
  return error;
}

// Line by line through an ordinary stream: that is how one would expect to write it,
// and what the post measured. Returns the errno of the first failure, or 0.
int write_lines(char const* path, std::uint64_t lines, bool durable) noexcept {
  errno = 0;
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  for (std::uint64_t i = 0; i < lines && out; ++i) out << line_of_the_post;
  out.close();
  if (!out) return errno != 0 ? errno : EIO;
  return durable ? sync_to_disk(path) : 0;
}

}  // namespace

job job::count(std::uint64_t n) {
  job j;
  j.kind = job_kind::count;
  j.n = n;
  return j;
}

job job::write(std::uint64_t lines, std::string_view path, bool durable) {
  if (path.size() >= path_capacity) {
    throw failure(fmt::format("the path {} is longer than {} bytes", path, path_capacity - 1));
  }
  job j;
  j.kind = job_kind::write;
  j.n = lines;
  j.durable = durable;
  std::memcpy(j.path, path.data(), path.size());
  return j;
}

unit inner_loop(std::uint64_t i) noexcept {
  std::uint64_t steps = 0;
  for (std::uint64_t x = 0; x < i; ++x) {
    ++steps;
    asm volatile("" : "+r"(steps));  // the step must happen, in a register
  }
  return {steps, current_place()};
}

answer run_job(job const& j) noexcept {
  double const begin = now();
  answer a;
  if (j.kind == job_kind::count) {
    a.value = count_steps(j.n);
  } else {
    a.error = write_lines(j.path, j.n, j.durable);
    a.value = a.error == 0 ? j.n : 0;
  }
  a.place = current_place();
  a.seconds = now() - begin;
  return a;
}

std::uint64_t current_place() noexcept {
  // The address of a thread's own variable names the thread within its process.
  static thread_local char here;
  auto const address = reinterpret_cast<std::uintptr_t>(&here);
  return (process_id() << 32) ^ (static_cast<std::uint64_t>(address) >> 4 & 0xffffffffU);
}

double now() noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace bench
