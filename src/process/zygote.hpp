// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The zygote: a copy of the program as it was while it had one thread, which does nothing but fork workers on request
// and report their deaths. A fork of a program with threads may inherit a lock that nobody will ever release; a fork of
// the zygote cannot, and costs a tenth of a millisecond whatever the program has grown to. Used by the dispatcher.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "base/descriptor.hpp"
#include "process/worker.hpp"

namespace errand::detail {

class zygote {
 public:
  // Forks it. The calling process must have one thread. Throws std::system_error.
  static zygote start(worker_world const& world);

  // Both return false if the zygote is gone, and its guardian with it. A serial is a number of the caller's, never used twice.
  bool order_worker(worker_birth const& birth, std::uint64_t serial) noexcept;
  // With all that is in its process group. Nothing, if it is dead already.
  bool order_kill(std::uint64_t serial) noexcept;

  // A worker has died, and been reaped; or could not be forked; or was stopped, as by SIGSTOP.
  struct news {
    std::uint64_t serial = 0;
    int error = 0;   // errno of the fork that failed, or 0
    int signal = 0;  // that killed it, or 0
    int status = 0;  // with which it exited
    bool stopped = false;
    bool zygote_died = false;     // and the worker with it
    std::string last_words = {};  // the end of what it wrote to its stderr
  };
  // Sleeps until there is some. False if zygote and guardian are gone, as they are soon after hang_up().
  bool wait_for(news& found) noexcept;
  void hang_up() noexcept;
  // The program ends: no more orders. Waits, at most so long, until the zygote has passed on what its workers have written
  // to stderr, and is gone. Another thread may sleep in wait_for(): it gets the news that there are, and then false.
  void let_go(std::chrono::milliseconds most) noexcept;

  // The zygote kills and reaps its workers, then it and its guardian end. Waits for that.
  void end() noexcept;
  // In a child of the program: it is the parent's, not ours.
  void forget() noexcept;

 private:
  void reap() noexcept;

  descriptor socket_;
  pid_t pid_ = -1;  // of the guardian, whose parent we mostly are
};

}  // namespace errand::detail
