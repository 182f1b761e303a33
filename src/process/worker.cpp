// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/worker.hpp"

#include <stdio_ext.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <errand/detail/process_job.hpp>
#include <optional>
#include <string>

#include "process/exceptions.hpp"
#include "process/worker_end.hpp"
#include "task/thread_state.hpp"

namespace errand::detail {

namespace {

struct call_in_worker : process_call {
  worker_end& end;
  bool replied = false;
};

std::byte* make_room(process_call& call, std::size_t bytes) {
  auto& self = static_cast<call_in_worker&>(call);
  self.replied = true;
  return self.end.reply_room(bytes);
}

reply_kind run(worker_end& end, module_list const& modules, request_header const& request, piece_list& pieces) {
  try {
    call_in_worker call{
        {end.arguments(request), modules.at({request.target_module, request.target_offset}), &make_room, {}}, end};
    auto const entry = reinterpret_cast<process_entry>(modules.at({request.entry_module, request.entry_offset}));
    entry(call);
    if (!call.replied) end.reply_room(0);
    pieces = std::move(call.reply_pieces);
    return reply_kind::value;
  } catch (...) {
    std::string const text = describe_current_exception();
    std::memcpy(end.reply_room(text.size()), text.data(), text.size());
    return reply_kind::exception;
  }
}

}  // namespace

void worker_main(worker_world const& world, unsigned slot) noexcept {
  this_thread() = {};  // the zygote may have been forked inside a task that ran in place
  std::optional<worker_end> end;
  try {
    end.emplace(world.shared_fd, slot, world.bell_fd);
  } catch (...) {
    // No memory for the rings. The parent sees a worker that died before its first job.
    ::_exit(EXIT_FAILURE);
  }
  for (;;) {
    request_header const& request = end->next();
    piece_list pieces;  // of shared memory, that the result takes along
    reply_kind const kind = run(*end, *world.modules, request, pieces);
    // Workers end by being killed, which would lose what a job has printed.
    if (::__fpending(stdout) != 0) std::fflush(stdout);
    end->publish(request, kind, pieces);
  }
}

}  // namespace errand::detail
