// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "files.hpp"

#include "direct_file.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace microbench {

namespace {

void put_number(char* to, std::uint64_t value) {
  for (std::size_t i = text_block::digits; i-- != 0; value /= 10) to[i] = static_cast<char>('0' + value % 10);
}

std::uint64_t number_at(char const* from) {
  std::uint64_t value = 0;
  std::from_chars(from, from + text_block::digits, value);
  return value;
}

}  // namespace

text_block::text_block() {
  constexpr std::string_view words = " the quick brown fox jumps over the lazy dog";
  while (bytes_.size() + line_length <= mib) {
    std::string line(line_length, '-');
    std::uint64_t const number = lines_ * 7919 % 1'000'003;
    put_number(line.data(), number);
    words.copy(line.data() + digits, words.size());
    line.back() = '\n';
    if (lines_++ != 0) sum_ += number;
    bytes_ += line;
  }
  bytes_.insert(bytes_.size() - 1, mib - bytes_.size(), '-');
}

void text_block::stamp(char* block, std::uint64_t index) { put_number(block, index); }

bool text_block::is(char const* block, std::uint64_t index) const {
  return number_at(block) == index && std::memcmp(block + digits, bytes_.data() + digits, mib - digits) == 0;
}

text_block const& the_text() {
  static text_block const text;
  return text;
}

std::uint64_t blocks_of(settings const& s) {
  return std::max<std::uint64_t>(s.quick ? s.file_bytes / mib / 50 : s.file_bytes / mib, 4);
}
std::string scratch_file(settings const& s, std::string const& name) { return s.scratch + "/" + name; }
double seconds_per_gib(std::int64_t nanoseconds, std::uint64_t blocks) {
  return static_cast<double>(nanoseconds) / 1e9 / (static_cast<double>(blocks) / 1024);
}

void throw_file(char const* what, std::string const& path) {
  throw wrong_result{std::string{what} + " " + path + ": " + std::strerror(errno)};
}

descriptor::descriptor(std::string const& path, int flags) : fd_{::open(path.c_str(), flags | O_CLOEXEC, 0666)} {
  if (fd_ < 0) throw_file((flags & O_DIRECT) != 0 ? "opening for O_DIRECT" : "opening", path);
}
descriptor::~descriptor() { ::close(fd_); }

void make_way(settings const& s, std::string const& path) {
  std::filesystem::remove(path);
  descriptor const directory{s.scratch, O_RDONLY | O_DIRECTORY};
  if (::syncfs(directory.fd()) != 0) throw_file("syncfs", s.scratch);
}

double let_memory_cool(settings const& s) {
  if (!s.quick) std::this_thread::sleep_for(std::chrono::seconds{3});
  constexpr std::size_t size = 32 * mib, page = 4096;
  void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(at != MAP_FAILED, "no memory to be touched");
  ::madvise(at, size, MADV_NOHUGEPAGE);
  auto const begin = now_ns();
  for (std::size_t i = 0; i < size; i += page) static_cast<char volatile*>(at)[i] = 1;
  auto const end = now_ns();
  ::munmap(at, size);
  return ns_each(begin, end, size / page * 1000);
}

void verify_text(std::string const& path, std::uint64_t count, std::uint64_t first) {
  if (std::filesystem::file_size(path) != count * mib) throw wrong_result{path + " has not the size that was written"};
  std::atomic<std::uint64_t> right{0};
  read_by_threads(path, count, [&](char const* block, std::uint64_t index) {
    if (the_text().is(block, first + index)) right.fetch_add(1, std::memory_order_relaxed);
  });
  if (right.load() != count) throw wrong_result{path + " has not the bytes that were written"};
}

void verify_lines(std::string const& path, std::string_view line, std::size_t count) {
  std::ifstream in{path, std::ios::binary};
  std::string const contents{std::istreambuf_iterator<char>{in}, {}};
  bool right = contents.size() == count * line.size();
  for (std::size_t at = 0; right && at < contents.size(); at += line.size())
    right = contents.compare(at, line.size(), line) == 0;
  if (!right) throw wrong_result{path + " has not the lines that were written"};
}

std::string text_file(settings const& s, std::uint64_t blocks) {
  auto const path = scratch_file(s, "text-" + std::to_string(blocks));
  if (!std::filesystem::exists(path)) {
    write_by_threads(path + ".new", blocks);
    std::filesystem::rename(path + ".new", path);
  }
  return path;
}

double percent_cached(std::string const& path) {
  descriptor const file{path, O_RDONLY};
  struct stat about {};
  if (::fstat(file.fd(), &about) != 0) throw_file("fstat of", path);
  auto const size = static_cast<std::size_t>(about.st_size);
  if (size == 0) return 0;
  void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd(), 0);
  if (at == MAP_FAILED) throw_file("mapping", path);
  std::vector<unsigned char> pages((size + 4095) / 4096);  // more than there are where pages are larger
  int const result = ::mincore(at, size, pages.data());
  ::munmap(at, size);
  if (result != 0) throw_file("mincore of", path);
  auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  pages.resize((size + page - 1) / page);
  auto const cached = std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return (p & 1) != 0; });
  return 100 * static_cast<double>(cached) / static_cast<double>(pages.size());
}

void read_through_cache(std::string const& path) {
  descriptor const file{path, O_RDONLY};
  std::vector<char> buffer(mib);
  ::ssize_t got;
  while ((got = ::read(file.fd(), buffer.data(), buffer.size())) != 0)
    if (got < 0 && errno != EINTR) throw_file("reading", path);
}

double make_cold(std::string const& path) {
  {
    descriptor const file{path, O_RDWR};
    if (::fdatasync(file.fd()) != 0) throw_file("fdatasync of", path);
    if (int const error = ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED); error != 0) {
      errno = error;
      throw_file("posix_fadvise of", path);
    }
  }
  return percent_cached(path);
}

}  // namespace microbench
