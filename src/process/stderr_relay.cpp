// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/stderr_relay.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace errand::detail {

namespace {

// While the program's stderr takes nothing, workers may die; so much of what they left is kept.
constexpr std::size_t most_waiting = std::size_t{1} << 20U;
constexpr int patience = 1000;  // milliseconds

}  // namespace

// ---- the last words

void stderr_relay::tail::put(char const* bytes, std::size_t count) noexcept {
  for (std::size_t i = count - std::min(count, tail_bytes); i < count; ++i) bytes_[(total_ + i) % tail_bytes] = bytes[i];
  total_ += count;
}

std::string stderr_relay::tail::text() const {
  if (total_ <= tail_bytes) return {bytes_, total_};
  std::size_t const begin = total_ % tail_bytes;
  std::string all(bytes_ + begin, tail_bytes - begin);
  return all.append(bytes_, begin);
}

// ---- beginning and end of a pipe

stderr_relay::stderr_relay() noexcept {
  struct stat is{};
  if (::fstat(STDERR_FILENO, &is) != 0) return;
  is_socket_ = S_ISSOCK(is.st_mode);
  may_block_ = !is_socket_ && !S_ISREG(is.st_mode);
  // poll() promises room, but others write there, too. The program's own open file must not become non-blocking, as that is
  // shared with it and with its parent's; one that is opened anew is ours. Not a file: it would have a position of its own.
  if (S_ISFIFO(is.st_mode) || S_ISCHR(is.st_mode))
    target_ = beyond_stderr(descriptor(::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
  if (target_)
    may_block_ = false;
  else
    target_ = descriptor(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

descriptor stderr_relay::open(std::uint64_t serial) noexcept {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  descriptor reading = beyond_stderr(descriptor(ends[0]));
  descriptor writing = beyond_stderr(descriptor(ends[1]));
  if (!reading || !writing || ::fcntl(reading.get(), F_SETFL, O_RDONLY | O_NONBLOCK) != 0) return {};
  try {
    sources_.push_back({std::move(reading), serial, std::make_unique<tail>()});
  } catch (...) {
    return {};
  }
  return writing;
}

void stderr_relay::forget(std::uint64_t serial) noexcept {
  std::erase_if(sources_, [&](source const& s) { return s.serial == serial; });
}

void stderr_relay::forget_all() noexcept {
  sources_.clear();
  waiting_.clear();
  dropped_ = 0;
}

std::string stderr_relay::last_words(std::uint64_t serial) noexcept {
  source* const found = of(serial);
  if (found == nullptr) return {};
  take_what_is_there(*found);
  found->serial = 0;
  std::string words;
  try {
    words = found->kept->text();
  } catch (...) {
    // No memory: the death is reported without them; they are passed on all the same.
  }
  found->kept.reset();
  work();
  return words;
}

stderr_relay::source* stderr_relay::of(std::uint64_t serial) noexcept {
  for (source& s : sources_)
    if (s.serial == serial) return &s;
  return nullptr;
}

// ---- bytes

void stderr_relay::watch(std::vector<pollfd>& watched) const {
  if (!waiting_.empty())
    watched.push_back({target_.get(), POLLOUT, 0});
  else
    for (source const& s : sources_)
      if (s.pipe) watched.push_back({s.pipe.get(), POLLIN, 0});
}

// A buffer of each, in turn, while it can be passed on. One round: orders are waiting.
void stderr_relay::work() noexcept {
  for (std::size_t i = 0; i < sources_.size() && pass_on(); ++i) take_in(sources_[next_++ % sources_.size()], PIPE_BUF);
  pass_on();
  sweep();
}

// No more than that: a process that is not the worker may go on writing for ever.
void stderr_relay::take_what_is_there(source& from) noexcept {
  int left = 0;
  if (!from.pipe || ::ioctl(from.pipe.get(), FIONREAD, &left) != 0) return;
  while (left > 0 && take_in(from, static_cast<std::size_t>(left)) == got::bytes) left -= std::min<int>(left, PIPE_BUF);
}

// Those whose end has come. The tail of a worker that has closed its stderr waits for its death.
void stderr_relay::sweep() noexcept {
  std::erase_if(sources_, [](source const& s) { return !s.pipe && s.serial == 0; });
}

stderr_relay::got stderr_relay::take_in(source& from, std::size_t most) noexcept {
  if (!from.pipe) return got::end;
  char bytes[PIPE_BUF];
  ssize_t count;
  do count = ::read(from.pipe.get(), bytes, std::min(most, sizeof bytes));
  while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return got::nothing_now;
  if (count <= 0) {
    from.pipe.reset();
    return got::end;
  }
  auto const size = static_cast<std::size_t>(count);
  if (from.kept) from.kept->put(bytes, size);
  if (!target_) return got::bytes;
  try {
    if (waiting_.size() + size <= most_waiting)
      waiting_.append(bytes, size);
    else
      dropped_ += size;
  } catch (...) {
    dropped_ += size;
  }
  return got::bytes;
}

// True if nothing is left.
bool stderr_relay::pass_on() noexcept {
  while (!waiting_.empty()) {
    pollfd room{target_.get(), POLLOUT, 0};
    if (may_block_ && ::poll(&room, 1, 0) != 1) return false;
    std::size_t const part = std::min<std::size_t>(waiting_.size(), PIPE_BUF);
    ssize_t const done = is_socket_ ? ::send(target_.get(), waiting_.data(), part, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : ::write(target_.get(), waiting_.data(), part);
    if (done < 0 && errno == EAGAIN) return false;
    if (done < 0 && errno == EINTR) continue;
    // Refused for good, by a full disk or a pipe that nobody reads: the rest of this is dropped, as a write of the worker's own
    // would have failed.
    waiting_.erase(0, done < 0 ? waiting_.size() : static_cast<std::size_t>(done));
    if (waiting_.empty() && dropped_ != 0) {
      try {
        waiting_ = "errand: " + std::to_string(dropped_) + " bytes of dead workers' stderr were dropped, as nobody read it\n";
      } catch (...) {
        // No memory to say so.
      }
      dropped_ = 0;
    }
  }
  return true;
}

void stderr_relay::finish() noexcept {
  for (source& s : sources_) take_what_is_there(s);
  while (!pass_on()) {
    pollfd room{target_.get(), POLLOUT, 0};
    if (::poll(&room, 1, patience) != 1) return;
  }
}

}  // namespace errand::detail
