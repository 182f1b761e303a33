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
  int error = 0;   // errno of the fork that failed, or 0
  int signal = 0;  // that killed it, or 0
  int status = 0;  // with which it exited
  bool stopped = false;
};

inline constexpr std::size_t most_news_bytes = sizeof(zygote_news_header) + stderr_relay::tail_bytes;

}  // namespace errand::detail
