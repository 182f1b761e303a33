// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The end of a child: its pidfd can be read from then on.
#include "queue/descriptor_core.hpp"

#include <errand/detail/sources.hpp>

#include <cerrno>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>

namespace errand::detail {

namespace {

class child_core final : public descriptor_core {
 public:
  child_core(descriptor fd, int pid) noexcept : descriptor_core{std::move(fd), EPOLLIN}, pid_{pid} {}
  void register_as(std::string const& what) { open(what); }

 private:
  bool take(void* raw) override {
    siginfo_t how{};
    int rc;
    do
      rc = ::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOHANG);
    while (rc != 0 && errno == EINTR);
    if (rc == 0 && how.si_pid == 0) return false;  // it runs
    child_event event{.pid = pid_, .status = 0, .signal = 0, .reaped = rc == 0};
    if (event.reaped) (how.si_code == CLD_EXITED ? event.status : event.signal) = how.si_status;
    last_was_taken();
    static_cast<std::optional<child_event>*>(raw)->emplace(event);
    return true;
  }

  int const pid_;
};

}  // namespace

event_core& make_child_source(int pid) {
  auto const what = "errand::child_source: process " + std::to_string(pid);
  siginfo_t ignored{};
  if (pid <= 0 || ::waitid(P_PID, static_cast<id_t>(pid), &ignored, WEXITED | WNOHANG | WNOWAIT) != 0)
    throw std::system_error{pid <= 0 ? EINVAL : errno, std::generic_category(), what + " is no child of this process, or was reaped"};
  descriptor fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (!fd) throw std::system_error{errno, std::generic_category(), what + " cannot be opened (pidfd_open)"};
  return make_descriptor_core<child_core>(what, std::move(fd), pid);
}

}  // namespace errand::detail
