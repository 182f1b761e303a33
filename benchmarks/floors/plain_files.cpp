// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Plain system calls: small files one after the other, and lines through a bare buffer of 64 KiB.
#include "five_files.hpp"
#include "small_files.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

namespace microbench {

namespace {

void write_all(int fd, char const* data, std::size_t size, std::string const& path) {
  while (size != 0) {
    auto const n = ::write(fd, data, size);
    if (n < 0 && errno != EINTR) throw_file("writing", path);
    if (n <= 0) continue;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
}

void write_lines(line_file const& f) {
  constexpr std::size_t buffer_size = 65536;
  descriptor const file{f.path, O_WRONLY | O_CREAT | O_TRUNC};
  auto const buffer = std::make_unique<char[]>(buffer_size);
  std::size_t filled = 0;
  std::string_view line = the_line;
  for (std::size_t i = 0; i < f.lines; ++i) {
    if (buffer_size - filled < line.size()) {
      write_all(file.fd(), buffer.get(), filled, f.path);
      filled = 0;
    }
    asm volatile("" : "+r"(line));  // neither its bytes nor its length are known
    std::memcpy(buffer.get() + filled, line.data(), line.size());
    filled += line.size();
  }
  write_all(file.fd(), buffer.get(), filled, f.path);
}

}  // namespace

void plain_write(std::string const& path, std::string const& contents) {
  descriptor const file{path, O_WRONLY | O_CREAT | O_TRUNC};
  write_all(file.fd(), contents.data(), contents.size(), path);
}

std::string plain_read(std::string const& path) {
  descriptor const file{path, O_RDONLY};
  std::string contents(small_files::size, '\0');
  ::ssize_t got;
  do got = ::read(file.fd(), contents.data(), contents.size());
  while (got < 0 && errno == EINTR);
  if (got < 0) throw_file("reading", path);
  contents.resize(static_cast<std::size_t>(got));
  return contents;
}

void small_files::verify() const {
  for (std::size_t i = 0; i < count(); ++i)
    require(plain_read(path(i)) == contents(i), "a small file has not what was written");
}
void small_files::write() const {
  for (std::size_t i = 0; i < count(); ++i) plain_write(path(i), contents(i));
}

namespace {

add const small_write{"file-small-write", role::floor, "open, write, close", [](settings const& s) -> repetition {
                        return [s] { return small_written(s, [](small_files const& files) { files.write(); }); };
                      }};
add const small_reading{"file-small-read", role::floor, "open, read, close", [](settings const& s) -> repetition {
                          return [s] {
                            return small_read(s, [](small_files const& files) {
                              std::vector<std::string> all;
                              all.reserve(files.count());
                              for (std::size_t i = 0; i < files.count(); ++i) all.push_back(plain_read(files.path(i)));
                              return all;
                            });
                          };
                        }};

add const lines_by_one{"file-lines-1", role::floor, "bare buffer of 64 KiB", [](settings const& s) -> repetition {
                         return [s] {
                           return write_five_files(s, [](five_files const& files) {
                             for (auto const& f : files) write_lines(f);
                           });
                         };
                       }};
add const lines_by_two{"file-lines-2", role::floor, "bare buffer of 64 KiB", [](settings const& s) -> repetition {
                         return [s] {
                           return write_five_files(s, [](five_files const& files) {
                             std::atomic<std::size_t> next{0};
                             auto const work = [&] {
                               for (std::size_t i; (i = next.fetch_add(1)) < files.size();) write_lines(files[i]);
                             };
                             std::thread other{work};
                             work();
                             other.join();
                           });
                         };
                       }};

}  // namespace

}  // namespace microbench
