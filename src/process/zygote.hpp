// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The zygote: a copy of the program as it was while it had one thread, which does nothing but fork workers on request
// and report their deaths. A fork of a program with threads may inherit a lock that nobody will ever release; a fork of
// the zygote cannot, and costs a tenth of a millisecond whatever the program has grown to. Used by the dispatcher.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/descriptor.hpp"
#include "process/worker.hpp"

namespace errand::detail {

class zygote {
 public:
  // Forks it. The calling process must have one thread. Throws std::system_error.
  static zygote start(worker_world const& world);

  // Both return false if the zygote is gone. A serial is a number of the caller's, never used twice.
  bool order_worker(unsigned slot, std::uint64_t serial) noexcept;
  bool order_kill(std::uint64_t serial) noexcept;  // nothing, if it is dead already

  // A worker has died, and been reaped; or could not be forked.
  struct news {
    std::uint64_t serial;
    int error;   // errno of the fork that failed, or 0
    int signal;  // that killed it, or 0
    int status;  // with which it exited
  };
  enum class reading : unsigned char { nothing, news, gone };
  // Does not wait.
  reading try_read(news& found) noexcept;

  int fd() const noexcept { return socket_.get(); }

  // The zygote kills and reaps its workers, then ends. Waits for that.
  void end() noexcept;
  // In a child of the program: it is the parent's, not ours.
  void forget() noexcept;

 private:
  descriptor socket_;
  pid_t pid_ = -1;
};

}  // namespace errand::detail
