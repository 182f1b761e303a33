// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// readable_source, writable_source: what is there is asked of the kernel when somebody takes it, and not remembered from when it was
// told; so an event is never about what somebody else has read meanwhile.
#include "queue/descriptor_core.hpp"

#include <errand/detail/sources.hpp>

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <system_error>

namespace errand::detail {

namespace {

descriptor copy_of(int fd, std::string const& what) {
  descriptor copy{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
  if (!copy) throw std::system_error{errno, std::generic_category(), what};
  return copy;
}

short state_of(int fd, short asked) noexcept {
  pollfd p{.fd = fd, .events = asked, .revents = 0};
  return ::poll(&p, 1, 0) == 1 ? p.revents : short{0};
}

class readable_core final : public descriptor_core {
 public:
  explicit readable_core(descriptor fd) noexcept : descriptor_core{std::move(fd), EPOLLIN | EPOLLRDHUP} {}
  void register_as(std::string const& what) { open(what); }

 private:
  bool take(void* raw) override {
    short const state = state_of(fd(), POLLIN | POLLRDHUP);
    if (state == 0) return false;
    int available = 0;
    if (::ioctl(fd(), FIONREAD, &available) != 0 || available < 0) available = 0;  // not everything knows
    bool const closed = available == 0 && (state & (POLLHUP | POLLRDHUP)) != 0;
    if (closed) last_was_taken();
    static_cast<std::optional<readable_event>*>(raw)->emplace(readable_event{static_cast<std::size_t>(available), closed});
    return true;
  }
};

class writable_core final : public descriptor_core {
 public:
  explicit writable_core(descriptor fd) noexcept : descriptor_core{std::move(fd), EPOLLOUT} {}
  void register_as(std::string const& what) { open(what); }

 private:
  bool take(void* raw) override {
    short const state = state_of(fd(), POLLOUT);
    if (state == 0) return false;
    bool const closed = (state & (POLLERR | POLLHUP)) != 0;
    if (closed) last_was_taken();
    static_cast<std::optional<writable_event>*>(raw)->emplace(writable_event{closed});
    return true;
  }
};

}  // namespace

event_core& make_readable(int fd) {
  auto const what = "errand::readable_source: descriptor " + std::to_string(fd);
  return make_descriptor_core<readable_core>(what, copy_of(fd, what));
}

event_core& make_writable(int fd) {
  auto const what = "errand::writable_source: descriptor " + std::to_string(fd);
  return make_descriptor_core<writable_core>(what, copy_of(fd, what));
}

}  // namespace errand::detail
