// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "faulty_calls.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>

namespace errand_test {
namespace {

constinit std::atomic<bool> active{false};  // a look at it saves the lock
std::mutex guard;                           // all below
std::string folder;
fault_rule rule;

// What a name means but for us: libc's function, or the sanitizer's in front of it.
void* next(std::atomic<void*>& known, char const* name) {
  void* found = known.load(std::memory_order_relaxed);
  if (found == nullptr) {
    found = ::dlsym(RTLD_NEXT, name);
    known.store(found, std::memory_order_relaxed);
  }
  return found;
}

bool in_folder(std::string_view path) { return path.starts_with(folder); }
bool in_folder(int fd) {
  char link[40];
  char path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  auto const size = ::readlink(link, path, sizeof path);
  return size > 0 && in_folder(std::string_view{path, static_cast<std::size_t>(size)});
}

template <class File>
fault fault_of(system_call call, File const& file, std::size_t size = 0) {
  if (!active.load(std::memory_order_relaxed)) return {};
  std::lock_guard const held{guard};
  if (!rule || !in_folder(file)) return {};
  return rule(call, size);
}

// Calls `go(size)` with as many bytes as there shall be.
template <class Go>
ssize_t transferred(system_call call, int fd, std::size_t size, Go go) {
  int const before = errno;
  auto const f = fault_of(call, fd, size);
  errno = f.error != 0 ? f.error : before;
  return f.error != 0 ? -1 : go(std::min(size, f.most));
}
// Of one piece; more are handed on as they are.
template <class Go>
ssize_t transferred(system_call call, int fd, iovec const* pieces, int count, Go go) {
  iovec first = count > 0 ? *pieces : iovec{};
  return transferred(call, fd, first.iov_len, [&](std::size_t size) {
    first.iov_len = size;
    return go(count == 1 ? &first : pieces);
  });
}
template <class File, class Go>
int done(system_call call, File const& file, Go go) {
  int const before = errno;
  auto const f = fault_of(call, file);
  errno = f.error != 0 ? f.error : before;
  return f.error != 0 ? -1 : go();
}

}  // namespace

faulty_calls::faulty_calls(std::filesystem::path const& in, fault_rule by) {
  std::lock_guard const held{guard};
  folder = in.string();
  rule = std::move(by);
  active.store(true, std::memory_order_relaxed);
}
faulty_calls::~faulty_calls() {
  std::lock_guard const held{guard};
  active.store(false, std::memory_order_relaxed);
  rule = nullptr;
}

}  // namespace errand_test

// NOLINTBEGIN: by libc's names and types
using errand_test::done;
using errand_test::next;
using errand_test::system_call;
using errand_test::transferred;

#define NEXT(name)                                      \
  (reinterpret_cast<decltype(&::name)>([] {             \
    static constinit std::atomic<void*> known{nullptr}; \
    return next(known, #name);                          \
  }()))

extern "C" {

ssize_t read(int fd, void* to, size_t size) {
  return transferred(system_call::read, fd, size, [&](size_t n) { return NEXT(read)(fd, to, n); });
}
ssize_t pread(int fd, void* to, size_t size, off_t at) {
  return transferred(system_call::read, fd, size, [&](size_t n) { return NEXT(pread)(fd, to, n, at); });
}
ssize_t preadv2(int fd, iovec const* pieces, int count, off_t at, int flags) {
  return transferred(system_call::read, fd, pieces, count,
                     [&](iovec const* p) { return NEXT(preadv2)(fd, p, count, at, flags); });
}
ssize_t preadv64v2(int fd, iovec const* pieces, int count, off64_t at, int flags) {
  return transferred(system_call::read, fd, pieces, count,
                     [&](iovec const* p) { return NEXT(preadv64v2)(fd, p, count, at, flags); });
}
ssize_t write(int fd, void const* from, size_t size) {
  return transferred(system_call::write, fd, size, [&](size_t n) { return NEXT(write)(fd, from, n); });
}
ssize_t pwrite(int fd, void const* from, size_t size, off_t at) {
  return transferred(system_call::write, fd, size, [&](size_t n) { return NEXT(pwrite)(fd, from, n, at); });
}
ssize_t pwritev2(int fd, iovec const* pieces, int count, off_t at, int flags) {
  return transferred(system_call::write, fd, pieces, count,
                     [&](iovec const* p) { return NEXT(pwritev2)(fd, p, count, at, flags); });
}
ssize_t pwritev64v2(int fd, iovec const* pieces, int count, off64_t at, int flags) {
  return transferred(system_call::write, fd, pieces, count,
                     [&](iovec const* p) { return NEXT(pwritev64v2)(fd, p, count, at, flags); });
}
int fdatasync(int fd) {
  return done(system_call::sync, fd, [&] { return NEXT(fdatasync)(fd); });
}
int fsync(int fd) {
  return done(system_call::sync, fd, [&] { return NEXT(fsync)(fd); });
}
int fallocate(int fd, int mode, off_t at, off_t size) {
  return done(system_call::allocate, fd, [&] { return NEXT(fallocate)(fd, mode, at, size); });
}
int ftruncate(int fd, off_t size) noexcept {
  return done(system_call::truncate, fd, [&] { return NEXT(ftruncate)(fd, size); });
}
int renameat(int from, char const* old_name, int to, char const* new_name) noexcept {
  return done(system_call::rename, to, [&] { return NEXT(renameat)(from, old_name, to, new_name); });
}
int open(char const* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  auto const mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : mode_t{0};
  va_end(rest);
  return done(system_call::open, std::string_view{path}, [&] { return NEXT(open)(path, flags, mode); });
}
int openat(int at, char const* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  auto const mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : mode_t{0};
  va_end(rest);
  return done(system_call::open, at, [&] { return NEXT(openat)(at, path, flags, mode); });
}
// The descriptor is gone in any case, as Linux has it.
int close(int fd) {
  bool closed = false;
  int result = 0;
  auto const failed = done(system_call::close, fd, [&] {
    closed = true;
    return result = NEXT(close)(fd);
  });
  if (closed) return result;
  int const error = errno;
  static_cast<void>(NEXT(close)(fd));
  errno = error;
  return failed;
}

}  // extern "C"
// NOLINTEND
