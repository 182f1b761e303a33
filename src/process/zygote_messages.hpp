// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What passes through the socket between the program and its zygote: orders one way, news of workers the other. Each is
// one message; both sides are the same program, so they are plain bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "process/stderr_relay.hpp"
#include "process/worker.hpp"

namespace errand::detail {

struct zygote_order {
  enum : std::uint32_t { fork_worker, kill_worker } what;
  std::uint64_t serial;
  worker_birth birth;
};

// After it: the worker's last words, if there are any.
struct zygote_news_header {
  std::uint64_t serial = 0;
  std::uint32_t slot = 0;  // of the worker; 0 where it does not matter
  int error = 0;   // errno of the fork that failed, or 0
  int signal = 0;  // that killed it, or 0
  int status = 0;  // with which it exited
  bool stopped = false;
  bool zygote_died = false;  // and the worker with it
  pid_t guardian = 0;        // not of a worker: the guardian has died, and this process is it from now on
};

inline constexpr std::size_t most_news_bytes = sizeof(zygote_news_header) + stderr_relay::tail_bytes;

}  // namespace errand::detail
